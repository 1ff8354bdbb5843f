/** `probes/*.json`: probe results in this program's own form, or as recordings have them (`ok` and the tool's output). */
import type { ProbeKind, ProbeResult } from '../model/evidence.ts';
import { asNumber, asString, isObject, type JsonObject, parseJson } from './json.ts';
import { failed, type Parsed, type ParseNote, parsed } from './result.ts';

type Outcome = ProbeResult['outcome'];

const outcomes: readonly Outcome[] = ['ok', 'timeout', 'refused', 'unreachable', 'too-big', 'error'];
const kinds: readonly ProbeKind[] = ['icmp', 'tcp', 'udp', 'dns'];

/** A list, or an object that holds it as `probes` or `results`. */
export function parseProbes(text: string, file: string): Parsed<readonly ProbeResult[]> {
  const json = parseJson(text, file, 'probes');
  if (!json.ok) return json;
  const root = json.value;
  const items = isObject(root) ? (root.probes ?? root.results) : root;
  if (!Array.isArray(items))
    return failed({ code: 'probes/foreign', file, message: 'there is no list of probe results' });
  const results: ProbeResult[] = [];
  const notes: ParseNote[] = [];
  for (const [i, item] of (items as unknown[]).entries()) {
    const result = isObject(item) ? readResult(item) : 'not an object';
    if (typeof result === 'string') notes.push({ code: 'probes/entry', file, message: `[${i}]: ${result}` });
    else results.push(result);
  }
  return parsed(results, notes);
}

/** A text says what is wrong. */
function readResult(item: JsonObject): ProbeResult | string {
  const src = asString(item.src);
  const dst = asString(item.dst);
  const kind = kinds.find((candidate) => candidate === (item.kind ?? item.protocol));
  if (src === undefined || dst === undefined) return 'src and dst must be text';
  if (kind === undefined) return 'kind (or protocol) must be icmp, tcp, udp or dns';
  const port = asNumber(item.port ?? 0);
  const sizeBytes = asNumber(item.sizeBytes ?? item.size ?? 0);
  if (port === undefined || sizeBytes === undefined) return 'port and size must be numbers';
  const output = asString(item.output) ?? '';
  const ms = asNumber(item.ms) ?? 0;
  const outcome = readOutcome(item, output, ms);
  if (outcome === undefined) return 'outcome (or ok) is missing or unknown';
  return {
    src,
    dst,
    kind,
    port,
    sizeBytes,
    ...(item.df === true ? { df: true } : {}),
    outcome,
    ms,
    command: asString(item.command) ?? '',
    output,
  };
}

function readOutcome(item: JsonObject, output: string, ms: number): Outcome | undefined {
  if (item.outcome !== undefined) return outcomes.find((outcome) => outcome === item.outcome);
  if (item.ok === true) return 'ok';
  return item.ok === false ? failureOf(output, ms) : undefined;
}

/** First hit wins: the precise message of a tool before its exit code. */
const failures: readonly (readonly [RegExp, Outcome])[] = [
  [/message too long|frag(?:mentation)? needed|packet too big|mtu[ =]/i, 'too-big'],
  [/connection refused|port unreachable/i, 'refused'],
  [/no route to host|(?:host|net(?:work)?) (?:is )?unreachable|prohibited|\bEHOSTUNREACH\b/i, 'unreachable'],
  [/timed? ?out|100% packet loss|no servers could be reached/i, 'timeout'],
  // timeout(1) kills with SIGTERM or says 124.
  [/exit code (?:124|143|137)\b/, 'timeout'],
];

/** A refusal and an ICMP error come back at once; resolving a dead neighbour, or silence, takes a second and more. */
const promptMs = 1000;

function failureOf(output: string, ms: number): Outcome {
  for (const [pattern, outcome] of failures) if (pattern.test(output)) return outcome;
  // curl 7 ("Couldn't connect to server") says neither refused nor unreachable, only how long it took.
  const curl = /\(7\) Failed to connect to .* after (\d+) ms/.exec(output);
  if (curl !== null) return Number(curl[1]) < promptMs ? 'refused' : 'unreachable';
  // `exit code 1` without a word: the reader of a UDP answer saw none until its own timeout ended.
  return /exit code 1\b/.test(output) && ms >= promptMs ? 'timeout' : 'error';
}
