/** kube-proxy's ipvs mode on a recorded lab that was rewritten to it. No kernel here has IPVS: what is expected is read in its source. */
import { beforeAll, describe, expect, it } from 'vitest';
import type { SnapshotFiles } from '../src/collect/files.ts';
import type { Verdict } from '../src/model/verdict.ts';
import { ipvsMode, onAll, table } from './support/ipvs-lab.ts';
import { askRecording, backendsOf, type Edits, edited, inJson, recordedLab } from './support/recorded-lab.ts';

let lab: SnapshotFiles;
beforeAll(async () => {
  lab = edited(await recordedLab(), ipvsMode());
});

const ask = (src: string, dst: string, ...edits: readonly Edits[]): Verdict =>
  askRecording(edited(lab, ...edits), src, dst);

const tables = (change: (text: string) => string): Edits =>
  onAll('ipvs.txt', () => (text) => change(text ?? ''));
const steps = (verdict: Verdict): string =>
  verdict.branches
    .flatMap(({ trace }) => [...trace.forward, ...trace.back])
    .flatMap((hop) => hop.steps.map((step) => `${hop.netns}: ${step.text}`))
    .join('\n');

const allThree = [
  'shop/api-1 10.244.1.3:8080 reachable 0.33',
  'shop/api-2 10.244.2.3:8080 reachable 0.33',
  'shop/api-3 10.244.3.3:8080 reachable 0.33',
];

describe('a ClusterIP by IPVS', () => {
  it('goes to every real server, and its answers come back from the Service address', () => {
    const verdict = ask('shop/web-1', 'shop/svc/api:80');
    expect(backendsOf(verdict)).toEqual(allThree);
    expect(steps(verdict)).toContain('IPVS sends 10.96.0.101:80 to 10.244.2.3:8080 (rr)');
    expect(steps(verdict)).toContain(
      "IPVS gives the answer of 10.244.2.3:8080 the Service's address 10.96.0.101:80",
    );
  });

  it('loses its answers without net.ipv4.vs.conntrack: they are INVALID, which KUBE-FORWARD drops', () => {
    const off = onAll('sysctl.txt', () => (text) => text?.replace('vs.conntrack = 1', 'vs.conntrack = 0'));
    const verdict = ask('shop/web-1', 'shop/svc/api:80', off);
    expect(verdict.disposition).toBe('return-lost');
    expect(verdict.branches[0]?.broken?.step.text).toContain('--ctstate INVALID');
    const without = onAll('iptables-save.txt', () => (text) => text?.replace(/^.*INVALID.*\n/m, ''));
    expect(backendsOf(ask('shop/web-1', 'shop/svc/api:80', off, without))).toEqual(allThree);
  });

  it('is asked for by the node itself: masqueraded, since the source is the address on kube-ipvs0', () => {
    const verdict = ask('node/node1', 'shop/svc/api:80');
    expect(backendsOf(verdict)).toEqual(allThree);
    const sent = verdict.branches.find((branch) => branch.backend?.includes('api-2'))?.trace.forward;
    expect(sent?.at(-1)?.packet.src.value).toBe(0x0af40100n);
  });

  it('that a pod has as its own comes back to it, by KUBE-LOOP-BACK', () => {
    const verdict = ask('shop/api-1', 'shop/svc/api:80');
    expect(backendsOf(verdict)).toEqual(allThree);
    const without = onAll('ipset.txt', () => (text) => text?.replace(/^add KUBE-LOOP-BACK.*\n/gm, ''));
    const broken = ask('shop/api-1', 'shop/svc/api:80', without);
    expect(backendsOf(broken)[0]).toMatch(/^shop\/api-1 .* unreachable/);
    expect(backendsOf(broken).slice(1)).toEqual(allThree.slice(1));
  });

  it('read from /proc/net/ip_vs is the same', () => {
    const proc = [
      'IP Virtual Server version 1.2.1 (size=4096)',
      'Prot LocalAddress:Port Scheduler Flags',
      '  -> RemoteAddress:Port Forward Weight ActiveConn InActConn',
      'TCP  0A600065:0050 rr ',
      '  -> 0AF40103:1F90      Masq    1      0          0         ',
      '  -> 0AF40203:1F90      Masq    1      2          1         ',
      '  -> 0AF40303:1F90      Masq    1      0          0         ',
      '',
    ].join('\n');
    const edits = {
      ...onAll('ipvs.txt', () => () => undefined),
      ...onAll('proc-net-ip-vs.txt', () => () => proc),
    };
    expect(backendsOf(ask('shop/web-1', 'shop/svc/api:80', edits))).toEqual(allThree);
  });
});

describe('scheduling', () => {
  it('shares by weight, and leaves out weight 0', () => {
    const weights = tables((text) =>
      text
        .replaceAll('-s rr', '-s wrr')
        .replaceAll('10.244.1.3:8080 -m -w 1', '10.244.1.3:8080 -m -w 3')
        .replaceAll('10.244.3.3:8080 -m -w 1', '10.244.3.3:8080 -m -w 0'),
    );
    expect(backendsOf(ask('shop/web-1', 'shop/svc/api:80', weights))).toEqual([
      'shop/api-1 10.244.1.3:8080 reachable 0.75',
      'shop/api-2 10.244.2.3:8080 reachable 0.25',
    ]);
  });

  it('remarks that a persistent service keeps clients where they were', () => {
    const persistent = onAll('ipvs.txt', (node) => () => table(node, '-s rr -p 10800'));
    const verdict = ask('shop/web-1', 'shop/svc/api:80', persistent);
    expect(backendsOf(verdict)).toEqual(allThree);
    expect(verdict.branches[0]?.remarks.map(({ text }) => text)).toContainEqual(
      expect.stringContaining('persistent'),
    );
  });
});

describe('what fails', () => {
  it('one of three: the real server has another port', () => {
    const wrong = tables((text) => text.replaceAll('10.244.3.3:8080', '10.244.3.3:8081'));
    expect(backendsOf(ask('shop/web-1', 'shop/svc/api:80', wrong))).toEqual([
      ...allThree.slice(0, 2),
      'shop/api-3 10.244.3.3:8081 unreachable 0.33 not-listening',
    ]);
  });

  it.each([
    ['no real server', (text: string) => text.replace(/^-a .*8080.*\n/gm, ''), 'has no real server'],
    [
      'none of a weight',
      (text: string) => text.replaceAll('-w 1', '-w 0'),
      'has only real servers of weight 0 (3)',
    ],
  ] as const)('%s: the client is refused', (_name, change, text) => {
    const verdict = ask('shop/web-1', 'shop/svc/api:80', tables(change));
    expect([verdict.answer, verdict.disposition]).toEqual(['unreachable', 'no-endpoints']);
    expect(verdict.branches[0]?.broken?.step).toMatchObject({ facts: { verdict: 'reject' } });
    expect(verdict.branches[0]?.broken?.step.text).toContain(text);
  });

  it('a port that the Service has and IPVS has not', () => {
    const verdict = ask('shop/web-1', 'shop/svc/db:5432');
    expect(verdict.branches[0]?.broken?.step.reason).toBe('service-rules-missing');
  });

  it('a full-size packet that does not fit the way to the real server: its sender is told', () => {
    const small = onAll('ip-link.json', () =>
      inJson((list) => list.map((one) => (one.ifname === 'flannel.1' ? { ...one, mtu: 1300 } : one))),
    );
    const verdict = ask('shop/web-1', 'shop/svc/api:80', small);
    expect(backendsOf(verdict)).toEqual(allThree);
    expect(steps(verdict)).not.toContain('in fragments');
    expect(verdict.branches.flatMap(({ remarks }) => remarks.map(({ text }) => text))).toContainEqual(
      'path-MTU discovery: node1 tells the sender to use 1300 bytes',
    );
  });
});

describe('a node port', () => {
  it('is taken by the IPVS of the node that is asked, and masqueraded there', () => {
    const verdict = ask('shop/web-1', '10.99.0.12:30080');
    expect(backendsOf(verdict)).toEqual(allThree);
    const sent = verdict.branches.find((branch) => branch.backend?.includes('api-3'))?.trace.forward;
    expect(sent?.at(-1)?.packet.src.value).toBe(0x0af40200n);
  });
});

describe('without the table', () => {
  it('nothing is known, and the gap names the command', () => {
    const gone = onAll('ipvs.txt', () => () => undefined);
    const verdict = ask('shop/web-1', 'shop/svc/api:80', gone);
    expect(verdict.answer).toBe('unknown');
    expect(verdict.gaps.map(({ todo }) => todo)).toContainEqual(expect.stringContaining('/proc/net/ip_vs'));
  });

  it('pods by their own addresses are as reachable as ever', () => {
    const gone = onAll('ipvs.txt', () => () => undefined);
    expect(ask('shop/web-1', 'shop/api-2:8080', gone).answer).toBe('reachable');
  });
});
