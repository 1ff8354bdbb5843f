/** Flows of a lab, what the walk says of each, and what the kernel does with it. */
import { lookupRoute } from '../../src/dataplane/routing.ts';
import { conclude, walk } from '../../src/dataplane/walk.ts';
import type { World } from '../../src/dataplane/world.ts';
import { podNetnsId } from '../../src/dataplane/world.ts';
import type { Lab } from '../../src/lab/lab.ts';
import type { Endpoint, Flow } from '../../src/model/flow.ts';
import type { Branch } from '../../src/model/verdict.ts';
import { type Address, parseAddress } from '../../src/net/address.ts';
import { probeFromLab } from '../../src/probe/lab.ts';
import type { ProbeRequest } from '../../src/probe/request.ts';

/** What is sent. `tcp-bulk` is 100 kB, for tcp-up from the source and for tcp-down from the destination. */
export interface Asked {
  /** `shop/web-1`, or a node's name. */
  readonly src: string;
  /** `shop/api-1`, a node's name, or `shop/svc/db` for a Service. */
  readonly dst: string;
  readonly family: 4 | 6;
  readonly kind: 'tcp' | 'tcp-up' | 'tcp-both' | 'udp' | 'icmp';
  readonly port: number;
  /** For icmp: the IP packet's size, sent with DF. Absent: small. */
  readonly sizeBytes?: number;
  /** Sent there instead of the destination's own address: one of a second network. */
  readonly address?: string;
}

export const formatAsked = ({ src, dst, family, kind, port, sizeBytes }: Asked): string =>
  `${src} -> ${dst}${port === 0 ? '' : `:${port}`} ${kind}${sizeBytes ?? ''} v${family}`;

const sizes = [1290, 1350, 1430, 1450, 1500];

/** Every interesting pair of a lab of two nodes: same node and across, pod, Service and node, each protocol and size. */
export function askedOf(families: readonly (4 | 6)[]): readonly Asked[] {
  return families.flatMap((family) => {
    const to = (src: string, dst: string): Asked[] => [
      { src, dst, family, kind: 'tcp', port: 8080 },
      { src, dst, family, kind: 'tcp-both', port: 8080 },
      { src, dst, family, kind: 'udp', port: 8081 },
      { src, dst, family, kind: 'icmp', port: 0 },
      ...sizes.map((sizeBytes): Asked => ({ src, dst, family, kind: 'icmp', port: 0, sizeBytes })),
    ];
    const db = (src: string): Asked[] => [
      { src, dst: 'shop/svc/db', family, kind: 'tcp', port: 5432 },
      { src, dst: 'shop/svc/db', family, kind: 'tcp-up', port: 5432 },
    ];
    const node = (src: string, dst: string): Asked[] => [
      { src, dst, family, kind: 'icmp', port: 0 },
      { src, dst, family, kind: 'tcp', port: 8080 },
    ];
    return [
      ...to('ops/toolbox-1', 'shop/api-1'),
      ...to('ops/toolbox-1', 'shop/api-2'),
      ...to('shop/web-2', 'shop/api-2'),
      ...to('shop/web-2', 'shop/api-1'),
      ...to('node1', 'shop/api-1'),
      ...to('node1', 'shop/api-2'),
      ...['ops/toolbox-1', 'shop/web-2', 'node1', 'shop/db-1'].flatMap(db),
      ...node('ops/toolbox-1', 'node1'),
      ...node('ops/toolbox-1', 'node2'),
      ...node('node1', 'node2'),
    ];
  });
}

const isFamily =
  (family: 4 | 6) =>
  (text: string): boolean =>
    text.includes(':') === (family === 6);

/** Address of a destination as the lab planned it. Undefined where it has none of the family. */
export async function addressOf(lab: Lab, name: string, family: 4 | 6): Promise<string | undefined> {
  const [namespace, kind, service] = name.split('/');
  if (kind === undefined) return lab.node(name).addresses.find(isFamily(family));
  if (service === undefined) return lab.pod(name).addresses.find(isFamily(family));
  const services = await lab.objects('services');
  const found = services.find((one) => one.metadata.name === service && one.metadata.namespace === namespace);
  const spec = found?.spec as { clusterIPs?: string[] } | undefined;
  return spec?.clusterIPs?.find(isFamily(family));
}

export interface Predicted {
  readonly answer: 'reachable' | 'unreachable' | 'unknown' | 'mixed';
  /** Why it is lost or not known. */
  readonly why: string;
  readonly branches: readonly Branch[];
}

/** What the walk says of one flow: of its small packets, or of those as large as asked. */
export function predict(world: World, lab: Lab, asked: Asked, dstText: string): Predicted {
  const address = parseAddress(dstText);
  const isNode = !asked.src.includes('/');
  const pod = isNode ? undefined : lab.pod(asked.src);
  const netns = world.netns(pod === undefined ? asked.src : podNetnsId(pod.node, pod.namespace, pod.name));
  if (netns === undefined || address === undefined) throw new RangeError(formatAsked(asked));
  const routed = lookupRoute(netns, { dst: address, mark: 0 });
  const own = (pod ?? lab.node(asked.src)).addresses.find(isFamily(asked.family)) ?? '';
  const source = (routed.state === 'found' ? routed.source : undefined) ?? parseAddress(own);
  if (source === undefined) throw new RangeError(own);
  const flow: Flow = {
    src: endpoint(asked.src, source),
    dst: endpoint(asked.dst, address),
    protocol: asked.kind === 'icmp' ? 'icmp' : asked.kind === 'udp' ? 'udp' : 'tcp',
    dstPort: asked.port,
    ...(asked.kind === 'udp' ? { sizeBytes: 36 } : {}),
    ...(asked.kind === 'icmp' ? { sizeBytes: asked.sizeBytes ?? 60 } : {}),
  };
  const all = walk(world, flow, { netns, address: source });
  const size =
    asked.kind === 'tcp' || asked.kind === 'udp' || asked.sizeBytes === undefined ? 'small' : 'full';
  const wanted = asked.kind === 'tcp-up' || asked.kind === 'tcp-both' ? 'full' : size;
  const sized = all.filter((branch) => branch.size === wanted);
  const branches = sized.length > 0 ? sized : all;
  return { ...judged(branches, asked), branches };
}

function judged(branches: readonly Branch[], asked: Asked): Omit<Predicted, 'branches'> {
  const { answer } = conclude(branches);
  const shown = branches.find((branch) => branch.answer === answer);
  const why =
    shown?.broken === undefined
      ? ''
      : `${shown.disposition}: ${shown.broken.hop.netns} ${shown.broken.direction}: ${shown.broken.step.text}${shown.broken.step.facts?.icmp === undefined ? '' : ` (${shown.broken.step.facts.icmp})`}`;
  const certain = new Set(branches.map((branch) => branch.answer));
  if (certain.has('reachable') && certain.has('unreachable')) return { answer: 'mixed', why };
  // Whoever took it in place of the one that was meant may answer as well.
  if (shown?.broken?.step.reason === 'wrong-host') return { answer: 'mixed', why };
  // One ping of a fixed size does not get smaller: what path-MTU discovery teaches its sender comes too late for it.
  const told = shown?.remarks.find((noted) => noted.text.startsWith('path-MTU discovery'));
  if (asked.kind === 'icmp' && answer === 'reachable' && told !== undefined)
    return { answer: 'unreachable', why: told.text };
  return { answer, why };
}

function endpoint(name: string, address: Address): Endpoint {
  const [namespace = '', kind, service] = name.split('/');
  if (kind === undefined) return { kind: 'node', name, address };
  if (service !== undefined) return { kind: 'service', namespace, name: service, address };
  return { kind: 'pod', namespace, name: kind, address };
}

const bytes = 100_000;

function requestsOf(asked: Asked, dst: string, timeoutMs: number): ProbeRequest[] {
  const { src, port, sizeBytes } = asked;
  const common = { src, dst, timeoutMs };
  const up: ProbeRequest = {
    ...common,
    kind: 'tcp',
    port,
    bulk: { direction: 'from-src', sizeBytes: bytes },
  };
  switch (asked.kind) {
    case 'tcp':
      return [{ ...common, kind: 'tcp', port }];
    case 'tcp-up':
      return [up];
    case 'tcp-both':
      return [up, { ...common, kind: 'tcp', port, bulk: { direction: 'from-dst', sizeBytes: bytes } }];
    case 'udp':
      return [{ ...common, kind: 'udp', port }];
    case 'icmp':
      return [{ ...common, kind: 'icmp', ...(sizeBytes === undefined ? {} : { sizeBytes }) }];
  }
}

export interface Happened {
  readonly ok: boolean;
  readonly outcomes: readonly string[];
}

/** Sends everything, all senders at once. Results in the order of `flows`. */
export async function happens(
  lab: Lab,
  flows: readonly { readonly asked: Asked; readonly dst: string }[],
  timeoutMs: number,
): Promise<Happened[]> {
  const senders = [...new Set(flows.map(({ asked }) => asked.src))];
  const found = new Map<Asked, Happened>();
  await Promise.all(
    senders.map(async (src) => {
      const own = flows.filter(({ asked }) => asked.src === src);
      const requests = own.map(({ asked, dst }) => requestsOf(asked, dst, timeoutMs));
      const { netns } = src.includes('/') ? lab.pod(src) : lab.node(src);
      // A busy machine may not end the agent in time.
      const ask = () => probeFromLab(lab, netns, requests.flat());
      const results = await ask().catch(ask);
      let next = 0;
      for (const [index, { asked }] of own.entries()) {
        const mine = results.slice(next, next + (requests[index]?.length ?? 0));
        next += mine.length;
        found.set(asked, {
          ok: mine.every(({ outcome }) => outcome === 'ok'),
          outcomes: mine.map(({ outcome, output }) => `${outcome} (${output.split('\n')[0] ?? ''})`),
        });
      }
    }),
  );
  return flows.map(({ asked }) => found.get(asked) ?? { ok: false, outcomes: ['not sent'] });
}
