// What bench-dataplane.mjs runs in a process of its own; prints one line of JSON. `write FOLDER OPTIONS`, or a measurement of what is in FOLDER.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { snapshotFromFiles } from '../src/collect/build.ts';
import { simulation } from '../src/dataplane/simulate.ts';
import { conclude, walk } from '../src/dataplane/walk.ts';
import { World } from '../src/dataplane/world.ts';
import { address } from '../src/net/address.ts';
import { buildNetns } from '../src/parse/netns.ts';
import { makeFiles } from './dataplane/cluster.mjs';
import { randomOf } from './policy/random.mjs';

const [what, folder, text] = process.argv.slice(2);
const options = JSON.parse(text ?? '{}');

const timed = (run) => {
  const started = performance.now();
  const result = run();
  return [performance.now() - started, result];
};
const at = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
/** Milliseconds of many runs. */
const spread = (times) => {
  const sorted = [...times].sort((a, b) => a - b);
  return { median: at(sorted, 0.5), p99: at(sorted, 0.99), most: sorted.at(-1) };
};

/** Of the whole process, start-up and the collector's threads included. */
function spent() {
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
  return { cpuMs: (userCPUTime + systemCPUTime) / 1000, maxRssMb: maxRSS / 1024 };
}

function write() {
  const files = makeFiles(options);
  for (const [path, content] of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
  return { files: files.size, bytes: sum([...files.values()].map((content) => content.length)) };
}

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

function nodeAlone() {
  const files = new Map(
    nodeFiles.map((name) => [name, readFileSync(join(folder, 'nodes/node1', name), 'utf8')]),
  );
  const [ms, netns] = timed(() => {
    const built = buildNetns('node1', 'node1', undefined, (name) => files.get(name), '');
    if (built.rulesets.state === 'unknown') throw new Error(built.rulesets.why);
    if (built.nftTables.state === 'unknown') throw new Error(built.nftTables.why);
    if (built.ipsets.state === 'unknown') throw new Error(built.ipsets.why);
    return built;
  });
  return { ms, netns };
}

const nodeFiles = [
  'ip-link.json',
  'ip-addr.json',
  'ip-route.json',
  'ip-rule.json',
  'sysctl.txt',
  'iptables-save.txt',
  'ip6tables-save.txt',
  'iptables-legacy-save.txt',
  'ip6tables-legacy-save.txt',
  'nft.json',
  'ipset.txt',
  'conntrack.txt',
];

/** Text of one node's rules to rule sets, with the most memory that the process took. */
function parse() {
  const { ms, netns } = nodeAlone();
  return { ms, rules: ruleCount(netns), ...spent() };
}

const ruleCount = ({ rulesets, nftTables }) =>
  sum(
    rulesets.value.flatMap(({ tables }) =>
      tables.flatMap(({ chains }) => [...chains.values()].map(({ rules }) => rules.length)),
    ),
  ) + sum(nftTables.value.map((table) => table.ruleCount));

/** SYNs of pods to Services through all hooks of one node, each with an empty connection table. */
function walkNode() {
  const { netns } = nodeAlone();
  const random = randomOf(1);
  const verdicts = new Map();
  const send = () => {
    const service = Math.floor(random.unit() * options.services);
    const packet = {
      src: address('10.244.4.2'),
      dst: address(`10.${96 + (service >> 16)}.${(service >> 8) & 255}.${service & 255}`),
      protocol: 'tcp',
      srcPort: 40_000,
      dstPort: 80,
      lengthBytes: 60,
      df: true,
      ttl: 64,
      mark: 0,
      flags: { syn: true },
    };
    const simulate = simulation(netns);
    const [ms, { verdict, alternatives }] = timed(() => simulate({ iif: 'cni0', packet }));
    const ways = alternatives?.length ?? 1;
    const key = `${ways} ways, ${alternatives?.[0]?.verdict ?? verdict}`;
    verdicts.set(key, (verdicts.get(key) ?? 0) + 1);
    return ms;
  };
  const first = send();
  for (let i = 0; i < 300; i++) send();
  const times = Array.from({ length: 2000 }, send);
  return { first, ...spread(times), verdicts: Object.fromEntries(verdicts) };
}

function snapshotOf() {
  const files = makeFiles(options);
  return snapshotFromFiles({ files, unreadable: [] }, 'benchmark');
}

/** Flows from pods to Services, every backend there and back, small and full size. */
function trace() {
  const snapshot = snapshotOf();
  const world = new World(snapshot);
  const random = randomOf(2);
  const pods = snapshot.cluster.pods.value;
  const services = snapshot.cluster.services.value;
  const answers = new Map();
  const one = (sizeBytes) => {
    const pod = random.pick(pods);
    const service = random.pick(services);
    const [ms, branches] = timed(() => walkFlow(world, pod, service, sizeBytes));
    const key = `${conclude(branches).answer}, ${branches.length} branches`;
    answers.set(key, (answers.get(key) ?? 0) + 1);
    return ms;
  };
  const first = one();
  for (let i = 0; i < 100; i++) one();
  const both = Array.from({ length: 500 }, () => one());
  const small = Array.from({ length: 500 }, () => one(60));
  return { first, bothSizes: spread(both), small: spread(small), answers: Object.fromEntries(answers) };
}

function walkFlow(world, pod, service, sizeBytes) {
  const [src] = pod.addresses;
  const [dst] = service.clusterIps;
  const flow = {
    src: { kind: 'pod', namespace: pod.namespace, name: pod.name, address: src },
    dst: { kind: 'service', namespace: service.namespace, name: service.name, address: dst },
    protocol: 'tcp',
    dstPort: service.ports[0].port,
    ...(sizeBytes === undefined ? {} : { sizeBytes }),
  };
  const netns = world.netns(`${pod.node}/${pod.namespace}_${pod.name}`);
  return walk(world, flow, { netns, address: src });
}

/** Every pod to every Service. */
function flows() {
  const snapshot = snapshotOf();
  const answers = new Map();
  const [ms, count] = timed(() => {
    const world = new World(snapshot);
    let walked = 0;
    for (const pod of snapshot.cluster.pods.value)
      for (const service of snapshot.cluster.services.value) {
        const { answer } = conclude(walkFlow(world, pod, service, 60));
        answers.set(answer, (answers.get(answer) ?? 0) + 1);
        walked++;
      }
    return walked;
  });
  return { ms, count, answers: Object.fromEntries(answers), ...spent() };
}

const modes = { write, parse, walk: walkNode, trace, flows };
process.stdout.write(JSON.stringify(modes[what]()));
