/**
 * What people type for the ends of a flow that policies are asked about: `[NS/]POD`, `[NS/]WORKLOAD`, `[NS/]KIND/NAME`, a Service or an
 * address. Pods of manifests have no addresses, so ends are objects here.
 */
import type { Cluster, Pod, Service, ServicePort } from '../../model/cluster.ts';
import { PodpathError } from '../../model/errors.ts';
import type { FlowProtocol } from '../../model/flow.ts';
import { orElse } from '../../model/known.ts';
import { nearestNames } from '../../model/nearest.ts';
import { type Address, formatAddress, parseAddress, sameAddress } from '../../net/address.ts';
import type { LineProtocol } from '../../net/port-set.ts';
import { type FlowEnd, isEndpointPod, type PolicyFlow, resolveNamedPort } from '../endpoint.ts';
import { ownerOf } from './owner.ts';

export interface PolicyQuestion {
  readonly src: string;
  /** Without its port. */
  readonly dst: string;
  readonly port?: number;
  /** TCP unless it says otherwise. */
  readonly protocol?: FlowProtocol;
  /** Namespace for ends that name none. */
  readonly namespace: string;
}

export interface AskedPolicyFlows {
  /** As asked, spelt out: `shop/deploy/web`, `shop/svc/api:80/TCP`. */
  readonly src: string;
  readonly dst: string;
  /** At least one. */
  readonly flows: readonly PolicyFlow[];
  readonly leftOut: number;
  readonly remarks: readonly string[];
}

/** Pods with a name that people use, or a Service. */
type Named =
  | { readonly is: 'ends'; readonly title: string; readonly ends: readonly FlowEnd[] }
  | { readonly is: 'service'; readonly title: string; readonly service: Service };

/** More pairs than this tell nothing new: pods of one workload differ seldom. */
const maxPairs = 50_000;

/** Throws PodpathError where an end is not found or no port can be meant. */
export function askedPolicyFlows(cluster: Cluster, question: PolicyQuestion): AskedPolicyFlows {
  const source = find(cluster, question.src, question.namespace);
  if (source.is === 'service')
    throw new PodpathError({
      code: 'endpoint/service-source',
      what: 'a Service sends nothing',
      where: question.src,
      why: 'it is an address in front of pods',
      todo: 'name the pods that call: NS/POD or NS/deploy/NAME',
    });
  const target = find(cluster, question.dst, question.namespace);
  const remarks: string[] = [];
  const protocol = lineProtocol(question, target);
  const targets = targetsOf(cluster, question, target, protocol, remarks);
  const flows: PolicyFlow[] = [];
  let leftOut = 0;
  const alone = source.ends.length === 1 && targets.length === 1;
  for (const src of source.ends)
    for (const { end, port } of targets) {
      // A workload asked about itself means its pods among each other.
      if (!alone && sameEnd(src, end)) continue;
      if (flows.length < maxPairs) flows.push({ src, dst: end, protocol, port });
      else leftOut++;
    }
  if (flows.length === 0)
    throw new PodpathError({
      code: 'endpoint/no-pods',
      what: 'there is no pair of pods to ask about',
      where: `${question.src} ${question.dst}`,
      why: 'both ends are the same pods',
      todo: 'name two different pods',
    });
  const port = protocol.startsWith('ICMP') ? undefined : (question.port ?? targets[0]?.port);
  const shown = target.title.includes(':') ? `[${target.title}]` : target.title;
  return {
    src: source.title,
    dst: port === undefined ? `${target.title} (${protocol})` : `${shown}:${port}/${protocol}`,
    flows,
    leftOut,
    remarks,
  };
}

const sameEnd = (a: FlowEnd, b: FlowEnd): boolean =>
  (a.kind === 'pod' && b.kind === 'pod' && a.pod === b.pod) ||
  (a.kind === 'node' && b.kind === 'node' && a.node === b.node);

function lineProtocol({ protocol }: PolicyQuestion, target: Named): LineProtocol {
  if (protocol === 'icmp') {
    const [end] = target.is === 'ends' ? target.ends : [];
    const six = end?.kind === 'external' && end.address.family === 6;
    return six ? 'ICMPv6' : 'ICMP';
  }
  return (protocol ?? 'tcp').toUpperCase() as LineProtocol;
}

interface Target {
  readonly end: FlowEnd;
  readonly port: number;
}

/** Echo request, as type * 256 + code. */
const echoPort = { ICMP: 8 * 256, ICMPv6: 128 * 256 } as const;

function targetsOf(
  cluster: Cluster,
  question: PolicyQuestion,
  target: Named,
  protocol: LineProtocol,
  remarks: string[],
): readonly Target[] {
  if (target.is === 'service') return behind(cluster, question, target.service, protocol, remarks);
  if (protocol === 'ICMP' || protocol === 'ICMPv6')
    return target.ends.map((end) => ({ end, port: echoPort[protocol] }));
  const port = question.port ?? onlyPort(target, protocol, question.dst);
  const other = orElse(cluster.services, []).find(
    ({ namespace, name, ports }) =>
      target.title === `${namespace}/${name}` &&
      ports.some((one) => one.port === port && one.targetPort !== port),
  );
  if (other !== undefined)
    remarks.push(
      `${port} is a port of the Service ${other.namespace}/${other.name}: ask about ${other.namespace}/svc/${other.name}:${port} if calls go through it`,
    );
  return target.ends.map((end) => ({ end, port }));
}

function onlyPort({ ends, title }: Named & { is: 'ends' }, protocol: LineProtocol, asked: string): number {
  const declared = new Set(
    ends.flatMap((end) =>
      end.kind === 'pod' && !end.pod.hostNetwork
        ? end.pod.containers.flatMap(({ ports }) =>
            ports.filter((one) => one.protocol === protocol).map(({ port }) => port),
          )
        : [],
    ),
  );
  const [only] = declared;
  if (declared.size === 1 && only !== undefined) return only;
  throw noPort(
    asked,
    declared.size === 0
      ? `${title} declares no ${protocol} port`
      : `${title} has several: ${[...declared].join(', ')}`,
    only,
  );
}

const noPort = (where: string, why: string, example: number | undefined): PodpathError =>
  new PodpathError({
    code: 'endpoint/no-port',
    what: 'the destination needs a port',
    where,
    why,
    todo: `write ${where}:${example ?? 'PORT'}, or --protocol icmp`,
  });

/** The pods behind a Service's port, each with the port that policies see: the target port, after the Service's address is translated. */
function behind(
  cluster: Cluster,
  question: PolicyQuestion,
  service: Service,
  protocol: LineProtocol,
  remarks: string[],
): readonly Target[] {
  const title = `Service ${service.namespace}/${service.name}`;
  const own = service.ports.filter((one) => one.protocol === protocol);
  const [only] = own;
  const port =
    question.port === undefined && own.length === 1 ? only : own.find((one) => one.port === question.port);
  if (port === undefined) {
    const choices = service.ports.map((one) => `${one.port}/${one.protocol}`).join(', ');
    if (question.port === undefined)
      throw noPort(question.dst, `${title} has several: ${choices}`, only?.port);
    throw new PodpathError({
      code: 'endpoint/no-service-port',
      what: `${title} has no port ${question.port}/${protocol}`,
      where: question.dst,
      why: choices === '' ? 'it declares none' : `it has ${choices}`,
      todo: 'name one of its ports, or the pods themselves with their own port',
    });
  }
  const targets = backends(cluster, service, port);
  if (targets.length === 0)
    throw new PodpathError({
      code: 'endpoint/no-pods',
      what: `no pod is behind ${title}`,
      where: question.dst,
      why: 'its selector matches no pod that has its target port',
      todo: `kubectl get endpointslices -n ${service.namespace} -l kubernetes.io/service-name=${service.name}`,
    });
  const ports = [...new Set(targets.map((one) => one.port))].join(', ');
  remarks.push(`policies see the target port ${ports} of the pods behind ${title}, not ${port.port}`);
  return targets;
}

function backends(cluster: Cluster, service: Service, port: ServicePort): readonly Target[] {
  const wanted = Object.entries(service.selector);
  if (wanted.length > 0)
    return podsOf(cluster)
      .filter(
        (pod) =>
          pod.namespace === service.namespace &&
          wanted.every(([key, value]) => Object.hasOwn(pod.labels, key) && pod.labels[key] === value),
      )
      .flatMap((pod): Target[] => {
        const end: FlowEnd = { kind: 'pod', pod };
        const numbers =
          typeof port.targetPort === 'number'
            ? [port.targetPort]
            : resolveNamedPort(end, port.targetPort, port.protocol).slice(0, 1);
        return numbers.map((number) => ({ end, port: number }));
      });
  // Without a selector somebody else writes the endpoints.
  return orElse(cluster.endpointSlices, [])
    .filter((slice) => slice.namespace === service.namespace && slice.service === service.name)
    .flatMap((slice) => {
      const own = slice.ports.find((one) => one.name === port.name && one.protocol === port.protocol);
      if (own === undefined) return [];
      return slice.endpoints.flatMap(({ addresses }) =>
        addresses.map((address) => ({ end: endAt(cluster, address), port: own.port })),
      );
    });
}

const podsOf = (cluster: Cluster): readonly Pod[] => orElse(cluster.pods, []).filter(isEndpointPod);

function endAt(cluster: Cluster, address: Address): FlowEnd {
  const has = (one: Address) => sameAddress(one, address);
  const pod = podsOf(cluster).find(({ addresses, hostNetwork }) => !hostNetwork && addresses.some(has));
  if (pod !== undefined) return { kind: 'pod', pod };
  const node = orElse(cluster.nodes, []).find(({ internalAddresses }) => internalAddresses.some(has));
  return node === undefined ? { kind: 'external', address } : { kind: 'node', node };
}

const kinds: Readonly<Record<string, string>> = {
  po: 'Pod',
  pod: 'Pod',
  pods: 'Pod',
  deploy: 'Deployment',
  ds: 'DaemonSet',
  sts: 'StatefulSet',
  rs: 'ReplicaSet',
  cj: 'CronJob',
  svc: 'Service',
  no: 'Node',
};
const spelled = [
  'Pod',
  'Deployment',
  'DaemonSet',
  'StatefulSet',
  'ReplicaSet',
  'ReplicationController',
  'Job',
  'CronJob',
  'Service',
  'Node',
];

function kindOf(word: string): string | undefined {
  const lower = word.toLowerCase();
  return Object.hasOwn(kinds, lower)
    ? kinds[lower]
    : spelled.find((kind) => kind.toLowerCase() === lower || `${kind.toLowerCase()}s` === lower);
}

function find(cluster: Cluster, text: string, namespace: string): Named {
  const address = parseAddress(text);
  if (address !== undefined) return atAddress(cluster, address);
  const parts = text.split('/');
  const [first = '', second = '', third] = parts;
  if (parts.some((part) => part === '') || parts.length > 3) throw malformed(text);
  if (third !== undefined) {
    // KIND/NS/NAME is how others write it; a namespace called like a kind is still meant where the second part is one.
    const kindFirst = kindOf(first) !== undefined && kindOf(second) === undefined;
    return kindFirst
      ? byKind(cluster, text, first, second, third)
      : byKind(cluster, text, second, first, third);
  }
  if (parts.length === 1) return byName(cluster, text, namespace, first);
  const isNamespace = podsOf(cluster).some((pod) => pod.namespace === first);
  return kindOf(first) !== undefined && !isNamespace
    ? byKind(cluster, text, first, namespace, second)
    : byName(cluster, text, first, second);
}

function atAddress(cluster: Cluster, address: Address): Named {
  const service = orElse(cluster.services, []).find(({ clusterIps }) =>
    clusterIps.some((one) => sameAddress(one, address)),
  );
  if (service !== undefined)
    return { is: 'service', title: `${service.namespace}/svc/${service.name}`, service };
  const end = endAt(cluster, address);
  const title =
    end.kind === 'pod'
      ? `${end.pod.namespace}/${end.pod.name}`
      : end.kind === 'node'
        ? `node/${end.node.name}`
        : formatAddress(address);
  return { is: 'ends', title, ends: [end] };
}

const malformed = (text: string): PodpathError =>
  new PodpathError({
    code: 'endpoint/malformed',
    what: 'cannot read the endpoint',
    where: text,
    why: 'it is none of [NS/]POD, [NS/]WORKLOAD, [NS/]KIND/NAME or an address',
    todo: 'write it like shop/web-1, shop/deploy/web, shop/svc/api, node/node1 or 192.0.2.7',
  });

/** A pod, else the pods of the workloads of that name, else a Service. */
function byName(cluster: Cluster, text: string, namespace: string, name: string): Named {
  const pods = podsOf(cluster).filter((pod) => pod.namespace === namespace);
  const pod = pods.find((one) => one.name === name);
  const members = pods.filter((one) => ownerOf(cluster, one)?.name === name);
  const title = `${namespace}/${name}`;
  if (pod !== undefined && (members.length === 0 || members.every((one) => one === pod)))
    return { is: 'ends', title, ends: [{ kind: 'pod', pod }] };
  if (members.length > 0)
    return { is: 'ends', title, ends: members.map((one) => ({ kind: 'pod', pod: one })) };
  const service = serviceNamed(cluster, namespace, name);
  if (service !== undefined) return { is: 'service', title: `${namespace}/svc/${name}`, service };
  throw notFound(cluster, text, title);
}

const serviceNamed = (cluster: Cluster, namespace: string, name: string): Service | undefined =>
  orElse(cluster.services, []).find((one) => one.namespace === namespace && one.name === name);

function byKind(cluster: Cluster, text: string, word: string, namespace: string, name: string): Named {
  const kind = kindOf(word) ?? word;
  const title = `${namespace}/${word}/${name}`;
  if (kind === 'Service') {
    const service = serviceNamed(cluster, namespace, name);
    if (service === undefined) throw notFound(cluster, text, `Service ${namespace}/${name}`);
    return { is: 'service', title: `${namespace}/svc/${name}`, service };
  }
  if (kind === 'Node') {
    const node = orElse(cluster.nodes, []).find((one) => one.name === name);
    if (node === undefined) throw notFound(cluster, text, `node ${name}`);
    return { is: 'ends', title: `node/${name}`, ends: [{ kind: 'node', node }] };
  }
  const pods = podsOf(cluster).filter((pod) => pod.namespace === namespace);
  const own =
    kind === 'Pod'
      ? pods.filter((pod) => pod.name === name)
      : pods.filter((pod) => {
          const root = ownerOf(cluster, pod);
          return [root, pod.owner].some((owner) => owner?.kind === kind && owner.name === name);
        });
  if (own.length === 0) throw notFound(cluster, text, `pod of ${kind} ${namespace}/${name}`);
  return {
    is: 'ends',
    title: kind === 'Pod' ? `${namespace}/${name}` : title,
    ends: own.map((pod) => ({ kind: 'pod', pod })),
  };
}

function notFound(cluster: Cluster, text: string, what: string): PodpathError {
  const names = new Set(
    podsOf(cluster).flatMap((pod) => [
      `${pod.namespace}/${pod.name}`,
      ...[ownerOf(cluster, pod)].flatMap((owner) =>
        owner === undefined ? [] : [`${pod.namespace}/${owner.name}`],
      ),
    ]),
  );
  for (const { namespace, name } of orElse(cluster.services, [])) names.add(`${namespace}/svc/${name}`);
  const close = nearestNames(text, names);
  return new PodpathError({
    code: 'endpoint/not-found',
    what: `there is no ${what.includes(' ') ? what : `pod, workload or Service ${what}`}`,
    where: text,
    why: names.size === 0 ? 'there are no pods at all' : `none of ${names.size} names fits`,
    todo:
      close.length === 0 ? 'podpath policy list shows what there is' : `did you mean ${close.join(' or ')}?`,
  });
}
