// What bench-policy.mjs runs in a process of its own: `floor DIR`, `whole DIR`, or `after DIR SEED`. Prints one line of JSON.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { clusterOf } from '../../src/parse/kubernetes/cluster.ts';
import { parsed } from '../../src/parse/result.ts';
import { policyEngine, quotient } from '../../src/policy/index.ts';
import { randomOf } from './random.mjs';

const [what, folder, seed] = process.argv.slice(2);

/** Every file read and JSON.parsed, nothing kept: the least that any tool needs. */
function floor() {
  const started = performance.now();
  let objects = 0;
  for (const name of readdirSync(folder))
    objects += JSON.parse(readFileSync(join(folder, name), 'utf8')).items.length;
  return { ms: performance.now() - started, objects };
}

/** Files to connectivity, each phase timed, and the most memory that it took. */
function whole() {
  const phases = {};
  const lap = (phase, run) => {
    const started = performance.now();
    const result = run();
    phases[phase] = performance.now() - started;
    return result;
  };
  const lists = lap('read + JSON.parse', readLists);
  const cluster = lap('objects in normal form', () => normalForm(lists));
  const engine = lap('policies compiled', () => policyEngine(cluster));
  const { fingerprint, ...counts } = lap('whole connectivity', () => quotient(engine));
  return { phases, counts, hash: fingerprint, maxRssMb: process.resourceUsage().maxRSS / 1024 };
}

const plurals = {
  Pod: 'pods',
  Node: 'nodes',
  Namespace: 'namespaces',
  NetworkPolicy: 'networkpolicies.networking.k8s.io',
};

function readLists() {
  const lists = new Map(Object.values(plurals).map((plural) => [plural, []]));
  for (const file of readdirSync(folder).sort())
    for (const [i, object] of JSON.parse(readFileSync(join(folder, file), 'utf8')).items.entries())
      lists.get(plurals[object.kind]).push({ object, origin: { file, document: 0, path: `items[${i}]` } });
  return lists;
}

/** The parsed JSON is let go of: the engine runs on the normal form alone. */
function normalForm(lists) {
  const cluster = clusterOf((plural) => ({ where: plural, objects: parsed(lists.get(plural) ?? []) }));
  if (cluster.problems.length > 0) throw new Error(cluster.problems[0].text);
  lists.clear();
  return cluster;
}

/** What a loaded engine answers: random flows between pods, and each kind of question for itself. */
function after() {
  const cluster = normalForm(readLists());
  const engine = policyEngine(cluster);
  quotient(engine);
  const random = randomOf(Number(seed));
  const pods = cluster.pods.value.filter(({ hostNetwork }) => !hostNetwork);
  const flows = Array.from({ length: 200_000 }, () => ({
    src: { kind: 'pod', pod: random.pick(pods) },
    dst: { kind: 'pod', pod: random.pick(pods) },
    protocol: random.chance(0.9) ? 'TCP' : 'UDP',
    port: random.pick([53, 80, 443, 3000, 8000, 8080, 8443, 9090, 30050]),
  }));
  let allowed = 0;
  const rates = Array.from({ length: 5 }, () => {
    const started = performance.now();
    for (const flow of flows) if (engine.verdict(flow).verdict === 'allow') allowed += 1;
    return (flows.length / (performance.now() - started)) * 1000;
  });
  return {
    'point verdicts': `${(median(rates) / 1e6).toFixed(2)} million/s (${((allowed / flows.length / rates.length) * 100).toFixed(1)} % allowed)`,
  };
}

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

const modes = { floor, whole, after };
process.stdout.write(JSON.stringify(modes[what]()));
