/** A recorded healthy cluster whose files can be changed as a fault would change them. */
import { readSnapshotFiles } from '../../src/collect/open.ts';
import type { FlowProtocol } from '../../src/model/flow.ts';

export type Recording = 'healthy-vxlan' | 'healthy-hostgw-iptables';

export interface AskedFlow {
  readonly src: string;
  /** A pod, `shop/svc/api`, an address or a host name. */
  readonly dst: string;
  readonly port: number;
  readonly protocol?: FlowProtocol;
}

export interface Mutation {
  readonly name: string;
  readonly on: readonly Recording[];
  readonly apply: (at: Recorded) => void;
  readonly flow: (at: Recorded) => AskedFlow;
  /** What the flow meets: `timeout` and `refused` for the first packet, `stalls` for large transfers only. */
  readonly meets?: 'timeout' | 'refused' | 'stalls' | 'works';
  /** Ids that may be named first. */
  readonly causes: readonly string[];
  /** Ids that must be listed, wherever. */
  readonly alsoListed?: readonly string[];
  /** Ids that a scan may name beside `causes`, each a true consequence. */
  readonly scanToo?: readonly string[];
  /** True where no state shows it: `scan` may find nothing. */
  readonly quiet?: boolean;
  /** True where recorded state alone cannot tell, so only the probes do. */
  readonly onlyProbed?: boolean;
  /** Flows that still work. Default: a flow between the two other nodes. */
  readonly works?: (at: Recorded) => readonly AskedFlow[];
}

export interface Labelled {
  metadata: {
    name: string;
    namespace?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
  };
}
export interface PodObject extends Labelled {
  spec: {
    nodeName: string;
    dnsPolicy?: string;
    dnsConfig?: unknown;
    containers: { name: string; ports?: { name?: string; containerPort: number; protocol: string }[] }[];
  };
  status: {
    phase: string;
    podIP?: string;
    podIPs?: { ip: string }[];
    conditions?: { type: string; status: string }[];
    containerStatuses?: { ready: boolean; restartCount: number; state: unknown }[];
  };
}
export interface NodeObject extends Labelled {
  spec: { podCIDR?: string; podCIDRs?: string[]; taints?: unknown[] };
  status: { conditions: { type: string; status: string; reason?: string; message?: string }[] };
}
export interface ServiceObject extends Labelled {
  spec: {
    selector?: Record<string, string>;
    internalTrafficPolicy?: string;
    ports: { name?: string; port: number; protocol: string; targetPort: number | string }[];
  };
}
export interface SliceObject extends Labelled {
  endpoints: { addresses: string[]; conditions: { ready: boolean; serving: boolean }; nodeName?: string }[];
  ports: { name?: string; port: number; protocol: string }[];
}
export interface PolicyObject extends Labelled {
  spec: Record<string, unknown>;
}
export interface RouteEntry {
  type?: string;
  dst: string;
  gateway?: string;
  dev?: string;
  table?: string;
  protocol?: string;
  scope?: string;
  metric?: number;
  flags?: string[];
}
export interface NeighbourEntry {
  dst: string;
  dev: string;
  lladdr?: string;
  state: string[];
}
export interface FdbLine {
  mac: string;
  ifname: string;
  dst?: string;
  flags: string[];
  state: string;
}
export interface LinkEntry {
  ifindex: number;
  ifname: string;
  flags: string[];
  mtu: number;
  address: string;
  operstate: string;
  master?: string;
  linkinfo?: {
    info_kind: string;
    info_data?: Record<string, unknown>;
    info_slave_data?: Record<string, unknown>;
  };
  addr_info?: { family: string; local: string; prefixlen: number }[];
}
interface Lists {
  pods: PodObject;
  nodes: NodeObject;
  services: ServiceObject;
  namespaces: Labelled;
  'endpointslices.discovery.k8s.io': SliceObject;
  'networkpolicies.networking.k8s.io': PolicyObject;
}

/** One copy of a recording's files, and the edits that faults make in it. */
export class Recorded {
  readonly files: Map<string, string>;

  constructor(files: ReadonlyMap<string, string>) {
    this.files = new Map(files);
  }

  text(path: string, change: (text: string) => string): void {
    this.files.set(path, change(this.files.get(path) ?? ''));
  }

  read<T>(path: string): T {
    return JSON.parse(this.files.get(path) ?? 'null') as T;
  }

  json<T>(path: string, change: (value: T) => T | undefined): void {
    const value = this.read<T>(path);
    this.files.set(path, JSON.stringify(change(value) ?? value));
  }

  list<K extends keyof Lists>(kind: K): Lists[K][] {
    return this.read<{ items: Lists[K][] }>(`cluster/${kind}.json`).items;
  }

  /** Changes the objects of a kind; those for which `change` says `false` are deleted. */
  objects<K extends keyof Lists>(kind: K, change: (object: Lists[K]) => unknown): void {
    this.json<{ items: Lists[K][] }>(`cluster/${kind}.json`, (list) => ({
      ...list,
      items: list.items.filter((item) => change(item) !== false),
    }));
  }

  add<K extends keyof Lists>(kind: K, object: Lists[K]): void {
    this.json<{ items: Lists[K][] }>(`cluster/${kind}.json`, (list) => ({
      ...list,
      items: [...list.items, object],
    }));
  }

  one<K extends keyof Lists>(kind: K, id: string, change: (object: Lists[K]) => unknown): void {
    this.objects(kind, (object) => (idOf(object) === id ? change(object) : undefined));
  }

  /** The pod of an application on a node, as an object. */
  pod(app: string, node: number): PodObject {
    const label = (pod: PodObject) => pod.metadata.labels?.app ?? pod.metadata.labels?.['k8s-app'];
    const found = this.list('pods').find((pod) => label(pod) === app && pod.spec.nodeName === `node${node}`);
    if (found === undefined) throw new Error(`the recording has no ${app} on node${node}`);
    return found;
  }

  id(app: string, node: number): string {
    return idOf(this.pod(app, node));
  }

  ip(app: string, node: number): string {
    return this.pod(app, node).status.podIP ?? '';
  }

  nodeOf(app: string): number {
    const found = [1, 2, 3].find((node) =>
      this.list('pods').some(
        (pod) =>
          (pod.metadata.labels?.app ?? pod.metadata.labels?.['k8s-app']) === app &&
          pod.spec.nodeName === `node${node}`,
      ),
    );
    if (found === undefined) throw new Error(`the recording has no ${app}`);
    return found;
  }

  /** Folder of a pod's files. */
  folder(app: string, node: number): string {
    return `nodes/node${node}/pods/${this.id(app, node).replace('/', '_')}`;
  }

  /** One change to both listings of devices (`ip link`, `ip addr`); `false` removes the device. */
  links(folder: string, change: (link: LinkEntry) => unknown): void {
    for (const file of ['ip-link.json', 'ip-addr.json'])
      this.json<LinkEntry[]>(`${folder}/${file}`, (links) => links.filter((link) => change(link) !== false));
  }

  link(folder: string, name: string): LinkEntry {
    const found = this.read<LinkEntry[]>(`${folder}/ip-addr.json`).find((link) => link.ifname === name);
    if (found === undefined) throw new Error(`${folder} has no ${name}`);
    return found;
  }

  routes(folder: string, change: (routes: RouteEntry[]) => RouteEntry[]): void {
    this.json(`${folder}/ip-route.json`, change);
  }

  /** A rule in front of a chain, in iptables-save's own words. */
  rule(folder: string, table: string, rule: string): void {
    const chain = rule.split(' ')[1] ?? '';
    this.text(`${folder}/iptables-save.txt`, (text) =>
      changeTable(text, table, (lines) => {
        const first = lines.findIndex(
          (line) => line.includes(` -A ${chain} `) || line.startsWith(`-A ${chain} `),
        );
        const at = first < 0 ? lines.indexOf('COMMIT') : first;
        return [...lines.slice(0, at), `[7:420] ${rule}`, ...lines.slice(at)];
      }),
    );
  }

  /** Changes the lines of one table of `iptables-save`. */
  table(folder: string, table: string, change: (lines: string[]) => string[]): void {
    this.text(`${folder}/iptables-save.txt`, (text) => changeTable(text, table, change));
  }

  sysctl(folder: string, key: string, value: string): void {
    this.text(`${folder}/sysctl.txt`, (text) => {
      const lines = text.split('\n').filter((line) => !line.startsWith(`${key} = `));
      return [`${key} = ${value}`, ...lines].join('\n');
    });
  }
}

const idOf = ({ metadata }: Labelled): string =>
  metadata.namespace === undefined ? metadata.name : `${metadata.namespace}/${metadata.name}`;

/** A table that nobody used yet is made, as iptables makes it with its first rule. */
function changeTable(text: string, table: string, change: (lines: string[]) => string[]): string {
  const lines = text.split('\n');
  if (!lines.includes(`*${table}`))
    lines.push(`*${table}`, ...(builtIn[table] ?? []).map((chain) => `:${chain} ACCEPT [0:0]`), 'COMMIT', '');
  const start = lines.indexOf(`*${table}`);
  const end = lines.indexOf('COMMIT', start);
  return [...lines.slice(0, start), ...change(lines.slice(start, end + 1)), ...lines.slice(end + 1)].join(
    '\n',
  );
}

const builtIn: Readonly<Record<string, readonly string[]>> = {
  raw: ['PREROUTING', 'OUTPUT'],
  security: ['INPUT', 'FORWARD', 'OUTPUT'],
};

const cache = new Map<string, Promise<ReadonlyMap<string, string>>>();

export async function openRecording(folder: string, name: Recording): Promise<Recorded> {
  const path = `${folder}/${name}.tar.gz`;
  const files = cache.get(path) ?? readSnapshotFiles(path).then((read) => read.files);
  cache.set(path, files);
  return new Recorded(await files);
}

export const both: readonly Recording[] = ['healthy-vxlan', 'healthy-hostgw-iptables'];
export const vxlan: readonly Recording[] = ['healthy-vxlan'];
export const hostGw: readonly Recording[] = ['healthy-hostgw-iptables'];

/** web on node1 -> api on node3, the flow that most faults are tried on. */
export const webToApi = (at: Recorded): AskedFlow => ({
  src: at.id('web', 1),
  dst: at.id('api', 3),
  port: 8080,
});
export const viaService = (at: Recorded): AskedFlow => ({
  src: at.id('web', 1),
  dst: 'shop/svc/api',
  port: 80,
});
