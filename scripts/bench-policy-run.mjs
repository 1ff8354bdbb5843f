// What bench-policy.mjs runs in a process of its own: `floor DIR`, `whole DIR`, or `after DIR SEED`. Prints one line of JSON.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { clusterOf } from '../src/parse/kubernetes/cluster.ts';
import { parsed } from '../src/parse/result.ts';
import { explain } from '../src/policy/explain/explain.ts';
import { editedQuotient, editNetworkPolicy, policyEngine, quotient } from '../src/policy/index.ts';
import { randomOf } from './policy/random.mjs';

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
  const { user, system } = process.cpuUsage();
  return {
    phases,
    cpuMs: (user + system) / 1000,
    counts,
    hash: fingerprint,
    maxRssMb: process.resourceUsage().maxRSS / 1024,
  };
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

/** What a loaded engine answers: random flows between pods, and the connectivity after one policy is another. */
function after() {
  const cluster = normalForm(readLists());
  const engine = policyEngine(cluster);
  const before = quotient(engine);
  const random = randomOf(Number(seed));
  return {
    ...pointVerdicts(engine, cluster.pods.value, random),
    ...explanations(engine, cluster.pods.value, random),
    ...edits(engine, before, random),
  };
}

function pointVerdicts(engine, pods, random) {
  const ends = pods.filter(({ hostNetwork }) => !hostNetwork).map((pod) => ({ kind: 'pod', pod }));
  const flows = Array.from({ length: 200_000 }, () => ({
    src: random.pick(ends),
    dst: random.pick(ends),
    protocol: random.chance(0.9) ? 'TCP' : 'UDP',
    port: random.pick([53, 80, 443, 3000, 8000, 8080, 8443, 9090, 30050]),
  }));
  let allowed = 0;
  const rates = Array.from({ length: 7 }, () => {
    const started = performance.now();
    for (const flow of flows) if (engine.verdict(flow).verdict === 'allow') allowed += 1;
    return flows.length / (performance.now() - started) / 1000;
  });
  const share = (allowed / flows.length / rates.length) * 100;
  return {
    'point verdicts': `${median(rates).toFixed(2)} million/s (${Math.min(...rates).toFixed(2)} to ${Math.max(...rates).toFixed(2)}), ${share.toFixed(1)} % allowed`,
  };
}

/** Why single flows pass or not, with the nearest miss; the first one also makes the index of policies by pod. */
function explanations(engine, pods, random) {
  const ends = pods.filter(({ hostNetwork }) => !hostNetwork).map((pod) => ({ kind: 'pod', pod }));
  const times = Array.from({ length: 200 }, () => {
    const flow = { src: random.pick(ends), dst: random.pick(ends), protocol: 'TCP', port: 8080 };
    const started = performance.now();
    explain(engine, flow);
    return performance.now() - started;
  });
  const [first, ...warm] = times;
  return {
    explain: `${median(warm).toFixed(2)} ms (to ${Math.max(...warm).toFixed(2)}; the first ${first.toFixed(1)})`,
  };
}

/** A policy closes, or opens a port to all: the connectivity after it, counted again. Each edit starts from the cluster as it was. */
function edits(engine, before, random) {
  const policies = engine.world.cluster.networkPolicies.value.filter(({ ingress }) => ingress?.length > 0);
  let changed = 0;
  const times = Array.from({ length: 50 }, () => {
    const policy = random.pick(policies);
    const field = 'spec.ingress[0]';
    const open = { field, ports: [{ protocol: 'TCP', port: 8080, field: `${field}.ports[0]` }] };
    const put = { ...policy, ingress: random.chance(0.5) ? [] : [open] };
    const started = performance.now();
    const edited = editedQuotient(before, engine, editNetworkPolicy(engine, { put }));
    const ms = performance.now() - started;
    if (edited.fingerprint !== before.fingerprint) changed += 1;
    return ms;
  });
  return {
    'after one policy edit': `${median(times).toFixed(1)} ms (${Math.min(...times).toFixed(1)} to ${Math.max(...times).toFixed(1)}), ${changed} of 50 changed the result`,
  };
}

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

const modes = { floor, whole, after };
process.stdout.write(JSON.stringify(modes[what]()));
