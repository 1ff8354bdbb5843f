/** Packet filters and connection tables of the nodes. */
import {
  both,
  hostGw,
  type Mutation,
  type Recorded,
  viaService,
  vxlan,
  webToApi,
} from './mutations-support.ts';

const node = (n: number) => `nodes/node${n}`;
const between = (at: Recorded, from: number, to: number) => ({
  src: at.id('web', from),
  dst: at.id('api', to),
  port: 8080,
});

/** Without the policy controller's chains, as where no enforcing agent runs. */
const withoutAgent = (at: Recorded, n: number) =>
  at.table(node(n), 'filter', (lines) => lines.filter((line) => !/KUBE-(ROUTER|POD-FW|NWPLCY)/.test(line)));
const policyOf = (at: Recorded, n: number, chain: string, policy: string) =>
  at.table(node(n), 'filter', (lines) =>
    lines.map((line) => (line.startsWith(`:${chain} `) ? `:${chain} ${policy} [0:0]` : line)),
  );

const foreign = (
  n: number,
  table: string,
  rule: (at: Recorded) => string,
  works?: Mutation['works'],
  flow = webToApi,
): Mutation => ({
  name: `node${n} ${table}: ${rule
    .toString()
    .replace(/^.*=> /, '')
    .slice(0, 90)}`,
  on: both,
  apply: (at) => at.rule(node(n), table, rule(at)),
  flow,
  causes: ['netfilter/foreign-rule'],
  ...(works === undefined ? {} : { works }),
});

export const filterFaults: readonly Mutation[] = [
  {
    name: 'FORWARD drops by policy, and no agent accepts',
    on: both,
    apply: (at) => {
      withoutAgent(at, 3);
      policyOf(at, 3, 'FORWARD', 'DROP');
    },
    flow: webToApi,
    causes: ['netfilter/forward-drop'],
  },
  {
    name: 'FORWARD drops by policy on the client’s node, asked by Service',
    on: both,
    apply: (at) => {
      withoutAgent(at, 1);
      policyOf(at, 1, 'FORWARD', 'DROP');
    },
    flow: viaService,
    causes: ['netfilter/forward-drop'],
    works: (at) => [between(at, 2, 3)],
  },
  {
    name: 'a first rule of FORWARD drops everything',
    on: both,
    apply: (at) => at.rule(node(3), 'filter', '-A FORWARD -j DROP'),
    flow: webToApi,
    causes: ['netfilter/forward-drop'],
  },
  {
    name: 'a first rule of FORWARD drops all pod addresses',
    on: both,
    apply: (at) => at.rule(node(3), 'filter', '-A FORWARD -s 10.244.0.0/16 -d 10.244.0.0/16 -j DROP'),
    flow: webToApi,
    causes: ['netfilter/forward-drop', 'netfilter/foreign-rule'],
  },
  foreign(3, 'filter', () => '-A FORWARD -p tcp -m tcp --dport 8080 -j DROP'),
  foreign(3, 'filter', () => '-A FORWARD -p tcp -m tcp --dport 8080 -j REJECT --reject-with tcp-reset'),
  foreign(1, 'filter', (at) => `-A FORWARD -d ${at.ip('api', 3)}/32 -j DROP`),
  foreign(1, 'filter', (at) => `-A FORWARD -s ${at.ip('web', 1)}/32 -d 10.244.3.0/24 -j DROP`),
  foreign(1, 'raw', (at) => `-A PREROUTING -s ${at.ip('web', 1)}/32 -d ${at.ip('api', 3)}/32 -j DROP`),
  foreign(3, 'mangle', () => '-A FORWARD -s 10.244.1.0/24 -p tcp -j DROP'),
  foreign(3, 'filter', (at) => `-A FORWARD -s ${at.ip('api', 3)}/32 -p tcp -m tcp --sport 8080 -j DROP`),
  foreign(1, 'mangle', () => '-A POSTROUTING -d 10.244.3.0/24 -p tcp -m tcp --dport 8080 -j DROP'),
  foreign(
    3,
    'filter',
    () => '-A FORWARD -p tcp -m tcp --dport 8080 -m conntrack --ctstate NEW -j DROP',
    undefined,
    viaService,
  ),
  {
    name: 'a rule on the node drops questions to the DNS servers',
    on: both,
    apply: (at) =>
      at.rule(node(at.nodeOf('kube-dns')), 'filter', '-A FORWARD -p udp -m udp --dport 53 -j DROP'),
    flow: (at) => ({ src: at.id('web', 3), dst: 'api.shop.svc.cluster.local', port: 80 }),
    causes: ['netfilter/foreign-rule'],
    works: (at) => [between(at, 3, 1)],
  },
  {
    name: 'ufw is on and routes nothing',
    on: both,
    apply: (at) => {
      withoutAgent(at, 3);
      at.table(node(3), 'filter', (lines) => {
        const chains = [
          ':ufw-before-forward - [0:0]',
          ':ufw-user-forward - [0:0]',
          ':ufw-after-forward - [0:0]',
          ':ufw-reject-forward - [0:0]',
        ];
        const rules = [
          '-A FORWARD -j ufw-before-forward',
          '-A FORWARD -j ufw-after-forward',
          '-A FORWARD -j ufw-reject-forward',
          '-A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
          '-A ufw-before-forward -p icmp -m icmp --icmp-type 8 -j ACCEPT',
          '-A ufw-before-forward -j ufw-user-forward',
          '-A ufw-reject-forward -j REJECT --reject-with icmp-port-unreachable',
        ].map((rule) => `[3:180] ${rule}`);
        return [
          lines[0] ?? '',
          ...lines.slice(1, -1).filter((l) => l.startsWith(':')),
          ...chains,
          ...rules,
          ...lines.slice(1).filter((l) => !l.startsWith(':')),
        ];
      });
      policyOf(at, 3, 'FORWARD', 'DROP');
    },
    flow: webToApi,
    meets: 'refused',
    causes: ['firewall/node-rule'],
  },
  {
    name: 'firewalld’s zones refuse what is forwarded',
    on: both,
    apply: (at) => {
      withoutAgent(at, 3);
      at.table(node(3), 'filter', (lines) => {
        const chains = [
          ':FWD_public - [0:0]',
          ':FORWARD_direct - [0:0]',
          ':FORWARD_ZONES - [0:0]',
          ':FWDI_public - [0:0]',
        ];
        const rules = [
          '-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT',
          '-A FORWARD -i lo -j ACCEPT',
          '-A FORWARD -j FORWARD_direct',
          '-A FORWARD -j FORWARD_ZONES',
          '-A FORWARD -j REJECT --reject-with icmp-host-prohibited',
          '-A FORWARD_ZONES -g FWDI_public',
          '-A FWDI_public -p icmp -j ACCEPT',
        ].map((rule) => `[3:180] ${rule}`);
        return [
          lines[0] ?? '',
          ...lines.slice(1, -1).filter((l) => l.startsWith(':')),
          ...chains,
          ...rules,
          ...lines.slice(1).filter((l) => !l.startsWith(':')),
        ];
      });
    },
    flow: webToApi,
    meets: 'refused',
    causes: ['firewall/node-rule'],
  },
  {
    name: 'both backends hold rules, and the legacy one drops',
    on: both,
    apply: (at) =>
      at.files.set(
        `${node(3)}/iptables-legacy-save.txt`,
        '*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [9:540]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n',
      ),
    flow: webToApi,
    causes: ['netfilter/mixed-backends', 'netfilter/forward-drop'],
  },
  {
    name: 'both backends hold rules, and a legacy rule drops',
    on: both,
    apply: (at) =>
      at.files.set(
        `${node(3)}/iptables-legacy-save.txt`,
        '*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [9:540]\n:OUTPUT ACCEPT [0:0]\n[4:240] -A FORWARD -d 10.244.3.0/24 -p tcp -m tcp --dport 8080 -j DROP\nCOMMIT\n',
      ),
    flow: webToApi,
    causes: ['netfilter/mixed-backends', 'netfilter/foreign-rule'],
  },
  {
    name: 'bridged packets skip the rules: a Service with its server on the same node',
    on: both,
    apply: (at) => {
      at.sysctl(node(1), 'net.bridge.bridge-nf-call-iptables', '0');
    },
    flow: viaService,
    causes: ['netfilter/bridge-nf-off'],
    works: (at) => [between(at, 1, 3)],
  },
  {
    name: 'br_netfilter is not loaded',
    on: both,
    apply: (at) =>
      at.text(`${node(1)}/sysctl.txt`, (text) =>
        text
          .split('\n')
          .filter((line) => !line.startsWith('net.bridge.'))
          .join('\n'),
      ),
    flow: viaService,
    causes: ['netfilter/bridge-nf-off'],
    works: (at) => [between(at, 1, 3)],
  },
  {
    name: 'the connection table is full',
    on: both,
    apply: (at) => {
      at.sysctl(node(3), 'net.netfilter.nf_conntrack_max', '4096');
      at.sysctl(node(3), 'net.netfilter.nf_conntrack_count', '4096');
    },
    flow: webToApi,
    causes: ['conntrack/table-full'],
    onlyProbed: true,
  },
  {
    name: 'a connection entry still leads UDP to a server that is gone',
    on: both,
    apply: (at) =>
      at.text(
        `${node(1)}/conntrack.txt`,
        (text) =>
          `udp      17 29 src=${at.ip('web', 1)} dst=10.96.0.10 sport=40000 dport=53 [UNREPLIED] src=10.244.1.99 dst=${at.ip('web', 1)} sport=53 dport=40000 mark=0 use=1\n${text}`,
      ),
    flow: (at) => ({ src: at.id('web', 1), dst: 'kube-system/svc/kube-dns', port: 53, protocol: 'udp' }),
    causes: ['conntrack/stale-entry'],
    onlyProbed: true,
  },
  {
    name: 'a route is missing and a rule of the far node drops: two faults',
    on: both,
    apply: (at) => {
      at.routes(node(3), (routes) => routes.filter((route) => route.dst !== '10.244.1.0/24'));
      at.rule(node(3), 'filter', '-A FORWARD -p tcp -m tcp --dport 8080 -j DROP');
    },
    flow: webToApi,
    causes: ['route/missing', 'netfilter/foreign-rule'],
    alsoListed: ['route/missing', 'netfilter/foreign-rule'],
  },
  {
    name: 'the tunnel’s port is blocked and the server listens on the loopback: two faults',
    on: vxlan,
    apply: (at) => {
      at.rule(node(3), 'filter', '-A INPUT -p udp -m udp --dport 8472 -j DROP');
      at.text(`${at.folder('api', 3)}/ss.txt`, (text) => text.replaceAll('*:8080', '127.0.0.1:8080'));
    },
    flow: webToApi,
    causes: ['overlay/port-blocked', 'app/loopback-only'],
    alsoListed: ['overlay/port-blocked', 'app/loopback-only'],
  },
  {
    name: 'masquerading hides the client from the policy',
    on: hostGw,
    apply: (at) => at.rule(node(1), 'nat', '-A POSTROUTING -s 10.244.1.0/24 -o eth0 -j MASQUERADE'),
    flow: (at) => ({ src: at.id('web', 1), dst: at.id('ledger', 3), port: 9000 }),
    meets: 'refused',
    causes: ['policy/snat-hides-source'],
    quiet: true,
    works: (at) => [between(at, 1, 3)],
  },
];
