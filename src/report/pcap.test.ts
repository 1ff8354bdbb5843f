/** The capture file, read back by a small reader of our own, and by tcpdump where it is installed (test/cli/trace.test.ts). */
import { expect, it } from 'vitest';
import type { Branch, Hop, Step } from '../model/verdict.ts';
import { address } from '../net/address.ts';
import type { Packet } from '../net/packet.ts';
import { pcapng } from './pcap.ts';

interface Captured {
  readonly device: string;
  readonly data: Buffer;
  readonly comment: string;
}

/** Blocks of a little-endian section: interface names, and packets with their comments. */
function read(file: Buffer): readonly Captured[] {
  const names: string[] = [];
  const packets: Captured[] = [];
  for (let at = 0; at < file.length; ) {
    const type = file.readUInt32LE(at);
    const length = file.readUInt32LE(at + 4);
    expect(file.readUInt32LE(at + length - 4)).toBe(length);
    const body = file.subarray(at + 8, at + length - 4);
    if (at === 0) expect([type, body.readUInt32LE(0)]).toEqual([0x0a0d0d0a, 0x1a2b3c4d]);
    if (type === 1) names.push(options(body, 8).get(2) ?? '');
    if (type === 6) {
      const captured = body.readUInt32LE(12);
      const end = 20 + Math.ceil(captured / 4) * 4;
      const comment = options(body, end).get(1) ?? '';
      packets.push({
        device: names[body.readUInt32LE(0)] ?? '',
        data: body.subarray(20, 20 + captured),
        comment,
      });
    }
    at += length;
  }
  return packets;
}

function options(body: Buffer, start: number): ReadonlyMap<number, string> {
  const found = new Map<number, string>();
  for (let at = start; at + 4 <= body.length; ) {
    const [code, length] = [body.readUInt16LE(at), body.readUInt16LE(at + 2)];
    if (code === 0) break;
    found.set(code, body.subarray(at + 4, at + 4 + length).toString());
    at += 4 + Math.ceil(length / 4) * 4;
  }
  return found;
}

const inner: Packet = {
  src: address('10.244.1.2'),
  dst: address('10.244.2.2'),
  protocol: 'tcp',
  srcPort: 40_000,
  dstPort: 8080,
  flags: { syn: true },
  lengthBytes: 60,
  df: true,
  ttl: 64,
  mark: 0,
};
const outer: Packet = {
  ...inner,
  src: address('10.0.0.1'),
  dst: address('10.0.0.2'),
  protocol: 'udp',
  srcPort: 49_152,
  dstPort: 8472,
  lengthBytes: 110,
  inner: { kind: 'vxlan', packet: inner, vni: 1, dstMac: '02:00:00:00:01:02' },
};
const step = (kind: Step['kind'], text: string, more: Partial<Step> = {}): Step => ({
  kind,
  action: 'pass',
  text,
  ...more,
});

const forward: readonly Hop[] = [
  { netns: 'node1/shop_web', node: 'node1', pod: 'shop/web', outDevice: 'eth0', packet: inner, steps: [] },
  {
    netns: 'node1',
    node: 'node1',
    inDevice: 'veth1',
    outDevice: 'eth0',
    packet: outer,
    steps: [step('encap', 'flannel.1 VNI 1')],
  },
  {
    netns: 'node2',
    node: 'node2',
    inDevice: 'flannel.1',
    packet: inner,
    steps: [
      step('decap', 'flannel.1 VNI 1 opens the packet', { facts: { by: 'eth0' } }),
      step('filter', 'dropped by filter FORWARD: é', { action: 'lost', reason: 'rule-drop' }),
    ],
  },
];
const branch: Branch = {
  share: 1,
  size: 'small',
  answer: 'unreachable',
  disposition: 'filtered',
  trace: { forward, back: [] },
  remarks: [],
};

it('has every packet in order, on the device that it passes, inside and outside of the tunnel', () => {
  const packets = read(pcapng([branch]));
  expect(packets.map(({ device, data }) => `${device} ${data.length - 14}`)).toEqual([
    'shop/web:eth0 60',
    'node1:veth1 60',
    'node1:flannel.1 60',
    'node1:eth0 110',
    'node2:eth0 110',
    'node2:flannel.1 60',
  ]);
});

it('says at each packet which hop it is and what happened there', () => {
  const comments = read(pcapng([branch])).map(({ comment }) => comment);
  expect(comments[3]).toBe('small packet, forward hop 2 of 3, node1: out by eth0\nencap: flannel.1 VNI 1');
  expect(comments[4]).toContain('node2: in by eth0');
  expect(comments[4]).toContain('LOST filter: dropped by filter FORWARD: é');
});

it('holds the inner frame whole in the tunnel packet', () => {
  const [, , , wrapped, , opened] = read(pcapng([branch]));
  // Ethernet, IPv4, UDP, VXLAN, Ethernet.
  expect(wrapped?.data.subarray(14 + 20 + 8 + 8 + 14)).toEqual(opened?.data.subarray(14));
  expect(wrapped?.data.subarray(14 + 20 + 8, 14 + 20 + 16).toString('hex')).toBe('0800000000000100');
});

it('numbers the branches where there are several', () => {
  const two = [branch, { ...branch, backend: 'shop/api 10.244.2.2:8080' }];
  const comments = read(pcapng(two)).map(({ comment }) => comment);
  expect(comments[0]).toMatch(/^branch 1, /);
  expect(comments[6]).toMatch(/^branch 2 \(shop\/api 10\.244\.2\.2:8080\), /);
});
