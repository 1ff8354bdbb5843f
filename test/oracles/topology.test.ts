/**
 * The walk against the kernel: a lab is damaged at random, a snapshot is taken, every interesting flow is walked and then
 * really sent. PODPATH_TOPOLOGY_ROUNDS and PODPATH_TOPOLOGY_SEED choose how many rounds and which.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { downLab, type Lab, upLab } from '../../src/lab/lab.ts';
import type { LabCni } from '../../src/lab/state.ts';
import { labName, ownStateDir, whyNoLab } from '../lab/support.ts';
import { isCi } from '../support/ci.ts';
import { cases } from './topology-cases.ts';
import { compare, describeWrong, inflictAll, quieten } from './topology-compare.ts';
import { type Damage, drawDamage, formatDamage, generator } from './topology-damages.ts';
import { askedOf } from './topology-flows.ts';

const rounds = Number(process.env.PODPATH_TOPOLOGY_ROUNDS ?? 3);
// CI has one answer for one commit; other runs look further.
const chance = isCi ? 20_261_122 : Math.floor(Math.random() * 1_000_000);
const seed = Number(process.env.PODPATH_TOPOLOGY_SEED ?? chance);

ownStateDir();

const networks: readonly { readonly cni: LabCni; readonly dualStack: boolean }[] = [
  { cni: 'flannel-vxlan', dualStack: false },
  { cni: 'calico-vxlan', dualStack: true },
  { cni: 'flannel-host-gw', dualStack: true },
  { cni: 'flannel-vxlan', dualStack: true },
  { cni: 'calico-vxlan', dualStack: false },
  { cni: 'calico-bgp', dualStack: true },
  { cni: 'calico-bgp', dualStack: false },
];

/** Two nodes mostly: each further one costs time and makes few new ways. */
const nodeCounts = [2, 2, 2, 3, 3, 4, 6];
const underlayMtus = [1500, 1500, 1500, 1400, 1460, 9000];

describe.skipIf(whyNoLab !== undefined).each(['flannel-vxlan', 'calico-vxlan'] as const)(
  'named: %s',
  (cni) => {
    let lab: Lab;
    beforeAll(async () => {
      lab = await upLab({
        name: labName(`topo-${cni.slice(0, 4)}`),
        nodes: 2,
        cni,
        dualStack: true,
        ownerPid: process.pid,
      });
      await quieten(lab);
    });
    afterAll(async () => {
      if (lab !== undefined) await downLab(lab.state.name);
    });

    const own = cases.filter((one) => one.cni === cni).map((one) => [one.name, one] as const);
    it.each(own)('%s', async (_name, one) => {
      const damage = one.damage(lab);
      expect(await inflictAll(lab, damage)).toEqual(damage);
      try {
        const [found] = await compare(lab, [one.flow]);
        expect([found?.happened.ok ? 'reachable' : 'unreachable', found?.predicted.answer]).toEqual([
          one.expected,
          one.expected,
        ]);
      } finally {
        await inflictAll(lab, one.undo(lab));
      }
    });
  },
);

describe.skipIf(whyNoLab !== undefined || rounds === 0)(`random damage, seed ${seed}`, () => {
  const counts = { compared: 0, unknown: 0, mixed: 0 };
  const reasons = new Map<string, number>();
  const disagreements: string[] = [];

  afterAll(() => {
    const sorted = [...reasons].sort((a, b) => b[1] - a[1]).slice(0, 25);
    console.log(
      `seed ${seed}: ${counts.compared} compared, ${counts.unknown} unknown, ${counts.mixed} mixed\n${sorted.map(([why, n]) => `${n} ${why}`).join('\n')}`,
    );
  });

  it.each(Array.from({ length: rounds }, (_, round) => round))('round %i', async (round) => {
    const random = generator(seed + round);
    const network = networks[Math.floor(random() * networks.length)];
    const nodes = nodeCounts[Math.floor(random() * nodeCounts.length)];
    const underlayMtuBytes = underlayMtus[Math.floor(random() * underlayMtus.length)];
    if (network === undefined || nodes === undefined || underlayMtuBytes === undefined)
      throw new RangeError('network');
    const lab = await upLab({
      name: labName(`topo${round}`),
      nodes,
      underlayMtuBytes,
      ...network,
      ownerPid: process.pid,
    });
    try {
      await quieten(lab);
      const count = 1 + Math.floor(3 * random() * random());
      const wanted = Array.from({ length: count }, () => drawDamage(lab.state, random));
      const damage: Damage = await inflictAll(lab, wanted.flat());
      const found = await compare(lab, askedOf(lab.state.families));
      for (const one of found) {
        if (one.predicted.answer === 'unknown') {
          counts.unknown++;
          const why = one.predicted.why.replace(
            /[0-9a-f]{1,4}(:[0-9a-f]{0,4}){3,}|\d+\.\d+\.\d+\.\d+|\d{3,}/g,
            '#',
          );
          reasons.set(why, (reasons.get(why) ?? 0) + 1);
        } else if (one.predicted.answer === 'mixed') counts.mixed++;
        else {
          counts.compared++;
        }
      }
      const wrong = found.filter((one) => !one.agrees);
      const text = `${network.cni}${network.dualStack ? ' dual' : ''} ${nodes} nodes MTU ${underlayMtuBytes} seed ${seed + round} [${formatDamage(damage)}]\n${describeWrong(wrong)}`;
      if (wrong.length > 0) disagreements.push(text);
      expect(wrong.length === 0 ? '' : text).toBe('');
    } finally {
      await downLab(lab.state.name);
    }
  });
});
