/** One comparison: snapshot, walks, packets. */
import { snapshotOfLab } from '../../src/collect/lab.ts';
import { World } from '../../src/dataplane/world.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { type Damage, inflict } from './topology-damages.ts';
import {
  type Asked,
  addressOf,
  formatAsked,
  type Happened,
  happens,
  type Predicted,
  predict,
} from './topology-flows.ts';

export interface Compared {
  readonly asked: Asked;
  readonly predicted: Predicted;
  readonly happened: Happened;
  readonly agrees: boolean;
}

const everyNetns = (lab: Lab): string[] => [...lab.state.nodes, ...lab.state.pods].map(({ netns }) => netns);

const inEvery = (lab: Lab, script: string): Promise<unknown> =>
  Promise.all(everyNetns(lab).map((netns) => lab.exec(netns, ['sh', '-c', script])));

/** ICMP errors without rate limit: a second large packet must be answered like the first. */
export const quieten = (lab: Lab): Promise<unknown> =>
  inEvery(
    lab,
    'sysctl -q -e -w net.ipv4.icmp_ratelimit=0 net.ipv4.icmp_ratemask=0 net.ipv6.icmp.ratelimit=0 net.ipv4.icmp_msgs_per_sec=100000 net.ipv4.icmp_msgs_burst=100000',
  );

/** Damages the lab, then makes it forget what it had learned: neighbours, connections, path MTUs. */
export async function inflictAll(lab: Lab, damage: Damage): Promise<Damage> {
  const servers = damage.filter(({ line }) => line.startsWith('!'));
  const done = await inflict(
    lab,
    damage.filter(({ line }) => !line.startsWith('!')),
  );
  for (const { at, line } of servers) {
    const to = line.split(' ')[1] ?? '';
    const specs = await lab.servers();
    await lab.setServers(
      specs
        .filter((spec) => spec.pod !== at || to !== 'off')
        .map((spec) => (spec.pod === at ? { ...spec, address: to } : spec)),
    );
  }
  await forget(lab);
  return [...done, ...servers];
}

const forget = (lab: Lab): Promise<unknown> =>
  inEvery(
    lab,
    'ip -4 neigh flush all; ip -6 neigh flush all; conntrack -F; ip route flush cache; ip -6 route flush cache',
  );

/** Compares; what disagrees is tried once more with patience, because a busy machine also loses packets' answers. */
export async function compare(lab: Lab, flows: readonly Asked[]): Promise<Compared[]> {
  const first = await compareOnce(lab, flows, 600);
  const wrong = first.filter(({ agrees }) => !agrees).map(({ asked }) => asked);
  if (wrong.length === 0) return first;
  await forget(lab);
  const second = new Map((await compareOnce(lab, wrong, 1500)).map((one) => [one.asked, one]));
  return first.map((one) => second.get(one.asked) ?? one);
}

async function compareOnce(lab: Lab, flows: readonly Asked[], timeoutMs: number): Promise<Compared[]> {
  const known = (
    await Promise.all(
      flows.map(async (asked) => ({
        asked,
        dst: asked.address ?? (await addressOf(lab, asked.dst, asked.family)),
      })),
    )
  ).flatMap(({ asked, dst }) => (dst === undefined ? [] : [{ asked, dst }]));
  const world = new World(await snapshotOfLab(lab));
  const predicted = known.map(({ asked, dst }) => predict(world, lab, asked, dst));
  const happened = await happens(lab, known, timeoutMs);
  return known.map(({ asked }, index) => {
    const says = predicted[index];
    const does = happened[index];
    if (says === undefined || does === undefined) throw new RangeError('a flow was lost');
    const open = says.answer === 'unknown' || says.answer === 'mixed';
    return {
      asked,
      predicted: says,
      happened: does,
      agrees: open || (says.answer === 'reachable') === does.ok,
    };
  });
}

/** Disagreements that say the same are one line, with an example. */
export function describeWrong(wrong: readonly Compared[]): string {
  const groups = new Map<string, Compared[]>();
  for (const one of wrong) {
    const key = `${one.predicted.answer} ${one.predicted.why.replace(/\d+ bytes/, '# bytes')} ${one.happened.ok}`;
    groups.set(key, [...(groups.get(key) ?? []), one]);
  }
  return [...groups.values()]
    .map((group) => {
      const [first] = group;
      if (first === undefined) return '';
      const others = group.slice(1).map(({ asked }) => formatAsked(asked));
      return `   ${formatAsked(first.asked)}: walk says ${first.predicted.answer} ${first.predicted.why}; kernel: ${first.happened.outcomes.join(', ')}${others.length === 0 ? '' : `; ${others.length} more: ${others.slice(0, 6).join(', ')}`}`;
    })
    .join('\n');
}
