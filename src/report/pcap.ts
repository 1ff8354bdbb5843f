/**
 * The packets of a walk as a capture file (pcapng): each as it would be seen on the devices that it passes, in order, with a
 * comment that names the hop and what happened there. Devices are interfaces of their own.
 */
import type { Branch, Hop, Step } from '../model/verdict.ts';
import type { Packet } from '../net/packet.ts';
import { packetBytes } from '../net/wire.ts';

/** One packet on one device. */
interface Sighting {
  /** `node1:eth0`, `shop/web-1:eth0` */
  readonly device: string;
  readonly packet: Packet;
  readonly comment: string;
}

/** Every branch's way there and back. */
export function pcapng(branches: readonly Branch[]): Buffer {
  const sightings = branches.flatMap((branch, i) =>
    branchSightings(branch, branches.length === 1 ? '' : `branch ${i + 1}${backendText(branch)}, `),
  );
  const devices = [...new Set(sightings.map(({ device }) => device))];
  return Buffer.concat([
    sectionHeader(),
    ...devices.map(interfaceBlock),
    ...sightings.map((one, i) => packetBlock(one, devices.indexOf(one.device), i)),
  ]);
}

const backendText = ({ backend }: Branch): string => (backend === undefined ? '' : ` (${backend})`);

const branchSightings = ({ trace, size }: Branch, prefix: string): Sighting[] =>
  (['forward', 'back'] as const).flatMap((direction) => {
    const hops = trace[direction];
    return hops.flatMap((hop, i) => {
      const place = `${prefix}${size} packet, ${direction} hop ${i + 1} of ${hops.length}, ${hop.pod ?? hop.node}`;
      return hopSightings(hop, hops[i - 1]?.packet, place);
    });
  });

/** Where it came in, as the hop before gave it away; inside of a tunnel's device; where it left. */
function hopSightings(hop: Hop, came: Packet | undefined, place: string): Sighting[] {
  const at = (device: string) => `${hop.pod ?? hop.node}:${device}`;
  const sightings: Sighting[] = [];
  const leaves = hop.outDevice !== undefined;
  const all = stepsText(hop.steps);
  if (hop.inDevice !== undefined && came !== undefined) {
    const opened = tunnelDevice(hop.steps, 'decap');
    // A hop's device is the one that it took the opened packet from: the tunnel packet came by another.
    const by = hop.steps.find((step) => step.kind === 'decap')?.facts?.by ?? hop.inDevice;
    const comment = `${place}: in by ${by}${leaves ? '' : all}`;
    sightings.push({ device: at(by), packet: came, comment });
    if (opened !== undefined && came.inner !== undefined)
      sightings.push({
        device: at(opened),
        packet: came.inner.packet,
        comment: `${place}: out of ${opened}`,
      });
  }
  if (!leaves) {
    // Lost where it was sent: no device saw it, but a reader wants to know that there was a packet.
    if (sightings.length > 0) return sightings;
    return [{ device: at('none'), packet: hop.packet, comment: `${place}: never leaves${all}` }];
  }
  const wrapped = tunnelDevice(hop.steps, 'encap');
  if (wrapped !== undefined && hop.packet.inner !== undefined)
    sightings.push({
      device: at(wrapped),
      packet: hop.packet.inner.packet,
      comment: `${place}: into ${wrapped}`,
    });
  const out = hop.outDevice ?? '';
  return [...sightings, { device: at(out), packet: hop.packet, comment: `${place}: out by ${out}${all}` }];
}

const tunnelDevice = (steps: readonly Step[], kind: 'encap' | 'decap'): string | undefined =>
  steps.find((step) => step.kind === kind)?.text.split(' ', 1)[0];

const stepsText = (steps: readonly Step[]): string =>
  steps
    .map(
      ({ action, kind, text }) => `\n${action === 'pass' ? '' : `${action.toUpperCase()} `}${kind}: ${text}`,
    )
    .join('');

const byteOrderMagic = 0x1a2b3c4d;
/** Ethernet for all: libpcap reads no file whose interfaces are of type RAW if there are two of them. */
const linkTypeEthernet = 1;
const blockTypes = { section: 0x0a0d0d0a, interface: 1, packet: 6 } as const;
const optionCodes = { end: 0, comment: 1, interfaceName: 2, application: 4 } as const;

/** RFC draft-ietf-opsawg-pcapng: type, length, body, length again. Little-endian throughout. */
function block(type: number, body: Buffer): Buffer {
  const length = 12 + body.length;
  const head = Buffer.alloc(8);
  head.writeUInt32LE(type, 0);
  head.writeUInt32LE(length, 4);
  return Buffer.concat([head, body, head.subarray(4)]);
}

const toWords = (data: Buffer): Buffer => Buffer.concat([data, Buffer.alloc((4 - (data.length % 4)) % 4)]);

const maxOptionBytes = 0xffff;

function option(code: number, text: string): Buffer {
  let data = Buffer.from(text);
  if (data.length > maxOptionBytes)
    data = Buffer.from(
      data
        .subarray(0, maxOptionBytes - 3)
        .toString('utf8')
        .replace(/\uFFFD$/, ''),
    );
  const head = Buffer.alloc(4);
  head.writeUInt16LE(code, 0);
  head.writeUInt16LE(data.length, 2);
  return Buffer.concat([head, toWords(data)]);
}

const endOfOptions = Buffer.alloc(4, optionCodes.end);

function sectionHeader(): Buffer {
  const body = Buffer.alloc(16);
  body.writeUInt32LE(byteOrderMagic, 0);
  body.writeUInt16LE(1, 4);
  // Length of the section: not told.
  body.writeBigInt64LE(-1n, 8);
  return block(
    blockTypes.section,
    Buffer.concat([body, option(optionCodes.application, 'podpath'), endOfOptions]),
  );
}

function interfaceBlock(name: string): Buffer {
  const body = Buffer.alloc(8);
  body.writeUInt16LE(linkTypeEthernet, 0);
  return block(
    blockTypes.interface,
    Buffer.concat([body, option(optionCodes.interfaceName, name), endOfOptions]),
  );
}

/** A walk's packet has no MAC addresses of its own: zeros. */
function ethernetHeader({ src }: Packet): Buffer {
  const header = Buffer.alloc(14);
  header.writeUInt16BE(src.family === 4 ? 0x0800 : 0x86dd, 12);
  return header;
}

/** Times count packets, one microsecond each: a walk takes no time. */
function packetBlock({ packet, comment }: Sighting, device: number, index: number): Buffer {
  const data = Buffer.concat([ethernetHeader(packet), packetBytes(packet)]);
  const head = Buffer.alloc(20);
  head.writeUInt32LE(device, 0);
  head.writeUInt32LE(0, 4);
  head.writeUInt32LE(index, 8);
  head.writeUInt32LE(data.length, 12);
  head.writeUInt32LE(data.length, 16);
  return block(
    blockTypes.packet,
    Buffer.concat([head, toWords(data), option(optionCodes.comment, comment), endOfOptions]),
  );
}
