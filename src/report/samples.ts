/** Hand-made results for the report tests: one of each kind of answer. */
import type { Diagnosis } from '../model/diagnosis.ts';
import type { ProbeResult } from '../model/evidence.ts';
import type { Flow } from '../model/flow.ts';
import type { Scan } from '../model/scan.ts';
import type { Branch, Hop, Step, Verdict } from '../model/verdict.ts';
import { address } from '../net/address.ts';
import type { Packet } from '../net/packet.ts';

export const web1 = {
  kind: 'pod',
  namespace: 'shop',
  name: 'web-1',
  address: address('10.244.1.5'),
} as const;
const api2 = {
  kind: 'pod',
  namespace: 'shop',
  name: 'api-2',
  address: address('10.244.2.6'),
} as const;
export const apiService = {
  kind: 'service',
  namespace: 'shop',
  name: 'api',
  address: address('10.96.1.2'),
} as const;

export const flow: Flow = { src: web1, dst: api2, protocol: 'tcp', dstPort: 8080 };

const packet: Packet = {
  src: web1.address,
  dst: api2.address,
  protocol: 'tcp',
  srcPort: 40_000,
  dstPort: 8080,
  lengthBytes: 60,
  df: true,
  ttl: 64,
  mark: 0,
};
const tunnelPacket: Packet = {
  ...packet,
  src: address('10.99.0.11'),
  dst: address('10.99.0.12'),
  protocol: 'udp',
  srcPort: 51_234,
  dstPort: 8472,
  lengthBytes: 110,
  df: false,
  inner: { kind: 'vxlan', packet, vni: 1, dstMac: '06:00:00:00:00:02' },
};

const step = (kind: Step['kind'], text: string, rest: Partial<Step> = {}): Step => ({
  kind,
  action: 'pass',
  text,
  ...rest,
});

const dropRule: Step = step('filter', 'dropped by iptables filter INPUT: -p udp --dport 8472 -j DROP', {
  action: 'lost',
  reason: 'rule-drop',
  facts: { hook: 'input', table: 'filter', chain: 'INPUT' },
  sources: [
    {
      kind: 'file',
      file: 'nodes/node2/iptables-save.txt',
      line: 12,
      text: '-A INPUT -p udp -m udp --dport 8472 -j DROP',
    },
  ],
});

const webHop: Hop = {
  netns: 'node1/shop_web-1',
  node: 'node1',
  pod: 'shop/web-1',
  outDevice: 'eth0',
  packet,
  steps: [
    step('send', 'send tcp 10.244.1.5:40000 -> 10.244.2.6:8080'),
    step('route', 'route default via 10.244.1.1 dev eth0'),
    step('neighbour', '10.244.1.1 is at 0a:58:0a:f4:01:01 (REACHABLE)'),
  ],
};
const node1Hop: Hop = {
  netns: 'node1',
  node: 'node1',
  inDevice: 'cni0',
  outDevice: 'flannel.1',
  packet: tunnelPacket,
  steps: [
    step('route', 'route 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink'),
    step('filter', 'FORWARD: accepted'),
    step('encap', 'VXLAN 1 to 10.99.0.12:8472'),
  ],
};
const node2Lost: Hop = {
  netns: 'node2',
  node: 'node2',
  inDevice: 'eth0',
  packet: tunnelPacket,
  steps: [step('receive', 'taken up from eth0'), dropRule],
};
const node2Hop: Hop = {
  netns: 'node2',
  node: 'node2',
  inDevice: 'eth0',
  outDevice: 'cni0',
  packet,
  steps: [step('decap', 'VXLAN 1 opened by flannel.1'), step('route', 'route 10.244.2.0/24 dev cni0')],
};
const apiHop: Hop = {
  netns: 'node2/shop_api-2',
  node: 'node2',
  pod: 'shop/api-2',
  inDevice: 'eth0',
  packet,
  steps: [step('deliver', 'node listens on 0.0.0.0:8080')],
};
const turned = (hop: Hop): Hop => {
  const { inDevice, outDevice, ...rest } = hop;
  const packetBack = { ...hop.packet, src: hop.packet.dst, dst: hop.packet.src };
  return {
    ...rest,
    packet: packetBack,
    ...(outDevice === undefined ? {} : { inDevice: outDevice }),
    ...(inDevice === undefined ? {} : { outDevice: inDevice }),
  };
};

const branch = (rest: Partial<Branch> = {}): Branch => ({
  backend: 'shop/api-2 10.244.2.6:8080',
  share: 1,
  size: 'small',
  answer: 'reachable',
  disposition: 'delivered',
  trace: {
    forward: [webHop, node1Hop, node2Hop, apiHop],
    back: [apiHop, node2Hop, node1Hop, webHop].map(turned),
  },
  remarks: [],
  ...rest,
});

const lost = branch({
  answer: 'unreachable',
  disposition: 'filtered',
  trace: { forward: [webHop, node1Hop, node2Lost], back: [] },
  broken: { direction: 'forward', hop: node2Lost, step: dropRule },
});

function verdictOf(asked: Flow, branches: readonly Branch[]): Verdict {
  const shown = branches.find((one) => one.answer !== 'reachable') ?? branches[0];
  return {
    flow: asked,
    answer: shown?.answer ?? 'unknown',
    disposition: shown?.disposition ?? 'insufficient-info',
    trace: shown?.trace ?? { forward: [], back: [] },
    branches,
    evidence: [],
    gaps: [],
  };
}

const probe = (rest: Partial<ProbeResult>): ProbeResult => ({
  src: 'shop/web-1',
  dst: '10.244.2.6',
  kind: 'tcp',
  port: 8080,
  sizeBytes: 0,
  outcome: 'timeout',
  ms: 900,
  command: "timeout 0.9 bash -c '</dev/tcp/10.244.2.6/8080'",
  output: 'no answer to the SYN in 900 ms',
  ...rest,
});

const nodePing = probe({
  src: 'node1',
  dst: '10.99.0.12',
  kind: 'icmp',
  port: 0,
  outcome: 'ok',
  ms: 1,
  command: 'ping -n -c1 -W 0.9 10.99.0.12',
  output: '64 bytes from 10.99.0.12: icmp_seq=1 ttl=64 time=0.08 ms',
});

export const gap = {
  what: 'iptables rules of node2',
  where: 'nodes/node2/iptables-save.txt',
  why: 'the file is not in the snapshot',
  todo: 'run on node2: iptables-save -c > iptables-save.txt',
};

export const blocked: Diagnosis = {
  verdict: verdictOf(flow, [lost]),
  causes: [
    {
      id: 'overlay/port-blocked',
      title: "node2's firewall drops VXLAN packets (UDP 8472)",
      score: 0.97,
      subject: { kind: 'node', name: 'node2' },
      evidence: [
        { how: 'simulated', statement: 'node2 drops the tunnel packet in INPUT', ...sourced(dropRule) },
        {
          how: 'probed',
          statement: 'the TCP handshake from shop/web-1 to 10.244.2.6:8080 got no answer in 900 ms',
          source: {
            kind: 'command',
            command: "timeout 0.9 bash -c '</dev/tcp/10.244.2.6/8080'",
            output: 'no answer to the SYN in 900 ms',
          },
        },
      ],
      contradictedBy: [],
      repair: ['ip netns exec pp-demo-node2 iptables -D INPUT -p udp --dport 8472 -j DROP'],
    },
    {
      id: 'overlay/fdb-missing',
      title: 'the forwarding entry of node1 for node2 is stale',
      score: 0.2,
      subject: { kind: 'device', name: 'node1/flannel.1' },
      evidence: [],
      contradictedBy: ['the entry names 10.99.0.12, which is node2'],
      repair: [],
      nextProbe: 'podpath probe node/node1 node/node2',
    },
  ],
  gaps: [],
  probes: [
    probe({}),
    probe({ kind: 'icmp', port: 0, command: 'ping -n -c1 -W 0.9 10.244.2.6' }),
    nodePing,
    probe({ dst: '10.96.1.2', port: 80 }),
    probe({ dst: '10.96.1.2', port: 80, outcome: 'ok', ms: 2 }),
  ],
  durationMs: 1234.5,
};

function sourced(from: Step) {
  const source = from.sources?.[0];
  return source === undefined ? {} : { source };
}

export const healthy: Diagnosis = {
  verdict: verdictOf(flow, [branch(), branch({ size: 'full' })]),
  causes: [],
  gaps: [gap],
  probes: [nodePing, probe({ outcome: 'ok', ms: 1 })],
  durationMs: 900,
};

const unseen = step('filter', 'the rules of node2 were not recorded', {
  action: 'unknown',
  reason: 'unknown-state',
  facts: { what: 'iptables rules of node2' },
});
const nodeRules = 'nodes/node2/iptables-save.txt';
/** A policy agent's reject with all that explains it. */
const explainedDrop: Step = step('filter', 'rejected by filter KUBE-POD-FW-API: ... -j REJECT', {
  action: 'lost',
  reason: 'rule-reject',
  facts: { chains: 'FORWARD > KUBE-ROUTER-FORWARD > KUBE-POD-FW-API', packets: '1532' },
  sources: [
    { kind: 'file', file: nodeRules, line: 80, text: '[1532:91920] -A KUBE-POD-FW-API ... -j REJECT' },
  ],
  kernel: {
    dropReason: 'NETFILTER_DROP',
    symptom: 'ICMP 3/3',
    counter: 'IcmpOutDestUnreachs',
    counted: 1604,
  },
  nearest: [
    {
      table: 'filter',
      chains: ['FORWARD', 'KUBE-ROUTER-FORWARD', 'KUBE-POD-FW-API', 'KUBE-NWPLCY-API'],
      how: 'mark',
      needs: ['destination port 5432; the packet has 8080'],
      about: 'NetworkPolicy shop/api',
      source: {
        kind: 'file',
        file: nodeRules,
        line: 55,
        text: '-A KUBE-NWPLCY-API -p tcp -m tcp --dport 5432 -j MARK --set-xmark 0x10000/0x10000',
      },
      through: { kind: 'file', file: nodeRules, line: 80, text: '-A KUBE-POD-FW-API ... -j REJECT' },
    },
    {
      table: 'filter',
      chains: ['FORWARD'],
      how: 'late',
      needs: [],
      source: { kind: 'file', file: nodeRules, line: 90, text: '-A FORWARD -j ACCEPT' },
    },
  ],
});
const explainedHop: Hop = {
  ...node2Hop,
  steps: [...node2Hop.steps, explainedDrop],
  rules: [
    {
      hook: 'prerouting',
      backend: 'nft',
      table: 'mangle',
      chains: ['PREROUTING'],
      verdict: 'continue',
      effect: 'mark 0x0 -> 0x4',
      packets: 20,
      source: {
        kind: 'file',
        file: nodeRules,
        line: 7,
        text: '[20:1200] -A PREROUTING -j MARK --set-xmark 0x4/0x4',
      },
    },
    {
      hook: 'forward',
      backend: 'nft',
      table: 'filter',
      chains: ['FORWARD'],
      verdict: 'jump',
      to: 'KUBE-ROUTER-FORWARD',
      source: { kind: 'file', file: nodeRules, line: 44, text: '-A FORWARD -j KUBE-ROUTER-FORWARD' },
    },
    {
      hook: 'forward',
      backend: 'nft',
      table: 'filter',
      chains: ['FORWARD', 'KUBE-ROUTER-FORWARD', 'KUBE-POD-FW-API'],
      verdict: 'reject',
      about: 'pod shop/api-2',
      packets: 1532,
      source: {
        kind: 'file',
        file: nodeRules,
        line: 80,
        text: '[1532:91920] -A KUBE-POD-FW-API ... -j REJECT',
      },
    },
    {
      hook: 'forward',
      backend: 'nftables',
      table: 'inet host',
      chains: ['base'],
      verdict: 'accept',
      policy: true,
      handle: 4,
      source: { kind: 'file', file: 'nodes/node2/nft.json', text: 'chain base' },
    },
  ],
};
const explainedBranch: Branch = {
  ...lost,
  disposition: 'filtered',
  trace: { forward: [webHop, node1Hop, explainedHop], back: [] },
  broken: { direction: 'forward', hop: explainedHop, step: explainedDrop },
};
export const explained: Diagnosis = { ...blocked, verdict: verdictOf(flow, [explainedBranch]) };

const node2Unseen: Hop = { ...node2Lost, steps: [unseen] };

export const unsure: Diagnosis = {
  verdict: verdictOf({ ...flow, dst: apiService, dstPort: 80, hostName: 'api.shop' }, [
    branch({
      answer: 'unknown',
      disposition: 'insufficient-info',
      trace: { forward: [webHop, node1Hop, node2Unseen], back: [] },
      broken: { direction: 'forward', hop: node2Unseen, step: unseen },
    }),
  ]),
  causes: [],
  gaps: [gap],
  probes: [],
  durationMs: 12,
};

const tooBig = step('mtu', 'the 1550-byte tunnel packet is fragmented, and the network drops fragments', {
  action: 'lost',
  reason: 'fragment-lost',
  facts: { device: 'eth0', mtu: '1500', size: '1550' },
});
const replyLost: Hop = { ...turned(node2Hop), steps: [tooBig] };

/** A Service with two backends; full-size replies of one of them are lost. */
export const stalled: Diagnosis = {
  verdict: verdictOf({ ...flow, dst: apiService, dstPort: 80 }, [
    branch({ share: 0.5 }),
    branch({ share: 0.5, backend: 'shop/api-1 10.244.1.6:8080' }),
    branch({
      share: 0.5,
      size: 'full',
      answer: 'unreachable',
      disposition: 'fragment-lost',
      trace: { forward: branch().trace.forward, back: [turned(apiHop), replyLost] },
      broken: { direction: 'back', hop: replyLost, step: tooBig },
    }),
    branch({ share: 0.5, size: 'full', backend: 'shop/api-1 10.244.1.6:8080' }),
  ]),
  causes: [],
  gaps: [],
  probes: [],
  durationMs: 20,
};

export const scanned: Scan = {
  findings: [
    {
      check: 'node-sysctls',
      cause: 'route/ip-forward-off',
      severity: 'warning',
      subject: { kind: 'node', name: 'node3' },
      concerns: [],
      statement: 'node3 answers to redirects',
      evidence: [],
    },
    {
      check: 'node-routes',
      cause: 'route/missing',
      severity: 'error',
      subject: { kind: 'node', name: 'node2' },
      concerns: [{ kind: 'node', name: 'node1' }],
      statement: 'node2 has no route to 10.244.1.0/24 (node1)',
      evidence: [
        {
          how: 'observed',
          statement: 'the main table of node2 holds routes to 10.244.2.0/24 and 10.244.3.0/24 only',
          source: { kind: 'file', file: 'nodes/node2/ip-route.json', text: '4 routes' },
        },
      ],
    },
  ],
  checks: ['node-routes', 'node-sysctls', 'services'],
  notRun: [{ check: 'vxlan-fdb', why: 'no bridge-fdb.json was recorded for any node' }],
  gaps: [gap],
  lookedAt: { nodes: 3, pods: 12, services: 4, policies: 2 },
  durationMs: 40,
};

export const clean: Scan = { ...scanned, findings: [], notRun: [], gaps: [] };
