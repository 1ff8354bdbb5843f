/** What trace says about a drop, on the real kernel: its counter moves, its words come true, and the nearest rule is one. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { snapshotOfLab } from '../../src/collect/lab.ts';
import { World } from '../../src/dataplane/world.ts';
import { investigate } from '../../src/diagnose/investigate.ts';
import { askedFlows } from '../../src/diagnose/question.ts';
import { downLab, type Lab, upLab } from '../../src/lab/lab.ts';
import type { Branch } from '../../src/model/verdict.ts';
import { labName, ownStateDir, whyNoLab } from '../lab/support.ts';
import { tryFlows } from './flows.ts';

describe.skipIf(whyNoLab !== undefined)('a policy that refuses a pod', () => {
  ownStateDir();
  let lab: Lab;
  beforeAll(async () => {
    lab = await upLab({ name: labName('explain'), ownerPid: process.pid });
    await lab.writeObjects('networkpolicies.networking.k8s.io', [
      {
        apiVersion: 'networking.k8s.io/v1',
        kind: 'NetworkPolicy',
        metadata: { namespace: 'payments', name: 'ledger-from-shop' },
        spec: {
          podSelector: { matchLabels: { app: 'ledger' } },
          ingress: [
            {
              from: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'shop' } } }],
              ports: [{ protocol: 'TCP', port: 9000 }],
            },
          ],
        },
      },
    ]);
    await lab.syncPolicies();
  });
  afterAll(async () => {
    if (lab !== undefined) await downLab(lab.state.name);
  });

  const podOf = (name: string) => lab.state.pods.find((pod) => pod.name.startsWith(name));

  async function ask(): Promise<{
    readonly branch: Branch | undefined;
    readonly tried: true | string | undefined;
  }> {
    const [src, dst] = [podOf('toolbox'), podOf('ledger')];
    if (src === undefined || dst === undefined) throw new Error('the lab has no toolbox or ledger');
    const from = `${src.namespace}/${src.name}`;
    const snapshot = await snapshotOfLab(lab);
    const { flows } = askedFlows(snapshot, {
      src: from,
      dst: `${dst.namespace}/${dst.name}:9000`,
      namespace: 'shop',
    });
    const [flow] = flows;
    if (flow === undefined) throw new Error('no flow');
    const { verdict } = investigate(new World(snapshot), flow, { explain: true });
    const address = dst.addresses[0] ?? '';
    const [tried] = await tryFlows(lab, [{ src: from, address, port: 9000, protocol: 'tcp' }]);
    return { branch: verdict.branches[0], tried };
  }

  test('the counter moves, the sender is told, and the set that the nearest rule asks for opens the way', async () => {
    const first = await ask();
    const { hop, step } = first.branch?.broken ?? {};
    expect(step).toMatchObject({
      reason: 'rule-reject',
      kernel: { dropReason: 'NETFILTER_DROP', symptom: 'ICMP 3/3', counter: 'IcmpOutDestUnreachs' },
    });
    // ICMP 3/3 is what the sender got.
    expect(first.tried).toBe('ECONNREFUSED');
    const [near] = step?.nearest ?? [];
    expect(near).toMatchObject({ how: 'mark', about: 'NetworkPolicy payments/ledger-from-shop' });
    const [, set = '', member = ''] =
      /^source in set (\S+); it does not hold (\S+)$/.exec(near?.needs.join(' | ') ?? '') ?? [];
    expect(member).toBe(podOf('toolbox')?.addresses[0]);

    const second = await ask();
    const counted = (branch: Branch | undefined) => Number(branch?.broken?.step.facts?.packets);
    expect(counted(second.branch)).toBeGreaterThan(counted(first.branch));
    expect(second.branch?.broken?.step.kernel?.counted).toBeGreaterThan(step?.kernel?.counted ?? 0);

    const node = lab.state.nodes.find(({ name }) => name === hop?.node)?.netns ?? '';
    expect((await lab.exec(node, ['ipset', 'add', set, member])).code).toBe(0);
    const third = await ask();
    expect(third.branch?.answer).toBe('reachable');
    expect(third.tried).toBe(true);
    const rules = third.branch?.trace.forward.flatMap((one) => one.rules ?? []) ?? [];
    expect(rules.map(({ source }) => source)).toContainEqual(
      expect.objectContaining({ text: expect.stringContaining(`--match-set ${set} src`) }),
    );
  });
});
