/** Every fault breaks its flow on this kernel, leaves others alone, and is taken back without a trace. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Fault, FaultFlow } from '../../src/lab/faults/fault.ts';
import { faults } from '../../src/lab/faults/registry.ts';
import { downLab, type Lab, upLab } from '../../src/lab/lab.ts';
import type { LabCni } from '../../src/lab/state.ts';
import { labName, ownStateDir, whyNoLab } from '../lab/support.ts';
import { tryFlows } from './flows.ts';
import { labState } from './lab-state.ts';

/** On the first network all faults are tried, on the others those that go other ways there. */
const plans: [cni: LabCni, names: readonly string[] | undefined][] = [
  ['flannel-vxlan', undefined],
  [
    'flannel-host-gw',
    ['route-missing', 'route-wrong-next-hop', 'duplicate-pod-cidr', 'forward-policy-drop', 'ip-forward-off'],
  ],
  [
    'calico-vxlan',
    [
      'tunnel-device-missing',
      'vtep-mac-mismatch',
      'route-blackhole',
      'ip-forward-off',
      'pod-mtu-too-large',
      'rp-filter-asymmetric',
      'policy-default-deny',
    ],
  ],
];

ownStateDir();

describe.skipIf(whyNoLab !== undefined).each(plans)('%s', (cni, names) => {
  let lab: Lab;
  let healthy: Record<string, string>;

  beforeAll(async () => {
    lab = await upLab({ name: labName(cni.slice(0, 12)), cni, ownerPid: process.pid });
    healthy = await labState(lab);
  });
  afterAll(async () => {
    if (lab !== undefined) await downLab(lab.state.name);
  });

  const chosen = faults.filter((fault) => fault.cnis.includes(cni) && (names?.includes(fault.name) ?? true));
  test.each(chosen.map((fault) => [fault.name, fault] as const))('%s', async (_, fault) => {
    const flow = fault.flow(lab);
    const works = fault.works(lab);
    expect(works.length).toBeGreaterThanOrEqual(2);
    expect(await outcomes(lab, [flow, ...works])).toEqual(all(true, [flow, ...works]));
    try {
      await fault.apply(lab);
      await fault.apply(lab);
      await expectBroken(lab, fault);
    } finally {
      await fault.heal(lab);
      await fault.heal(lab);
    }
    expect(await labState(lab)).toEqual(healthy);
    expect(await outcomes(lab, [flow])).toEqual(all(true, [flow]));
  });
});

async function expectBroken(lab: Lab, fault: Fault): Promise<void> {
  const flow = fault.flow(lab);
  const works = fault.works(lab);
  const drops = await reversePathDrops(lab);
  const { [name(flow)]: broken, ...rest } = await outcomes(lab, [flow, ...works]);
  expect(broken, name(flow)).not.toBe(true);
  expect(rest).toEqual(all(true, works));
  if (fault.cause === 'route/rp-filter') expect(await reversePathDrops(lab)).toBeGreaterThan(drops);
}

const name = (flow: FaultFlow): string =>
  `${flow.src} -> ${flow.hostName ?? flow.dst}:${flow.port}/${flow.protocol}${flow.sizeBytes === undefined ? '' : ` ${flow.sizeBytes}`}`;

const all = (value: true, flows: readonly FaultFlow[]): Record<string, true> =>
  Object.fromEntries(flows.map((flow) => [name(flow), value]));

/** What became of each flow: true, or why not. */
async function outcomes(lab: Lab, flows: readonly FaultFlow[]): Promise<Record<string, true | string>> {
  const results = await tryFlows(
    lab,
    flows.map((flow) =>
      flow.hostName === undefined ? { ...flow, address: lab.pod(flow.dst).addresses[0] ?? '' } : flow,
    ),
  );
  return Object.fromEntries(flows.map((flow, index) => [name(flow), results[index] ?? 'not tried']));
}

/** Packets that reverse-path filtering dropped, over all nodes. */
async function reversePathDrops(lab: Lab): Promise<number> {
  let sum = 0;
  for (const { netns } of lab.state.nodes) {
    const { stdout } = await lab.exec(netns, ['nstat', '-asz', 'TcpExtIPReversePathFilter']);
    sum += Number(/IPReversePathFilter\s+(\d+)/.exec(stdout)?.[1] ?? 0);
  }
  return sum;
}
