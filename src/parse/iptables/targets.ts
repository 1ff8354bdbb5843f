/** Targets lowered to the model. */
import type { NatRange, Target } from '../../model/netfilter.ts';
import { type Family, parseAddress } from '../../net/address.ts';
import { readDscpValue, readTosValue } from './header-matches.ts';
import { readCt, readSetTarget, readTproxy } from './module-targets.ts';
import { readAddressRange, readNetwork, readPortRange, readU32, readValueMask } from './numbers.ts';
import { type Section, sectionText } from './options.ts';

/** A note says that the target or an option of it is not known at all. */
export interface LoweredTarget {
  readonly target: Target;
  readonly note?: string;
}

const all = 0xffffffff;

/** Targets that let the packet go on as it is: they log, count, or change what the walk does not look at. */
const passing: ReadonlySet<string> = new Set([
  'LOG',
  'NFLOG',
  'ULOG',
  'TRACE',
  'AUDIT',
  'TCPMSS',
  'TCPOPTSTRIP',
  'CHECKSUM',
  'CLASSIFY',
  'ECN',
  'TEE',
  'RATEEST',
  'IDLETIMER',
  'LED',
  'SECMARK',
  'CONNSECMARK',
]);

/** Targets that are understood, and whose outcome is decided outside the rules. */
const outside = new Map<string, string>([
  ['NFQUEUE', 'NFQUEUE leaves the verdict to a program'],
  ['QUEUE', 'QUEUE leaves the verdict to a program'],
  ['SYNPROXY', 'SYNPROXY answers the handshake itself'],
  ['CLUSTERIP', 'CLUSTERIP shares one address between hosts'],
  ['HMARK', 'HMARK sets the mark from a hash'],
  ['NPT', 'NPT translates IPv6 prefixes'],
  ['SNPT', 'SNPT translates IPv6 prefixes'],
  ['DNPT', 'DNPT translates IPv6 prefixes'],
  ['MIRROR', 'MIRROR sends the packet back'],
]);

type Reader = (section: Section, family: Family) => Target | undefined;

const readers = new Map<string, Reader>([
  ['ACCEPT', plain({ kind: 'accept' })],
  ['DROP', plain({ kind: 'drop' })],
  ['RETURN', plain({ kind: 'return' })],
  ['NOTRACK', plain({ kind: 'notrack' })],
  ['REJECT', readReject],
  ['DNAT', (section, family) => readNat(section, family, 'dnat', '--to-destination')],
  ['SNAT', (section, family) => readNat(section, family, 'snat', '--to-source')],
  ['MASQUERADE', readMasquerade],
  ['REDIRECT', readRedirect],
  ['MARK', readMark],
  ['CONNMARK', readConnmark],
  ['CT', readCt],
  ['NETMAP', readNetmap],
  ['TTL', readTtlTarget],
  ['HL', readTtlTarget],
  ['TOS', readTosTarget],
  ['DSCP', readDscpTarget],
  ['SET', readSetTarget],
  ['TPROXY', readTproxy],
]);

/** Whether `-j NAME` names an extension and not a chain. iptables looks for extensions first. */
export const isExtension = (name: string): boolean =>
  readers.has(name) || passing.has(name) || outside.has(name);

export function lowerTarget(section: Section, family: Family): LoweredTarget {
  const { name } = section;
  const direct = readers.get(name)?.(section, family);
  if (direct !== undefined) return { target: direct };
  const text = sectionText(section);
  if (passing.has(name)) return { target: { kind: 'continue', text } };
  const why = outside.get(name);
  if (why !== undefined) return { target: { kind: 'unknown', text, why } };
  const reason = readers.has(name)
    ? `an option of ${name} is not understood`
    : `target ${name} is neither known nor a chain`;
  return { target: { kind: 'unknown', text, why: reason }, note: `${reason}: ${text}` };
}

function plain(target: Target): Reader {
  return ({ options }) => (options.length === 0 ? target : undefined);
}

/** Options by name with their one value; undefined if another option is present or a value is missing or superfluous. */
function only(section: Section, withValue: readonly string[], flags: readonly string[]) {
  const found = new Map<string, string>();
  for (const { name, negate, values } of section.options) {
    const expected = withValue.includes(name) ? 1 : flags.includes(name) ? 0 : undefined;
    if (negate || values.length !== expected || found.has(name)) return undefined;
    found.set(name, values[0] ?? '');
  }
  return found;
}

function readReject(section: Section, family: Family): Target | undefined {
  const options = only(section, ['--reject-with'], []);
  const fallback = family === 4 ? 'icmp-port-unreachable' : 'icmp6-port-unreachable';
  return options && { kind: 'reject', with: options.get('--reject-with') ?? fallback };
}

/** `--persistent`: how an address of the range is picked does not change which there are. */
const natFlags = ['--random', '--random-fully', '--persistent'];

const isRandom = (options: ReadonlyMap<string, string> | undefined): { readonly random?: true } =>
  options?.has('--random') || options?.has('--random-fully') ? { random: true } : {};

function readNat(
  section: Section,
  family: Family,
  kind: 'dnat' | 'snat',
  option: string,
): Target | undefined {
  const options = only(section, [option], natFlags);
  const text = options?.get(option);
  const range = text === undefined ? undefined : readNatRange(text, family);
  return range && { kind, range: { ...range, ...isRandom(options) } };
}

/**
 * `10.0.0.1`, `10.0.0.1-10.0.0.9:80-90`, `:80`, `[fd00::1]:80`, `[fd00::1-fd00::9]:80`, `fd00::1`. Shifted port ranges
 * (`80-90/100`) are not understood.
 */
function readNatRange(text: string, family: Family): NatRange | undefined {
  const split = family === 4 ? /^([0-9.-]*)(?::(.+))?$/.exec(text) : splitNat6(text);
  if (split === null) return undefined;
  const [, addressText = '', portText] = split;
  const addresses = addressText === '' ? {} : readAddressRange(addressText, family);
  const ports = portText === undefined ? undefined : readPortRange(portText, '-');
  if (addresses === undefined || (portText !== undefined && ports === undefined)) return undefined;
  if (addressText === '' && ports === undefined) return undefined;
  return { ...addresses, ...(ports === undefined ? {} : { ports }) };
}

/** Without brackets the whole text is an address or a range of two: colons then belong to it. */
function splitNat6(text: string): RegExpExecArray | null {
  const bare = text.split('-').every((part) => parseAddress(part) !== undefined);
  if (bare) return /^(.*)$/.exec(text);
  return /^(?:\[([0-9a-f:.-]+)\])?(?::([0-9-]+))?$/i.exec(text);
}

function readMasquerade(section: Section): Target | undefined {
  const options = only(section, ['--to-ports'], natFlags);
  const text = options?.get('--to-ports');
  if (options === undefined) return undefined;
  if (text === undefined) return { kind: 'masquerade', ...isRandom(options) };
  const ports = readPortRange(text, '-');
  return ports && { kind: 'masquerade', ports, ...isRandom(options) };
}

function readNetmap(section: Section, family: Family): Target | undefined {
  const text = only(section, ['--to'], [])?.get('--to');
  const prefix = text === undefined ? undefined : readNetwork(text, family);
  return prefix && { kind: 'netmap', prefix };
}

function readTtlTarget({ options }: Section): Target | undefined {
  const [option] = options;
  const how = /^--(?:ttl|hl)-(set|inc|dec)$/.exec(option?.name ?? '')?.[1];
  const value = readU32(option?.values[0]);
  if (options.length !== 1 || value === undefined || value > 255) return undefined;
  return how === 'set' || how === 'inc' || how === 'dec' ? { kind: 'set-ttl', how, value } : undefined;
}

/** xt_DSCP tos_tg: tos = (tos & ~mask) ^ value; --set-tos alone replaces the byte. */
function readTosTarget({ options }: Section): Target | undefined {
  const [option] = options;
  if (option === undefined || options.length !== 1 || option.values.length !== 1) return undefined;
  const found = readTosValue(option.values[0]);
  if (found === undefined) return undefined;
  const { value, mask } = found;
  switch (option.name) {
    case '--set-tos':
      return { kind: 'set-tos', value, mask };
    case '--and-tos':
      return { kind: 'set-tos', value: 0, mask: ~value & 0xff };
    case '--or-tos':
      return { kind: 'set-tos', value, mask: value };
    case '--xor-tos':
      return { kind: 'set-tos', value, mask: 0 };
    default:
      return undefined;
  }
}

function readDscpTarget({ options }: Section): Target | undefined {
  const [option] = options;
  if (option === undefined || options.length !== 1 || !/^--set-dscp(-class)?$/.test(option.name))
    return undefined;
  const value = readDscpValue(option);
  return value === undefined ? undefined : { kind: 'set-tos', value: value * 4, mask: 0xfc };
}

function readRedirect(section: Section): Target | undefined {
  const options = only(section, ['--to-ports'], natFlags);
  const text = options?.get('--to-ports');
  if (options === undefined) return undefined;
  if (text === undefined) return { kind: 'redirect', ...isRandom(options) };
  const ports = readPortRange(text, '-');
  return ports && { kind: 'redirect', ports, ...isRandom(options) };
}

/**
 * All spellings as mark = (mark & ~mask) ^ value (xt_MARK, mark_tg): --set-mark V/M is V/(V|M), --and-mark A is 0/~A,
 * --or-mark A is A/A, --xor-mark A is A/0.
 */
function lowerMark(name: string, text: string): { value: number; mask: number } | undefined {
  if (name === '--set-xmark' || name === '--set-mark') {
    const found = readValueMask(text);
    if (found === undefined) return undefined;
    const mask = found.mask ?? all;
    return { value: found.value, mask: name === '--set-mark' ? (found.value | mask) >>> 0 : mask };
  }
  const value = readU32(text);
  if (value === undefined) return undefined;
  switch (name) {
    case '--and-mark':
      return { value: 0, mask: ~value >>> 0 };
    case '--or-mark':
      return { value, mask: value };
    case '--xor-mark':
      return { value, mask: 0 };
    default:
      return undefined;
  }
}

function readMark({ options }: Section): Target | undefined {
  const [option] = options;
  if (option === undefined || options.length !== 1 || option.values.length !== 1) return undefined;
  const mark = lowerMark(option.name, option.values[0] ?? '');
  return mark && { kind: 'set-mark', ...mark };
}

function readConnmark(section: Section): Target | undefined {
  const [option] = section.options;
  if (option?.name !== '--save-mark' && option?.name !== '--restore-mark') {
    if (option === undefined || section.options.length !== 1 || option.values.length !== 1) return undefined;
    const mark = lowerMark(option.name, option.values[0] ?? '');
    return mark && { kind: 'set-connmark', ...mark };
  }
  const options = only(section, ['--nfmask', '--ctmask', '--mask'], ['--save-mark', '--restore-mark']);
  if (options === undefined) return undefined;
  // --mask sets both (iptables before 1.4).
  const mask = (name: string) => readU32(options.get(name) ?? options.get('--mask') ?? '0xffffffff');
  const nfmask = mask('--nfmask');
  const ctmask = mask('--ctmask');
  if (nfmask === undefined || ctmask === undefined) return undefined;
  return { kind: option.name === '--save-mark' ? 'save-connmark' : 'restore-connmark', nfmask, ctmask };
}
