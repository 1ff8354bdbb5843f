import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseCiliumEndpoints } from './cilium-endpoints.ts';
import { parseCiliumIpcache } from './cilium-ipcache.ts';
import { parseCiliumLb } from './cilium-lb.ts';
import { parseCiliumPolicy } from './cilium-policy.ts';
import { parseIpvs } from './ipvs.ts';

const shape = (text: string): unknown => {
  const result = parseIpvs(text, 'ipvs.txt');
  if (!result.ok) return result.error.code;
  return result.value.map(({ source: _, servers, ...rest }) => ({
    ...rest,
    servers: servers.map(({ source: __, ...server }) => server),
  }));
};

const saved = [
  '-A -t 10.96.0.101:80 -s wrr -p 10800 -M 255.255.255.255',
  '-a -t 10.96.0.101:80 -r 10.244.1.3:8080 -m -w 3',
  '-a -t 10.96.0.101:80 -r 10.244.2.3:8080 -g -w 0',
  '-A -u [fd00::10]:53 -s rr',
  '-a -u [fd00::10]:53 -r [fd01::5]:53 -i -w 1',
  '-A -f 7 -s wlc',
  '',
].join('\n');

const listed = [
  'IP Virtual Server version 1.2.1 (size=4096)',
  'Prot LocalAddress:Port Scheduler Flags',
  '  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn',
  'TCP  10.96.0.101:80 wrr persistent 10800',
  '  -> 10.244.1.3:8080              Masq    3      1          0',
  '  -> 10.244.2.3:8080              Route   0      0          0',
  'UDP  [fd00::10]:53 rr',
  '  -> [fd01::5]:53                 Tunnel  1      0          0',
  'FWM  7 wlc',
  '',
].join('\n');

const inKernel = [
  'IP Virtual Server version 1.2.1 (size=4096)',
  'Prot LocalAddress:Port Scheduler Flags',
  '  -> RemoteAddress:Port Forward Weight ActiveConn InActConn',
  'TCP  0A600065:0050 wrr persistent 2700000 FFFFFFFF',
  '  -> 0AF40103:1F90      Masq    3      1          0         ',
  '  -> 0AF40203:1F90      Route   0      0          0         ',
  'UDP  [fd00:0000:0000:0000:0000:0000:0000:0010]:0035 rr ',
  '  -> [fd01:0000:0000:0000:0000:0000:0000:0005]:0035      Tunnel  1      0          0         ',
  'FWM  00000007 wlc ',
  '',
].join('\n');

describe('IPVS tables', () => {
  it('are the same by ipvsadm -Sn, ipvsadm -Ln and /proc/net/ip_vs', () => {
    expect(shape(listed)).toEqual(shape(saved));
    expect(shape(inKernel)).toEqual(shape(saved));
    expect(shape(saved)).toMatchObject([
      { scheduler: 'wrr', persistent: true, servers: [{ method: 'masq', weight: 3 }, { weight: 0 }] },
      { key: { protocol: 'udp', port: 53 }, servers: [{ method: 'tunnel' }] },
      { key: { kind: 'fwmark', mark: 7 }, servers: [] },
    ]);
  });

  it('that are empty are known to be so; what is not one is an error', () => {
    expect(shape('')).toEqual([]);
    expect(shape('hello world\n')).toBe('ipvs/foreign');
    expect(shape(`${saved}Can't initialize ipvs: Permission denied\n`)).toBe('ipvs/tool-error');
  });

  it('a line that is not understood is a note', () => {
    const result = parseIpvs(`${saved}-A -t 10.0.0.1:99999 -s rr\n-a -t 10.9.9.9:1 -r 10.0.0.1:1 -m\n`, 'f');
    expect(result.ok && result.notes.map(({ line }) => line)).toEqual([7, 8]);
  });
});

describe("Cilium's maps", () => {
  it('endpoints of IPv6 with and without a cluster id', () => {
    const list = (suffix: string) =>
      `IP ADDRESS   LOCAL ENDPOINT INFO\nfd00::5${suffix}   id=7 sec_id=9 flags=0x0000 ifindex=12 mac=02:00:00:00:00:0A nodemac=02:00:00:00:00:01\n10.0.0.5${suffix}   (localhost)\n`;
    for (const suffix of ['', ':0']) {
      const result = parseCiliumEndpoints(list(suffix), 'f');
      expect(result.ok && result.value.map(({ address }) => address.value)).toEqual([
        0xfd000000000000000000000000000005n,
        0x0a000005n,
      ]);
    }
  });

  it('policies: ports as ranges, as masks, and labels over several lines', () => {
    const text = [
      'Endpoint ID: 35',
      'Path: /sys/fs/bpf/tc/globals/cilium_policy_00035',
      '',
      'POLICY   DIRECTION   LABELS (source:key[=value])   PORT/PROTO     PROXY PORT   AUTH TYPE   BYTES   PACKETS   PREFIX',
      'Allow    Ingress     reserved:host                 ANY            NONE         disabled    0       0         0',
      'Deny     Egress      k8s:app=web                   0x1f90/12/TCP  NONE         disabled    0       0         20',
      '                     k8s:io.kubernetes.pod.namespace=shop',
      'Allow    Egress      ANY                           53/UDP         15000        disabled    0       0         24',
      '',
      '/sys/fs/bpf/tc/globals/cilium_policy_00036:',
      '',
      'Policy stats empty. Perhaps the policy enforcement is disabled?',
      '',
    ].join('\n');
    const result = parseCiliumPolicy(text, 'f');
    if (!result.ok) throw new Error(result.error.message);
    expect(result.notes).toEqual([]);
    expect(result.value.get(36)).toEqual([]);
    expect(result.value.get(35)).toMatchObject([
      { action: 'allow', direction: 'ingress', identity: { id: 1 } },
      {
        action: 'deny',
        protocol: 6,
        ports: { from: 8080, to: 8095 },
        identity: { labels: ['k8s:app=web', 'k8s:io.kubernetes.pod.namespace=shop'] },
      },
      { identity: { id: 0 }, protocol: 17, proxyPort: 15_000 },
    ]);
  });

  it('any text gives a value or a coded error, and damage does not pass for a whole list', () => {
    const parsers = [parseIpvs, parseCiliumEndpoints, parseCiliumIpcache, parseCiliumLb, parseCiliumPolicy];
    const words = fc.constantFrom(
      '-A',
      '-t',
      '10.0.0.1:80',
      '->',
      'TCP',
      'SERVICE ADDRESS',
      '   ',
      '{',
      '[',
      '"a":',
      '\n',
      '(0)',
      'id=1',
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(words).map((list) => list.join(' ')),
        ),
        (text) => {
          for (const parse of parsers) {
            const result = parse(text, 'f');
            if (!result.ok) expect(result.error.code).toMatch(/^(ipvs|cilium)[a-z-]*\/[a-z-]+$/);
          }
        },
      ),
      { numRuns: 500 },
    );
    expect(parseCiliumLb('error: unable to connect to the agent\n', 'f').ok).toBe(false);
    expect(parseCiliumIpcache('', 'f').ok).toBe(false);
  });
});
