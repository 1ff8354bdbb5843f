/**
 * Files that were not collected: with a file of a recorded cluster away, a flow's answer may only become unknown. And what is
 * still definite must hold whatever the file could have said.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { snapshotFromFiles } from '../../src/collect/build.ts';
import { netnsPath } from '../../src/collect/layout.ts';
import { World } from '../../src/dataplane/world.ts';
import { investigate } from '../../src/diagnose/investigate.ts';
import { askedFlows } from '../../src/diagnose/question.ts';
import type { Flow, FlowProtocol } from '../../src/model/flow.ts';
import type { Netns } from '../../src/model/netns.ts';
import type { Snapshot } from '../../src/model/snapshot.ts';
import type { Verdict } from '../../src/model/verdict.ts';
import { formatAddress } from '../../src/net/address.ts';
import { buildNetns } from '../../src/parse/netns.ts';
import { snapshotFiles, snapshotNames } from './dumps-files.ts';

const names = snapshotNames();
if (names.length === 0) console.log('missing facts: skipped, PODPATH_SHARED names no folder with snapshots');

const flowsPerRecording = 5;

/** What a walk asks for first. */
const important = [
  'ip-link.json',
  'ip-route.json',
  'ip-neigh.json',
  'iptables-save.txt',
  'nft.json',
  'ipset.txt',
  'sysctl.txt',
  'ss.txt',
];

interface Asked {
  readonly flow: Flow;
  readonly verdict: Verdict;
  /** Ids of the namespaces on its way. */
  readonly way: ReadonlySet<string>;
}

interface Recorded {
  readonly files: ReadonlyMap<string, string>;
  readonly snapshot: Snapshot;
  readonly asked: readonly Asked[];
}

async function readRecording(name: string): Promise<Recorded> {
  const files = await snapshotFiles(name);
  const snapshot = snapshotFromFiles({ files, unreadable: [] }, name);
  const world = new World(snapshot);
  const flows = spread(recordedFlows(snapshot), flowsPerRecording);
  const asked = flows.map((flow) => {
    const { verdict } = investigate(world, flow);
    const hops = verdict.branches.flatMap(({ trace }) => [...trace.forward, ...trace.back]);
    return { flow, verdict, way: new Set(hops.map(({ netns }) => netns)) };
  });
  return { files, snapshot, asked };
}

/** The flows of the recorded probes, each once. */
function recordedFlows(snapshot: Snapshot): readonly Flow[] {
  const probes = snapshot.probes.state === 'known' ? snapshot.probes.value : [];
  const flows = new Map<string, Flow>();
  for (const { src, dst, kind, port } of probes) {
    if (kind === 'dns') continue;
    const question = {
      src,
      dst: kind === 'icmp' ? dst : `${dst}:${port}`,
      namespace: 'default',
      protocol: kind as FlowProtocol,
    };
    flows.set(`${src} ${dst} ${kind} ${port}`, askedFlows(snapshot, question).flows[0]);
  }
  return [...flows.values()];
}

const spread = <T>(list: readonly T[], count: number): readonly T[] =>
  list.filter(
    (_, i) => Math.floor((i * count) / list.length) !== Math.floor(((i - 1) * count) / list.length),
  );

/** The namespace's folder, as paths begin: `nodes/node1/`. */
const folderOf = ({ files }: Recorded, id: string): string => {
  const at = [...files.keys()].map(netnsPath).find((path) => path?.id === id);
  if (at === undefined) throw new Error(`no files of ${id}`);
  return at.prefix;
};

/** They corroborate and decide nothing. */
const counters = /(conntrack-stats|proc-net-\w+)\.txt$/;

function filesIn(recorded: Recorded, id: string): readonly string[] {
  const folder = folderOf(recorded, id);
  return [...recorded.files.keys()].flatMap((path) => {
    const at = netnsPath(path);
    return at?.id === id && !counters.test(path) ? [path.slice(folder.length)] : [];
  });
}

/** The snapshot with other files in one namespace; undefined takes a file away. */
function changed(recorded: Recorded, id: string, edits: ReadonlyMap<string, string | undefined>): Snapshot {
  const { files, snapshot } = recorded;
  const folder = folderOf(recorded, id);
  const { node, pod } = snapshot.netns.get(id) as Netns;
  const read = (name: string) => (edits.has(name) ? edits.get(name) : files.get(folder + name));
  return {
    ...snapshot,
    netns: new Map(snapshot.netns).set(id, buildNetns(id, node, pod, read, folder)),
  };
}

const answersOf = (snapshot: Snapshot, flows: readonly Asked[]): readonly Verdict[] => {
  const world = new World(snapshot);
  return flows.map(({ flow }) => investigate(world, flow).verdict);
};

const onWay = ({ asked }: Recorded): ReadonlySet<string> => new Set(asked.flatMap(({ way }) => [...way]));

const through = ({ asked }: Recorded, id: string): readonly Asked[] => asked.filter(({ way }) => way.has(id));

const titled = ({ flow: { src, dst, protocol, dstPort } }: Asked): string =>
  `${formatAddress(src.address)} -> ${formatAddress(dst.address)} ${protocol}/${dstPort}`;

/** Answers that became another definite one. */
function overturned(recorded: Recorded, id: string, gone: readonly string[]): readonly string[] {
  const flows = through(recorded, id);
  const answers = answersOf(changed(recorded, id, new Map(gone.map((name) => [name, undefined]))), flows);
  return answers.flatMap(({ answer, disposition }, i) => {
    const before = flows[i] as Asked;
    return answer === 'unknown' || answer === before.verdict.answer
      ? []
      : [`${titled(before)} without ${gone.join(' and ')} of ${id}: ${answer}, ${disposition}`];
  });
}

describe.each(names)('%s', (name) => {
  let recorded: Recorded;
  beforeAll(async () => {
    recorded = await readRecording(name);
  });

  it('a missing file makes no other answer', () => {
    expect(recorded.asked.length).toBeGreaterThan(4);
    const wrong = [...onWay(recorded)].flatMap((id) =>
      filesIn(recorded, id).flatMap((file) => overturned(recorded, id, [file])),
    );
    expect(wrong).toEqual([]);
  }, 60_000);
});

const inList = (text: string, change: (entry: Record<string, unknown>) => object): string =>
  JSON.stringify((JSON.parse(text) as Record<string, unknown>[]).map(change));

const closed = ['*filter', ':INPUT DROP [0:0]', ':FORWARD DROP [0:0]', ':OUTPUT DROP [0:0]', 'COMMIT', ''];

/** What a file might say as well. */
const otherwise: Readonly<Record<string, readonly ((text: string) => string)[]>> = {
  'iptables-save.txt': [() => '', () => closed.join('\n')],
  'iptables-legacy-save.txt': [() => closed.join('\n')],
  'nft.json': [
    () =>
      JSON.stringify({
        nftables: [
          { table: { family: 'inet', name: 'x', handle: 1 } },
          {
            chain: {
              family: 'inet',
              table: 'x',
              name: 'in',
              handle: 1,
              type: 'filter',
              hook: 'prerouting',
              prio: 0,
              policy: 'drop',
            },
          },
        ],
      }),
  ],
  'ip-route.json': [() => '[]'],
  'ip-rule.json': [() => '[]'],
  'ip-neigh.json': [
    (text) => inList(text, (entry) => ({ ...entry, lladdr: '02:de:ad:00:00:01', state: ['PERMANENT'] })),
  ],
  'bridge-fdb.json': [() => '[]'],
  'ip-link.json': [
    (text) => inList(text, (entry) => ({ ...entry, flags: ['BROADCAST'], operstate: 'DOWN' })),
    (text) => inList(text, (entry) => ({ ...entry, mtu: entry.ifname === 'lo' ? 65_536 : 600 })),
  ],
  'ip-addr.json': [(text) => inList(text, (entry) => ({ ...entry, addr_info: [] }))],
  'ipset.txt': [(text) => text.replace(/^add .*\n/gm, '')],
  'ss.txt': [(text) => text.split('\n').slice(0, 1).join('\n')],
  'sysctl.txt': [
    (text) => text.replace(/^(net\.ipv4\.(ip_forward|conf\.\S*\.forwarding) = ).*$/gm, '$10'),
    (text) => text.replace(/^(net\.bridge\.\S+ = ).*$/gm, '$10'),
    (text) => text.replace(/^(net\.bridge\.\S+ = ).*$/gm, '$11'),
  ],
};

/** Definite answers without the file that another content of it would overturn. */
function unproven(recorded: Recorded, id: string, file: string): readonly string[] {
  const flows = through(recorded, id);
  const text = recorded.files.get(folderOf(recorded, id) + file);
  if (text === undefined) return [];
  const without = answersOf(changed(recorded, id, new Map([[file, undefined]])), flows);
  return (otherwise[file] ?? []).flatMap((edit) =>
    answersOf(changed(recorded, id, new Map([[file, edit(text)]])), flows).flatMap(
      ({ answer, disposition }, i) => {
        const said = without[i]?.answer;
        return said === 'unknown' || answer === 'unknown' || answer === said
          ? []
          : [
              `${titled(flows[i] as Asked)} without ${file} of ${id}: ${said}, and it could be ${answer} (${disposition})`,
            ];
      },
    ),
  );
}

const healthy = names.filter((name) => name.startsWith('healthy-vxlan'));

describe.each(healthy)('%s', (name) => {
  let recorded: Recorded;
  beforeAll(async () => {
    recorded = await readRecording(name);
  });

  it('what is definite without a file holds whatever it says', () => {
    const wrong = [...onWay(recorded)].flatMap((id) =>
      Object.keys(otherwise).flatMap((file) => unproven(recorded, id, file)),
    );
    expect(wrong).toEqual([]);
  }, 60_000);

  it('two missing files make no other answer', () => {
    const pairs = important.flatMap((one, i) => important.slice(i + 1).map((other) => [one, other]));
    const nodes = [...onWay(recorded)].filter((id) => !id.includes('/'));
    expect(nodes.flatMap((id) => pairs.flatMap((pair) => overturned(recorded, id, pair)))).toEqual([]);
  }, 60_000);
});

if (names.length === 0) {
  it('recordings are not here: nothing to take away', () => {
    expect(names).toEqual([]);
  });
}
