/** Modules that look at small header fields, the frame, the sender's process or the way back. */
import type { Match } from '../../model/netfilter.ts';
import { parseMac } from '../../net/mac.ts';
import { readValueMask } from './numbers.ts';
import { type Option, type Section, sectionText } from './options.ts';

type Found = Match | undefined;

/** `--ttl-eq 64`, `--hl-lt 2`. */
export function readTtl({ name, negate, values }: Option): Found {
  const compare = (['eq', 'lt', 'gt'] as const).find((word) => name.endsWith(`-${word}`));
  const value = readByte(values);
  // xt_ttl negates equality only.
  if (compare === undefined || value === undefined || (negate && compare !== 'eq')) return undefined;
  return { kind: 'ttl', negate, compare, value };
}

function readByte(values: readonly string[]): number | undefined {
  const value = values.length === 1 && /^\d{1,3}$/.test(values[0] ?? '') ? Number(values[0]) : 256;
  return value <= 255 ? value : undefined;
}

/** Names that iptables knows for --tos; they leave the two ECN bits and precedence alone (mask 0x3f). */
const tosNames = new Map<string, number>([
  ['minimize-delay', 0x10],
  ['maximize-throughput', 0x08],
  ['maximize-reliability', 0x04],
  ['minimize-cost', 0x02],
  ['normal-service', 0x00],
]);

/** `V`, `V/M` or a name, for -m tos and -j TOS. Names have a narrower mask. */
export function readTosValue(text: string | undefined): { value: number; mask: number } | undefined {
  const named = tosNames.get((text ?? '').toLowerCase());
  if (named !== undefined) return { value: named, mask: 0x3f };
  const found = readValueMask(text);
  const mask = found?.mask ?? 0xff;
  return found === undefined || found.value > 0xff || mask > 0xff ? undefined : { value: found.value, mask };
}

export function readTos({ negate, values }: Option): Found {
  const found = values.length === 1 ? readTosValue(values[0]) : undefined;
  return found && { kind: 'tos', negate, ...found };
}

/** DSCP classes by name (RFC 2474, 2597, 3246). */
function dscpClass(text: string): number | undefined {
  const name = text.toUpperCase();
  if (name === 'EF') return 46;
  if (name === 'BE') return 0;
  const selector = /^CS([0-7])$/.exec(name);
  if (selector !== null) return Number(selector[1]) * 8;
  const assured = /^AF([1-4])([1-3])$/.exec(name);
  return assured === null ? undefined : Number(assured[1]) * 8 + Number(assured[2]) * 2;
}

/** Of `--dscp 0x2e`, `--dscp-class EF` and the same options with `set-`: 6 bits. */
export function readDscpValue({ name, values }: Option): number | undefined {
  const [text = ''] = values;
  if (values.length !== 1) return undefined;
  if (name.endsWith('-class')) return dscpClass(text);
  const value = readValueMask(text);
  return value === undefined || value.mask !== undefined || value.value > 63 ? undefined : value.value;
}

export function readDscp(option: Option): Found {
  const value = readDscpValue(option);
  return value === undefined
    ? undefined
    : { kind: 'tos', negate: option.negate, value: value * 4, mask: 0xfc };
}

export function readPacketType({ negate, values }: Option): Found {
  const type = (['unicast', 'broadcast', 'multicast'] as const).find((word) => word === values[0]);
  return type === undefined || values.length > 1 ? undefined : { kind: 'packet-type', negate, type };
}

export function readMac({ negate, values }: Option): Found {
  const address = values.length === 1 ? parseMac(values[0] ?? '') : undefined;
  return address === undefined ? undefined : { kind: 'mac', negate, address };
}

const ownerOptions = /^--(uid-owner|gid-owner|socket-exists|suppl-groups)$/;

/** Who sent the packet is not recorded; that nobody did is known of forwarded packets, and answers the whole section. */
export function readOwner(section: Section): readonly Match[] | undefined {
  const { options } = section;
  if (options.length === 0 || !options.every(({ name }) => ownerOptions.test(name))) return undefined;
  const asked = options.filter(({ name }) => name !== '--suppl-groups');
  return [{ kind: 'owner', negate: asked.every(({ negate }) => negate), text: sectionText(section) }];
}

const reversePathFlags = ['--loose', '--validmark', '--accept-local', '--invert'];

export function readReversePath({ options }: Section): readonly Match[] | undefined {
  if (
    options.some(
      ({ name, negate, values }) => negate || values.length > 0 || !reversePathFlags.includes(name),
    )
  )
    return undefined;
  const has = (flag: string) => options.some(({ name }) => name === flag);
  return [
    {
      kind: 'reverse-path',
      negate: has('--invert'),
      loose: has('--loose'),
      withMark: has('--validmark'),
      acceptLocal: has('--accept-local'),
    },
  ];
}
