/** Cilium's maps on a recorded lab that was rewritten to them. No kernel here runs its programs: what is expected is read in its source. */
import { beforeAll, describe, expect, it } from 'vitest';
import type { SnapshotFiles } from '../src/collect/files.ts';
import type { Verdict } from '../src/model/verdict.ts';
import { apiBackends, ciliumMode, endpointId, lbTable, nodes, policyMap } from './support/cilium-lab.ts';
import {
  askRecording,
  backendsOf,
  type Edit,
  type Edits,
  edited,
  recordedLab,
} from './support/recorded-lab.ts';

let recorded: SnapshotFiles;
let lab: SnapshotFiles;
beforeAll(async () => {
  recorded = await recordedLab();
  lab = ciliumMode(recorded);
});

const ask = (src: string, dst: string, ...edits: readonly Edits[]): Verdict =>
  askRecording(edited(lab, ...edits), src, dst);

const onAll = (file: string, edit: Edit): Edits =>
  Object.fromEntries(nodes.map((node) => [`nodes/${node}/${file}`, edit]));

const steps = (verdict: Verdict): string =>
  verdict.branches
    .flatMap(({ trace }) => [...trace.forward, ...trace.back])
    .flatMap((hop) => hop.steps.map((step) => `${hop.netns}: ${step.text}`))
    .join('\n');

/** The policy map of one pod replaced. */
const policyOf = (node: string, pod: string, entries: readonly string[]): Edits => {
  const id = endpointId(recorded, pod);
  return {
    [`nodes/${node}/cilium-bpf-policy.txt`]: (text) =>
      text?.replace(new RegExp(`Endpoint ID: ${id}\\n[^]*?(?=Endpoint ID|$)`), policyMap(id, entries)),
  };
};

const egress = 'Allow    Egress      0          ANY          NONE         disabled    0       0         0';

const allThree = [
  'shop/api-1 10.244.1.3:8080 reachable 0.33',
  'shop/api-2 10.244.2.3:8080 reachable 0.33',
  'shop/api-3 10.244.3.3:8080 reachable 0.33',
];

describe('pods of a Cilium cluster', () => {
  it('on one node: from device to device', () => {
    const verdict = ask('shop/web-1', 'shop/api-1:8080');
    expect(verdict.answer).toBe('reachable');
    expect(steps(verdict)).toContain('node1: Cilium delivers to endpoint');
  });

  it('on two nodes: through the tunnel, with the identity as VNI', () => {
    const verdict = ask('shop/web-1', 'shop/api-2:8080');
    expect(verdict.answer).toBe('reachable');
    expect(steps(verdict)).toContain(
      'cilium_vxlan: 10.244.2.3 is behind 10.99.0.12 (identity 1001), UDP 8472',
    );
    expect(steps(verdict)).toContain('node2: cilium_vxlan opens the packet (identity 1001)');
  });

  it('the node firewall counts for the tunnel', () => {
    const firewall: Edits = {
      'nodes/node2/iptables-save.txt': (text) =>
        text?.replace(
          '*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n',
          (all) => `${all}-A INPUT -p udp -m udp --dport 8472 -j DROP\n`,
        ),
    };
    const verdict = ask('shop/web-1', 'shop/api-2:8080', firewall);
    expect([verdict.answer, verdict.disposition]).toEqual(['unreachable', 'filtered']);
    expect(ask('shop/web-1', 'shop/api-3:8080', firewall).answer).toBe('reachable');
  });

  it('a tunnel endpoint of another node in the ipcache: that node sends it on', () => {
    const wrong: Edits = {
      'nodes/node1/cilium-bpf-ipcache.txt': (text) =>
        text?.replace(/^(10\.244\.2\.3\/32 .*tunnelendpoint=)10\.99\.0\.12/m, '$110.99.0.13'),
    };
    const { answer, trace } = ask('shop/web-1', 'shop/api-2:8080', wrong);
    expect(answer).toBe('reachable');
    expect(trace.forward.map(({ netns }) => netns)).toEqual([
      'node1/shop_web-1',
      'node1',
      'node3',
      'node2',
      'node2/shop_api-2',
    ]);
  });

  it('an endpoint that is not in the map of its node', () => {
    const gone: Edits = {
      'nodes/node2/cilium-bpf-endpoint.txt': (text) => text?.replace(/^10\.244\.2\.3:0 .*\n/m, ''),
    };
    expect(ask('shop/web-1', 'shop/api-2:8080', gone).answer).toBe('unreachable');
  });

  it('an endpoint whose device is gone', () => {
    const gone: Edits = {
      'nodes/node2/cilium-bpf-endpoint.txt': (text) => text?.replace(/ifindex=\d+/g, 'ifindex=99'),
    };
    const verdict = ask('shop/web-1', 'shop/api-2:8080', gone);
    expect(verdict.branches[0]?.broken?.step.reason).toBe('device-missing');
  });
});

describe('a Service by the lb map', () => {
  it('goes to every backend, and its answers come back from the Service address', () => {
    const verdict = ask('shop/web-1', 'shop/svc/api:80');
    expect(backendsOf(verdict)).toEqual(allThree);
    expect(steps(verdict)).toContain('Cilium (at the socket) sends 10.96.0.101:80 to 10.244.2.3:8080');
  });

  it('as node processes ask for it, at their sockets', () => {
    expect(backendsOf(ask('node/node1', 'shop/svc/api:80'))).toEqual(allThree);
  });

  it('reads the list of older versions, and JSON', () => {
    const old = onAll('cilium-bpf-lb.txt', () =>
      [
        'SERVICE ADDRESS      BACKEND ADDRESS',
        '10.96.0.101:80       10.244.1.3:8080 (3)',
        '                     10.244.2.3:8080 (3)',
        '                     0.0.0.0:0 (3) [ClusterIP]',
        '                     10.244.3.3:8080 (3)',
        '',
      ].join('\n'),
    );
    expect(backendsOf(ask('shop/web-1', 'shop/svc/api:80', old))).toEqual(allThree);
    const json = onAll('cilium-bpf-lb.txt', () =>
      JSON.stringify({
        '10.96.0.101:80': [
          '0.0.0.0:0 (3) (0) [ClusterIP, non-routable]',
          ...apiBackends.map((backend, i) => `${backend.replace('/TCP', '')} (3) (${i + 1})`),
        ],
      }),
    );
    expect(backendsOf(ask('shop/web-1', 'shop/svc/api:80', json))).toEqual(allThree);
  });

  it('that a pod has as its own comes back to it, from the loopback address', () => {
    const verdict = ask('shop/api-1', 'shop/svc/api:80');
    expect(backendsOf(verdict)).toEqual(allThree);
    const itself = verdict.branches.find((branch) => branch.backend?.includes('api-1'));
    expect(itself?.trace.forward.at(-1)?.packet.src.value).toBe(0xa9fe2a01n);
  });

  it('without backends', () => {
    const none = onAll('cilium-bpf-lb.txt', () => lbTable({ '10.96.0.101:80/TCP': [] }));
    const verdict = ask('shop/web-1', 'shop/svc/api:80', none);
    expect([verdict.answer, verdict.disposition]).toEqual(['unreachable', 'no-endpoints']);
    expect(verdict.branches[0]?.broken?.step.text).toContain('Service backend not found');
  });

  it('one of three: the backend map lacks it', () => {
    const lacks = onAll('cilium-bpf-lb.txt', (text) =>
      text?.replace('10.244.3.3:8080/TCP (5) (3)', 'backend 7 not found'),
    );
    const backends = backendsOf(ask('shop/web-1', 'shop/svc/api:80', lacks));
    expect(backends.filter((one) => one.includes('reachable 0.33') && !one.includes('un'))).toEqual(
      allThree.slice(0, 2),
    );
    expect(backends.join()).toContain('unreachable 0.33 no-endpoints');
  });

  it('has its own entry for callers inside of the cluster', () => {
    const scoped = onAll('cilium-bpf-lb.txt', () =>
      lbTable({ '10.96.0.101:80/TCP': apiBackends, '10.96.0.101:80/TCP/i': apiBackends.slice(0, 1) }),
    );
    expect(backendsOf(ask('shop/web-1', 'shop/svc/api:80', scoped))).toEqual([
      'shop/api-1 10.244.1.3:8080 reachable 1.00',
    ]);
  });
});

describe('the policy map', () => {
  const ingress = (who: string, what: string, action = 'Allow') =>
    `${action.padEnd(6)}   Ingress     ${who.padEnd(8)}   ${what.padEnd(10)}   NONE         disabled    0       0         0`;
  const answer = (...entries: string[]): string => {
    const verdict = ask(
      'shop/web-1',
      'shop/api-2:8080',
      policyOf('node2', 'shop/api-2', [egress, ...entries]),
    );
    return `${verdict.answer} ${verdict.disposition}`;
  };

  it.each([
    ['the identity and port', [ingress('1001', '8080/TCP')], 'reachable delivered'],
    ['the identity on every port', [ingress('1001', 'ANY')], 'reachable delivered'],
    ['the port for everybody', [ingress('0', '8080/TCP')], 'reachable delivered'],
    ['a range of ports', [ingress('1001', '8080-8095/TCP')], 'reachable delivered'],
    ['another identity', [ingress('1005', '8080/TCP')], 'unreachable denied-ingress'],
    ['another port', [ingress('1001', '9090/TCP')], 'unreachable denied-ingress'],
    ['another protocol', [ingress('1001', '8080/UDP')], 'unreachable denied-ingress'],
    ['the other direction only', [], 'unreachable denied-ingress'],
    [
      'a deny beside an allow',
      [ingress('1001', '8080/TCP'), ingress('0', '8080/TCP', 'Deny')],
      'unreachable denied-ingress',
    ],
    [
      'a deny that is less specific than the allow for the same identity',
      [ingress('1001', '8080/TCP'), ingress('1001', 'ANY', 'Deny')],
      'reachable delivered',
    ],
    ['labels in place of the identity', [ingress('k8s:app=web', '8080/TCP')], 'unknown insufficient-info'],
    [
      'labels beside an allow for everybody',
      [ingress('k8s:app=web', '8080/TCP'), ingress('0', '8080/TCP')],
      'reachable delivered',
    ],
  ] as const)('with %s', (_name, entries, expected) => {
    expect(answer(...entries)).toBe(expected);
  });

  it('says what it denied, and for whom', () => {
    const verdict = ask('shop/web-1', 'shop/api-2:8080', policyOf('node2', 'shop/api-2', [egress]));
    const id = endpointId(recorded, 'shop/api-2');
    expect(verdict.branches[0]?.broken?.step.text).toBe(
      `Policy denied: ingress of endpoint ${id}, identity 1001 (10.244.1.2), tcp/8080`,
    );
  });

  it('of the sender', () => {
    const only = policyOf('node1', 'shop/web-1', [
      'Allow    Ingress     0          ANY          NONE         disabled    0       0         0',
      'Allow    Egress      1006       53/UDP       NONE         disabled    0       0         0',
    ]);
    const verdict = ask('shop/web-1', 'shop/api-1:8080', only);
    expect([verdict.answer, verdict.disposition]).toEqual(['unreachable', 'denied-egress']);
  });

  it('that leads to a proxy is unknown', () => {
    const proxied = ingress('1001', '8080/TCP').replace('NONE ', '15735');
    expect(answer(proxied)).toBe('unknown insufficient-info');
  });
});

describe('what was not dumped is unknown, and the gap names the command', () => {
  it.each([
    ['cilium-bpf-lb.txt', 'shop/svc/api:80', 'cilium-dbg bpf lb list'],
    ['cilium-bpf-ipcache.txt', 'shop/api-2:8080', 'cilium-dbg bpf ipcache list'],
    ['cilium-bpf-endpoint.txt', 'shop/api-2:8080', 'cilium-dbg bpf endpoint list'],
    ['cilium-bpf-policy.txt', 'shop/api-2:8080', 'cilium-dbg bpf policy get --all -n'],
  ])('%s', (file, dst, command) => {
    const verdict = ask(
      'shop/web-1',
      dst,
      onAll(file, () => undefined),
    );
    expect(verdict.answer).toBe('unknown');
    expect(verdict.gaps.map(({ todo }) => todo)).toContainEqual(expect.stringContaining(command));
  });

  it('none of them', () => {
    const files = ['lb', 'ipcache', 'endpoint', 'policy'].map((name) =>
      onAll(`cilium-bpf-${name}.txt`, () => undefined),
    );
    expect(ask('shop/web-1', 'shop/api-2:8080', ...files).answer).toBe('unknown');
  });
});

describe('native routing', () => {
  const routed = (config: Record<string, string>): SnapshotFiles => {
    const native = ciliumMode(recorded, { 'routing-mode': 'native', ...config });
    const edits: Record<string, Edit> = {};
    for (const node of nodes)
      edits[`nodes/${node}/ip-route.json`] = (text) =>
        JSON.stringify(
          (JSON.parse(text ?? '') as { dst: string; dev: string; gateway?: string }[]).map((route) => {
            const [, n] = /^10\.244\.(\d)\.0\/24$/.exec(route.dst) ?? [];
            return n === undefined || n === node.slice(4)
              ? route
              : { ...route, dev: 'eth0', gateway: `10.99.0.1${n}` };
          }),
        );
    return edited(native, edits);
  };
  const closed = onAll('iptables-save.txt', (text) =>
    text?.replace(':FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n', (all) =>
      all.replace('FORWARD ACCEPT', 'FORWARD DROP'),
    ),
  );

  it('through the stack: FORWARD counts', () => {
    const legacy = routed({ 'enable-host-legacy-routing': 'true' });
    expect(askRecording(legacy, 'shop/web-1', 'shop/api-2:8080').answer).toBe('reachable');
    const verdict = askRecording(edited(legacy, closed), 'shop/web-1', 'shop/api-2:8080');
    expect([verdict.answer, verdict.disposition]).toEqual(['unreachable', 'filtered']);
  });

  it('with BPF host routing: no rule of the node is asked', () => {
    const bypass = routed({ 'enable-bpf-masquerade': 'true' });
    expect(askRecording(edited(bypass, closed), 'shop/web-1', 'shop/api-2:8080').answer).toBe('reachable');
  });
});
