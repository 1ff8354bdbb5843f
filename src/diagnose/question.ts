/** From what was typed to the flows that are asked about. */
import type { ServicePort } from '../model/cluster.ts';
import { PodpathError } from '../model/errors.ts';
import type { Endpoint, Flow, FlowProtocol } from '../model/flow.ts';
import { orElse } from '../model/known.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { formatEndpoint, type Resolved, resolveEndpoint, splitTarget } from './endpoint.ts';
import { resolverOf } from './resolver.ts';

export interface Question {
  readonly src: string;
  /** With its port: `shop/api-1:8080`. */
  readonly dst: string;
  /** Namespace for endpoints that name none. */
  readonly namespace: string;
  readonly protocol?: FlowProtocol;
  readonly sizeBytes?: number;
  readonly family?: 4 | 6;
}

export interface AskedFlows {
  /** At least one: every pair of sources and destinations, capped. */
  readonly flows: readonly [Flow, ...Flow[]];
  /** Pairs that were left out by the cap. */
  readonly leftOut: number;
  /** Names that the cluster's DNS would not find. The flow then ends at DNS. */
  readonly notFound?: readonly string[];
}

/** A deployment of a hundred pods to one of a hundred is 10,000 pairs: enough are walked to see a pattern. */
const maxPairs = 64;

/** Throws PodpathError where an end is not found, ambiguous, or has no port that could be meant. */
export function askedFlows(snapshot: Snapshot, question: Question): AskedFlows {
  const { namespace } = question;
  const target = splitTarget(question.dst);
  const family = question.family === undefined ? {} : { family: question.family };
  const sources = resolveEndpoint(question.src, { snapshot, namespace, ...family }).endpoints;
  const [first] = sources;
  if (first === undefined) throw new TypeError('a source resolves to at least one endpoint');
  const resolved = resolveEndpoint(target.host, {
    snapshot,
    namespace: first.kind === 'pod' && !target.host.includes('/') ? first.namespace : namespace,
    resolver: resolverOf(snapshot, first),
    family: question.family ?? first.address.family,
  });
  if (resolved.notFound !== undefined) return nameless(question, first, target.port, resolved);
  const flows = sources.flatMap((src) =>
    resolved.endpoints.map((dst) => makeFlow(snapshot, question, src, dst, target.port, resolved.hostName)),
  );
  const [head, ...rest] = flows.slice(0, maxPairs);
  if (head === undefined) throw new TypeError('a destination resolves to at least one endpoint');
  return { flows: [head, ...rest], leftOut: Math.max(0, flows.length - maxPairs) };
}

function makeFlow(
  snapshot: Snapshot,
  question: Question,
  src: Endpoint,
  dst: Endpoint,
  givenPort: number | undefined,
  hostName: string | undefined,
): Flow {
  const guess = givenPort === undefined && question.protocol !== 'icmp' ? onlyPort(snapshot, dst) : undefined;
  const protocol = question.protocol ?? guess?.protocol ?? (givenPort === undefined ? 'icmp' : 'tcp');
  const dstPort = protocol === 'icmp' ? 0 : (givenPort ?? guess?.port);
  if (dstPort === undefined) throw noPort(question, dst, guess?.choices ?? []);
  return {
    src,
    dst,
    protocol,
    dstPort,
    ...(question.sizeBytes === undefined ? {} : { sizeBytes: question.sizeBytes }),
    ...(hostName === undefined ? {} : { hostName }),
  };
}

interface PortGuess {
  readonly port?: number;
  readonly protocol?: FlowProtocol;
  readonly choices: readonly string[];
}

/** The one port that the destination declares; with several the user must say which. */
function onlyPort(snapshot: Snapshot, dst: Endpoint): PortGuess | undefined {
  const ports = declaredPorts(snapshot, dst);
  const choices = ports.map((p) => `${p.port}/${p.protocol}`);
  const [only] = ports;
  if (only === undefined) return undefined;
  if (ports.length > 1) return { choices, protocol: 'tcp' };
  return { port: only.port, protocol: only.protocol.toLowerCase() as FlowProtocol, choices };
}

function declaredPorts(snapshot: Snapshot, dst: Endpoint): readonly Pick<ServicePort, 'port' | 'protocol'>[] {
  if (dst.kind === 'pod') {
    const pods = orElse(snapshot.cluster.pods, []);
    const pod = pods.find((p) => p.namespace === dst.namespace && p.name === dst.name);
    return pod?.containers.flatMap((container) => container.ports) ?? [];
  }
  if (dst.kind !== 'service') return [];
  const services = orElse(snapshot.cluster.services, []);
  return services.find((s) => s.namespace === dst.namespace && s.name === dst.name)?.ports ?? [];
}

const noPort = (question: Question, dst: Endpoint, choices: readonly string[]): PodpathError =>
  new PodpathError({
    code: 'endpoint/no-port',
    what: 'the destination needs a port',
    where: question.dst,
    why:
      choices.length === 0
        ? `${formatEndpoint(dst)} declares none`
        : `${formatEndpoint(dst)} has several: ${choices.join(', ')}`,
    todo: `write ${question.dst}:${choices[0]?.split('/')[0] ?? 'PORT'}, or --protocol icmp for a ping`,
  });

/** A flow whose name nobody knows: its destination is the name server. */
function nameless(
  question: Question,
  src: Endpoint,
  port: number | undefined,
  resolved: Resolved,
): AskedFlows {
  const flow: Flow = {
    src,
    // No address was found; the unspecified one stands for it and is never walked.
    dst: { kind: 'external', address: { family: 4, value: 0n } },
    protocol: question.protocol ?? 'tcp',
    dstPort: port ?? 0,
    hostName: resolved.hostName ?? question.dst,
  };
  return { flows: [flow], leftOut: 0, notFound: resolved.notFound ?? [] };
}
