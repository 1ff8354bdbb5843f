/** Decides what a lab consists of before anything is made: addresses, names, which pod runs where. Pure. */
import { createHash } from 'node:crypto';
import { PodpathError } from '../model/errors.ts';
import { formatAddress } from '../net/address.ts';
import {
  contains,
  formatPrefix,
  makePrefix,
  nthAddress,
  overlaps,
  type Prefix,
  parsePrefix,
} from '../net/prefix.ts';
import type { LabCni, LabNode, LabPod, LabState } from './state.ts';

export const labCnis: readonly LabCni[] = ['flannel-vxlan', 'flannel-host-gw', 'calico-vxlan', 'calico-bgp'];

export interface PlanOptions {
  readonly name: string;
  /** Default 3; 1 to 200. */
  readonly nodes?: number;
  /** Pods in all. Default and least: the default applications, 2 a node and 6. More become Deployments load-1, load-2 ... */
  readonly pods?: number;
  /** Default flannel-vxlan. */
  readonly cni?: LabCni;
  readonly dualStack?: boolean;
  /** Default 1500. */
  readonly underlayMtuBytes?: number;
  /** IPv4 prefixes; each node takes a /24 of the pod prefix. Defaults 10.244.0.0/16, 10.96.0.0/16, 10.99.0.0/24. */
  readonly podCidr?: string;
  readonly serviceCidr?: string;
  readonly nodeCidr?: string;
}

/** What runs in a pod; objects.ts makes the Kubernetes objects of it, servers.json the sockets. */
export interface PlannedApp {
  readonly namespace: string;
  readonly name: string;
  readonly controller: 'DaemonSet' | 'Deployment';
  readonly labels: Readonly<Record<string, string>>;
  readonly ports: readonly {
    readonly name: string;
    readonly port: number;
    readonly protocol: 'TCP' | 'UDP';
    readonly kind: 'http' | 'echo' | 'dns';
  }[];
  /** The node index (from 0) of each replica. */
  readonly replicaNodes: readonly number[];
}

export interface Plan {
  readonly state: LabState;
  readonly apps: readonly PlannedApp[];
}

const serviceCidr6 = 'fd00:10:96::/112';
const podCidr6 = 'fd00:10:244::/48';
const nodeCidr6 = 'fd00:99::/64';
/** Pods a node: what a /24 holds without its first two and last address, as kubelet's own limit leaves room. */
const maxPodsPerNode = 250;
const loadReplicas = 10;

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

/** Throws PodpathError for options that cannot be met. */
export function planLab(options: PlanOptions, createdAt: string): Plan {
  const count = options.nodes ?? 3;
  const cni = options.cni ?? 'flannel-vxlan';
  const dual = options.dualStack ?? false;
  const underlayMtuBytes = options.underlayMtuBytes ?? 1500;
  require(Number.isInteger(count) && count >= 1 && count <= 200, '--nodes', 'it must be 1 to 200');
  require(labCnis.includes(cni), '--cni', `it must be one of ${labCnis.join(', ')}`);
  // 1280 is IPv6's least MTU; a tunnel takes up to 70 bytes of the underlay's.
  require(Number.isInteger(underlayMtuBytes) &&
    underlayMtuBytes >= 1350 &&
    underlayMtuBytes <= 9000, '--underlay-mtu', 'it must be 1350 to 9000 bytes');
  const cidrs = readCidrs(options, count);
  const apps = planApps(count, options.pods);
  const nodes = range(count).map((i): LabNode => {
    const name = `node${i + 1}`;
    const block = makePrefix(nthAddress(cidrs.pod, (i + 1) * 256), 24);
    return {
      name,
      netns: `pp-${options.name}-${name}`,
      addresses: [
        formatAddress(nthAddress(cidrs.node, 11 + i)),
        ...(dual ? [formatAddress(nthAddress(cidrs.node6, 0x11 + i))] : []),
      ],
      podCidrs: [
        formatPrefix(block),
        ...(dual ? [formatPrefix(makePrefix(nthAddress(cidrs.pod6, BigInt(i + 1) << 64n), 64))] : []),
      ],
    };
  });
  const state: LabState = {
    schema: 1,
    name: options.name,
    cni,
    families: dual ? [4, 6] : [4],
    createdAt,
    fabricNetns: `pp-${options.name}-fabric`,
    underlayMtuBytes,
    podCidrs: [formatPrefix(cidrs.pod), ...(dual ? [podCidr6] : [])],
    nodeCidrs: [formatPrefix(cidrs.node), ...(dual ? [nodeCidr6] : [])],
    serviceCidrs: [formatPrefix(cidrs.service), ...(dual ? [serviceCidr6] : [])],
    nodes,
    pods: planPods(options.name, cni, nodes, apps),
    faults: [],
  };
  return { state, apps };
}

function require(holds: boolean, option: string, why: string): void {
  if (holds) return;
  throw new PodpathError({
    code: 'lab/bad-option',
    what: `${option} cannot be used`,
    why,
    todo: 'see: podpath lab up --help',
  });
}

interface Cidrs {
  readonly pod: Prefix;
  readonly service: Prefix;
  readonly node: Prefix;
  readonly pod6: Prefix;
  readonly node6: Prefix;
}

function readCidrs(options: PlanOptions, nodes: number): Cidrs {
  const read = (option: string, text: string, longest: number, why: string): Prefix => {
    const parsed = parsePrefix(text);
    if (parsed === undefined || parsed.family !== 4 || parsed.length > longest || parsed.length < 8) {
      require(false, `${option} ${text}`, why);
      throw new RangeError(text);
    }
    return parsed;
  };
  const pod = read(
    '--pod-cidr',
    options.podCidr ?? '10.244.0.0/16',
    22,
    'it must be an IPv4 prefix of /8 to /22',
  );
  const service = read(
    '--service-cidr',
    options.serviceCidr ?? '10.96.0.0/16',
    24,
    'it must be an IPv4 prefix of /8 to /24',
  );
  const node = read(
    '--node-cidr',
    options.nodeCidr ?? '10.99.0.0/24',
    26,
    'it must be an IPv4 prefix of /8 to /26',
  );
  require(contains(
    pod,
    nthAddress(pod, nodes * 256),
  ), '--pod-cidr', `it has no /24 for each of ${nodes} nodes`);
  require(contains(node, nthAddress(node, nodes + 12)), '--node-cidr', `it has no room for ${nodes} nodes`);
  require(!overlaps(pod, service) &&
    !overlaps(pod, node) &&
    !overlaps(
      service,
      node,
    ), '--pod-cidr, --service-cidr, --node-cidr', 'they overlap, so pods, Services and nodes could not be told apart');
  const [pod6, node6] = [parsePrefix(podCidr6), parsePrefix(nodeCidr6)];
  if (pod6 === undefined || node6 === undefined) throw new RangeError('IPv6 defaults');
  return { pod, service, node, pod6, node6 };
}

/** The default applications: 12 pods on 3 nodes, four a node. */
function planApps(nodes: number, pods: number | undefined): PlannedApp[] {
  const every = range(nodes);
  const at = (...indexes: number[]) => indexes.map((index) => index % nodes);
  const web: PlannedApp = {
    namespace: 'shop',
    name: 'web',
    controller: 'DaemonSet',
    labels: { app: 'web' },
    ports: [{ name: 'http', port: 8080, protocol: 'TCP', kind: 'http' }],
    replicaNodes: every,
  };
  const api: PlannedApp = {
    namespace: 'shop',
    name: 'api',
    controller: 'DaemonSet',
    labels: { app: 'api' },
    ports: [
      { name: 'http', port: 8080, protocol: 'TCP', kind: 'http' },
      { name: 'ping', port: 8081, protocol: 'UDP', kind: 'echo' },
    ],
    replicaNodes: every,
  };
  const db: PlannedApp = {
    namespace: 'shop',
    name: 'db',
    controller: 'Deployment',
    labels: { app: 'db' },
    ports: [{ name: 'postgres', port: 5432, protocol: 'TCP', kind: 'echo' }],
    replicaNodes: at(1),
  };
  const ledger: PlannedApp = {
    namespace: 'payments',
    name: 'ledger',
    controller: 'Deployment',
    labels: { app: 'ledger' },
    ports: [{ name: 'ledger', port: 9000, protocol: 'TCP', kind: 'echo' }],
    replicaNodes: at(0, 2),
  };
  const toolbox: PlannedApp = {
    namespace: 'ops',
    name: 'toolbox',
    controller: 'Deployment',
    labels: { app: 'toolbox' },
    ports: [],
    replicaNodes: at(2),
  };
  const coredns: PlannedApp = {
    namespace: 'kube-system',
    name: 'coredns',
    controller: 'Deployment',
    labels: { 'k8s-app': 'kube-dns' },
    ports: [
      { name: 'dns', port: 53, protocol: 'UDP', kind: 'dns' },
      { name: 'dns-tcp', port: 53, protocol: 'TCP', kind: 'dns' },
    ],
    replicaNodes: at(0, 1),
  };
  const apps = [web, api, db, ledger, toolbox, coredns];
  return [...apps, ...planLoad(nodes, pods, apps)];
}

function planLoad(nodes: number, pods: number | undefined, apps: readonly PlannedApp[]): PlannedApp[] {
  const base = apps.reduce((sum, app) => sum + app.replicaNodes.length, 0);
  const total = pods ?? base;
  require(Number.isInteger(total) &&
    total >= base, '--pods', `it must be at least ${base}: the default applications on ${nodes} nodes`);
  require(total <=
    nodes *
      (maxPodsPerNode -
        10), '--pods', `it must be at most ${nodes * (maxPodsPerNode - 10)} on ${nodes} nodes`);
  return range(Math.ceil((total - base) / loadReplicas)).map((index) => ({
    namespace: 'load',
    name: `load-${index + 1}`,
    controller: 'Deployment',
    labels: { app: 'load', load: `load-${index + 1}` },
    ports: [{ name: 'http', port: 8080, protocol: 'TCP', kind: 'http' }],
    replicaNodes: range(Math.min(loadReplicas, total - base - index * loadReplicas)).map(
      (replica) => (index * loadReplicas + replica) % nodes,
    ),
  }));
}

function planPods(
  lab: string,
  cni: LabCni,
  nodes: readonly LabNode[],
  apps: readonly PlannedApp[],
): LabPod[] {
  const used = nodes.map(() => 0);
  const pods: LabPod[] = [];
  for (const app of apps) {
    app.replicaNodes.forEach((nodeIndex, replica) => {
      const node = nodes[nodeIndex];
      if (node === undefined) throw new RangeError(`no node ${nodeIndex}`);
      const name = `${app.name}-${replica + 1}`;
      // .0 is the tunnel device's address and .1 the bridge's.
      const offset = 2 + (used[nodeIndex] ?? 0);
      used[nodeIndex] = offset - 1;
      pods.push({
        namespace: app.namespace,
        name,
        node: node.name,
        netns: `pp-${lab}-${app.namespace}_${name}`,
        addresses: node.podCidrs.map((cidr) => hostOf(cidr, offset)),
        hostDevice: hostDeviceName(cni, app.namespace, name),
      });
    });
  }
  return pods;
}

/** The n-th address of a CIDR, as text. */
export function hostOf(cidr: string, n: number): string {
  const parsed = parsePrefix(cidr);
  if (parsed === undefined) throw new RangeError(cidr);
  return formatAddress(nthAddress(parsed, n));
}

/** Calico names the device after the pod (cali + sha1(namespace.pod)); the bridge plugin draws a random name: here a hash. */
function hostDeviceName(cni: LabCni, namespace: string, pod: string): string {
  const hash = createHash('sha1').update(`${namespace}.${pod}`).digest('hex');
  return cni.startsWith('calico') ? `cali${hash.slice(0, 11)}` : `veth${hash.slice(0, 8)}`;
}
