/** Packets that test what a namespace believes about addresses: martians, broadcasts, own and loopback addresses. */

interface RouteCase {
  readonly title: string;
  /** Lines of `ip -batch`. */
  readonly ip?: readonly string[];
  readonly sysctl?: readonly string[];
  /** `nft -f`. */
  readonly nft?: string;
  readonly packets: readonly {
    readonly via: string;
    readonly from: string;
    readonly to: string;
    readonly srcPort?: number;
  }[];
  /** How our words for each packet begin; the kernel must agree with all of them. */
  readonly ends: readonly string[];
}

/** From devices that have 10.1.0.1/16 (tin), 10.2 (tout), 10.3 (tc) and 10.4 (td); each packet has a port of its own. */
const sent = (...pairs: readonly (readonly [from: string, to: string])[]): RouteCase['packets'] =>
  pairs.map(([from, to], i) => ({ via: 'tin', from, to, srcPort: 1024 + i }));

const markedBack = {
  ip: ['route add 10.9.0.0/16 dev tin table 100', 'rule add pref 10 fwmark 1 table 100'],
  nft: 'table ip t { chain c { type filter hook prerouting priority -150; meta mark set 1; }; }',
  // A packet with the mark finds its own way, too, where the table has none for it.
  packets: sent(['10.9.0.5', '10.3.0.5']),
};

export const routeCases: readonly RouteCase[] = [
  {
    title: 'martian sources are dropped without a word',
    packets: sent(
      ['127.0.0.1', '10.3.0.5'],
      ['0.0.0.0', '10.3.0.5'],
      ['224.0.0.5', '10.3.0.5'],
      ['255.255.255.255', '10.3.0.5'],
      ['10.2.0.1', '10.3.0.5'],
    ),
    ends: ['drop', 'drop', 'drop', 'drop', 'drop'],
  },
  {
    title: 'with rp_filter a broadcast address as source is dropped, too',
    sysctl: ['net.ipv4.conf.tin.rp_filter=2'],
    packets: sent(['10.2.255.255', '10.3.0.5'], ['10.1.255.255', '10.3.0.5'], ['10.2.0.7', '10.3.0.5']),
    ends: ['drop', 'drop', 'forward tc'],
  },
  {
    title: 'martian destinations',
    packets: sent(['10.1.0.2', '0.0.0.0'], ['10.1.0.2', '127.0.0.1'], ['10.1.0.2', '240.0.0.1']),
    ends: ['drop', 'drop', 'reject 3/0'],
  },
  {
    title: 'accept_local lets own addresses in, of that device or of all',
    sysctl: ['net.ipv4.conf.tin.accept_local=1'],
    packets: sent(['10.2.0.1', '10.3.0.5'], ['10.1.0.1', '10.3.0.5']),
    ends: ['forward tc', 'forward tc'],
  },
  {
    title: 'route_localnet lets packets for loopback addresses in; as sources they are own addresses',
    sysctl: ['net.ipv4.conf.tin.route_localnet=1'],
    packets: sent(['10.1.0.2', '127.0.0.1'], ['127.0.0.1', '10.3.0.5']),
    ends: ['deliver', 'drop'],
  },
  {
    ...markedBack,
    title: 'src_valid_mark looks the way back up with the mark',
    sysctl: ['net.ipv4.conf.tin.rp_filter=1', 'net.ipv4.conf.tin.src_valid_mark=1'],
    ends: ['forward tc'],
  },
  {
    ...markedBack,
    title: 'and without it the mark is none of the way back',
    sysctl: ['net.ipv4.conf.tin.rp_filter=1', 'net.ipv4.conf.tin.src_valid_mark=0'],
    ends: ['drop'],
  },
  {
    title: 'a directed broadcast is taken in',
    packets: sent(['10.1.0.2', '10.3.255.255'], ['10.1.0.2', '255.255.255.255']),
    ends: ['deliver', 'deliver'],
  },
  {
    title:
      'with bc_forwarding it goes on to its network, whether the device forwards or not; 255.255.255.255 does not',
    sysctl: [
      'net.ipv4.ip_forward=0',
      'net.ipv4.conf.all.bc_forwarding=1',
      'net.ipv4.conf.tin.bc_forwarding=1',
    ],
    packets: sent(['10.1.0.2', '10.3.255.255'], ['10.1.0.2', '255.255.255.255'], ['10.1.0.2', '10.3.0.5']),
    ends: ['forward tc', 'deliver', 'drop'],
  },
  {
    title: 'proxy_arp answers for others and forwards no packet',
    sysctl: ['net.ipv4.ip_forward=0', 'net.ipv4.conf.tin.proxy_arp=1', 'net.ipv4.conf.all.proxy_arp=1'],
    packets: sent(['10.1.0.2', '10.3.0.5']),
    ends: ['drop'],
  },
  {
    title: 'all hosts are a group that everybody has joined',
    packets: sent(['10.1.0.2', '224.0.0.1']),
    ends: ['deliver'],
  },
];
