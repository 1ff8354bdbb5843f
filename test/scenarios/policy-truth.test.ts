/**
 * Truth tables of the lab's kernel: a packet for every pod to every pod on ports 80 and 81 by TCP, UDP and SCTP, under policies that the
 * lab renders to iptables rules, against the policy engine's tables. The rules filter by address: an ipBlock matches pods.
 */
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { downLab, type Lab, upLab } from '../../src/lab/lab.ts';
import { policyEngine } from '../../src/policy/index.ts';
import { labName, ownStateDir, whyNoLab } from '../lab/support.ts';
import {
  type Addresses,
  type PolicySet,
  policySets,
  type TruthCell,
  truthCells,
  truthPods,
  truthWorld,
} from '../oracles/policy/truth-tables.ts';
import { clusterFrom, mergeObjects } from '../oracles/policy/world.ts';

const sample: readonly string[] = [
  'nothing',
  'x is cut off',
  'everything is cut off',
  'no egress from x/a',
  'ingress rules of an egress policy are ignored',
  'into x: pod b of namespace y',
  'into x: pod b, or namespace y',
  'into x: three peers',
  'out of x: namespaces by NotIn',
  'into x: every address but one',
  'out of x: the pods of two nodes',
  'into x: an exception that another block takes back',
  'ports into x from y: an empty item is all of TCP',
  'ports into x from y: all of SCTP',
  'ports out of x/a: a range that ends at 80',
  'ports into x from y: a name and a range',
  'ports out of x/a: a name by UDP',
  'the two ends let different ports pass',
  'two policies with different ports and peers do not mix',
  'all cut off but one way',
];

const script = fileURLToPath(new URL('policy-truth.py', import.meta.url));

describe.skipIf(whyNoLab !== undefined)("truth tables of the lab's kernel", () => {
  ownStateDir();
  let lab: Lab;
  let addresses: Addresses;
  /** The lab's pods that stand for x/a, x/b ... */
  let netns: Readonly<Record<string, string>>;
  let whyNoSctp: string | undefined;

  beforeAll(async () => {
    lab = await upLab({ name: labName('truth'), nodes: 3, ownerPid: process.pid });
    const stands = lab.state.pods.slice(0, truthPods.length);
    expect(stands.length).toBe(truthPods.length);
    const of = (pod: string) => stands[truthPods.indexOf(pod)];
    addresses = Object.fromEntries(truthPods.map((pod) => [pod, of(pod)?.addresses[0] ?? '']));
    netns = Object.fromEntries(truthPods.map((pod) => [pod, of(pod)?.netns ?? '']));
    expect(new Set(stands.map(({ node }) => node)).size).toBe(3);
    const world = truthWorld(addresses, (pod) => of(pod)?.node ?? '');
    await lab.writeObjects('pods', world.pods ?? []);
    await lab.writeObjects('namespaces', world.namespaces ?? []);
    whyNoSctp = await sctpMatchFails(lab);
  });
  afterAll(async () => {
    if (lab !== undefined) await downLab(lab.state.name);
  });

  const objectsOf = (set: PolicySet) =>
    mergeObjects(
      truthWorld(addresses, (pod) => lab.state.pods[truthPods.indexOf(pod)]?.node ?? ''),
      set.objects(addresses),
    );

  test.for(sample.map((name, round) => [name, round] as const))('%s', async ([name, round], { skip }) => {
    const set = policySets.find((one) => one.name === name);
    if (set === undefined) throw new Error(`no set ${name}`);
    const objects = objectsOf(set);
    if (whyNoSctp !== undefined && JSON.stringify(set.objects(addresses)).includes('SCTP'))
      skip(`the kernel cannot enforce ports of SCTP: ${whyNoSctp}`);
    const plural = 'networkpolicies.networking.k8s.io';
    await lab.writeObjects(plural, objects[plural] ?? []);
    await lab.syncPolicies();
    const engine = policyEngine(clusterFrom(objects), { dialect: 'kubernetes', ipBlockMatchesPods: true });
    const cells = truthCells(engine.world.cluster);
    expect(cells.length).toBe(486);
    const kernel = await arrivals(cells, round);
    const expected = cells.map(({ flow }) => engine.verdict(flow).verdict === 'allow');
    expect(tableOf(cells, kernel)).toEqual(tableOf(cells, expected));
  });

  async function arrivals(cells: readonly TruthCell[], round: number): Promise<readonly boolean[]> {
    const index = (pod: string): number => truthPods.indexOf(pod);
    const asked = {
      pods: truthPods.map((pod) => ({ netns: netns[pod], address: addresses[pod] })),
      // A port of its own in every round: conntrack knows the flows of the rounds before.
      cells: cells.map(({ src, dst, flow }, i) => [
        index(src),
        index(dst),
        flow.protocol,
        flow.port,
        10_000 + round * cells.length + i,
      ]),
    };
    const { code, stdout, stderr } = await lab.exec(lab.state.fabricNetns, ['python3', script], {
      input: JSON.stringify(asked),
      timeoutMs: 20_000,
    });
    if (code !== 0) throw new Error(`policy-truth.py: ${stderr}`);
    return JSON.parse(stdout) as boolean[];
  }
});

/** Kernels may lack xt_sctp. Tried in a namespace through which no pod's traffic is filtered. */
async function sctpMatchFails(lab: Lab): Promise<string | undefined> {
  const rule = '-p sctp -m sctp --dport 80 -j ACCEPT'.split(' ');
  const { code, stderr } = await lab.exec(lab.state.fabricNetns, ['iptables', '-A', 'OUTPUT', ...rule]);
  if (code !== 0) return stderr.trim();
  await lab.exec(lab.state.fabricNetns, ['iptables', '-D', 'OUTPUT', ...rule]);
  return undefined;
}

/** `TCP 80 x/a`: to x, y, z; `.` passes, `X` does not. */
function tableOf(cells: readonly TruthCell[], passes: readonly boolean[]): Readonly<Record<string, string>> {
  const rows: Record<string, string> = {};
  for (const [i, { src, flow }] of cells.entries()) {
    const key = `${flow.protocol} ${flow.port} ${src}`;
    rows[key] = `${rows[key] ?? ''}${passes[i] === true ? '.' : 'X'}`;
  }
  return rows;
}
