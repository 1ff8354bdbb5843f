/** Match modules lowered to the model, one reader a module. */
import type { Match } from '../../model/netfilter.ts';
import type { Family } from '../../net/address.ts';
import { readConntrack } from './conntrack-match.ts';
import {
  readDscp,
  readMac,
  readOwner,
  readPacketType,
  readReversePath,
  readTos,
  readTtl,
} from './header-matches.ts';
import { readIcmpType } from './icmp.ts';
import { questionModules } from './module-matches.ts';
import { readAddressRange, readPortList, readPortRange, readU32, readValueMask } from './numbers.ts';
import { type Option, type Section, sectionText } from './options.ts';

/** Undefined: the option or its value is not understood. A list because one option may say two things. */
type Lowered = Match | readonly Match[] | undefined;
type OptionReader = (option: Option, family: Family) => Lowered;
type ModuleReader = (section: Section, family: Family) => readonly Match[] | undefined;

/** What `lowerModule` found: matches, a comment, and a note where the module or an option is not known at all. */
export interface LoweredModule {
  readonly matches: readonly Match[];
  readonly comment?: string;
  readonly note?: string;
}

export function lowerModule(section: Section, family: Family): LoweredModule {
  if (section.name === 'comment') {
    const text = section.options.find((option) => option.name === '--comment')?.values[0];
    return text === undefined ? { matches: [] } : { matches: [], comment: text };
  }
  const why = notInState.get(section.name);
  if (why !== undefined) return { matches: [{ kind: 'unknown', text: sectionText(section), why }] };
  const read = modules.get(section.name) ?? questionModules.get(section.name);
  const matches = read?.(section, family);
  if (matches !== undefined) return { matches };
  const reason =
    read === undefined ? `match module ${section.name} is not known` : `option or value is not understood`;
  return {
    matches: [{ kind: 'unknown', text: sectionText(section), why: reason }],
    note: `${reason}: ${sectionText(section)}`,
  };
}

/** Modules that are understood, and ask for facts that neither a snapshot nor the simulated packet has. */
const notInState = new Map<string, string>([
  ['ipvs', 'ipvs matches IPVS state'],
  ['realm', 'realm matches the routing realm'],
  ['osf', 'osf guesses the operating system of the sender'],
  ['cpu', 'cpu matches the processor that handles the packet'],
  ['cluster', 'cluster matches by a hash of the connection'],
  ['rateest', 'rateest compares measured rates'],
  ['eui64', 'eui64 compares the frame with the source address'],
]);

const tcpUdp: Readonly<Record<string, OptionReader>> = {
  '--sport': (option) => ports(option, 'src'),
  '--source-port': (option) => ports(option, 'src'),
  '--dport': (option) => ports(option, 'dst'),
  '--destination-port': (option) => ports(option, 'dst'),
};

const modules = new Map<string, ModuleReader>([
  [
    'tcp',
    eachOption({
      ...tcpUdp,
      '--tcp-flags': ({ negate, values }) => tcpFlags(negate, values[0], values[1]),
      '--syn': ({ negate }) => tcpFlags(negate, 'FIN,SYN,RST,ACK', 'SYN'),
    }),
  ],
  ['udp', eachOption(tcpUdp)],
  ['udplite', eachOption(tcpUdp)],
  ['sctp', eachOption(tcpUdp)],
  ['dccp', eachOption(tcpUdp)],
  [
    'multiport',
    eachOption({
      '--sports': (option) => portList(option, 'src'),
      '--source-ports': (option) => portList(option, 'src'),
      '--dports': (option) => portList(option, 'dst'),
      '--destination-ports': (option) => portList(option, 'dst'),
      '--ports': (option) => portList(option, 'either'),
    }),
  ],
  ['icmp', eachOption({ '--icmp-type': (option) => icmpType(option, 4) })],
  ['icmp6', eachOption({ '--icmpv6-type': (option) => icmpType(option, 6) })],
  ['icmpv6', eachOption({ '--icmpv6-type': (option) => icmpType(option, 6) })],
  ['state', readConntrack],
  ['conntrack', readConntrack],
  ['mark', eachOption({ '--mark': (option) => mark(option, 'mark') })],
  ['connmark', eachOption({ '--mark': (option) => mark(option, 'connmark') })],
  ['set', readSet],
  ['addrtype', readAddrtype],
  ['statistic', readStatistic],
  [
    'physdev',
    eachOption({
      '--physdev-in': ({ negate, values }) => physdevName(negate, 'in', values),
      '--physdev-out': ({ negate, values }) => physdevName(negate, 'out', values),
      '--physdev-is-in': ({ negate }) => ({ kind: 'physdev', negate, condition: 'is-in' }),
      '--physdev-is-out': ({ negate }) => ({ kind: 'physdev', negate, condition: 'is-out' }),
      '--physdev-is-bridged': ({ negate }) => ({ kind: 'physdev', negate, condition: 'is-bridged' }),
    }),
  ],
  [
    'iprange',
    eachOption({
      '--src-range': (option, family) => addressRange(option, 'src', family),
      '--dst-range': (option, family) => addressRange(option, 'dst', family),
    }),
  ],
  ['length', eachOption({ '--length': length })],
  ['ttl', eachOption({ '--ttl-eq': readTtl, '--ttl-lt': readTtl, '--ttl-gt': readTtl, '--ttl': equalTtl })],
  ['hl', eachOption({ '--hl-eq': readTtl, '--hl-lt': readTtl, '--hl-gt': readTtl })],
  ['tos', eachOption({ '--tos': readTos })],
  ['dscp', eachOption({ '--dscp': readDscp, '--dscp-class': readDscp })],
  ['pkttype', eachOption({ '--pkt-type': readPacketType })],
  ['mac', eachOption({ '--mac-source': readMac })],
  ['owner', readOwner],
  ['rpfilter', readReversePath],
  ['limit', rate],
  ['hashlimit', rate],
  ['connlimit', rate],
  ['quota', rate],
  ['time', rate],
  ['recent', readRecent],
  ['nfacct', (section) => [{ kind: 'always', text: sectionText(section) }]],
]);

/** Modules whose options are independent conditions, ANDed. A module without options is always true. */
function eachOption(readers: Readonly<Record<string, OptionReader>>): ModuleReader {
  return (section, family) => {
    if (section.options.length === 0) return [{ kind: 'always', text: sectionText(section) }];
    const matches: Match[] = [];
    for (const option of section.options) {
      const read = Object.hasOwn(readers, option.name) ? readers[option.name] : undefined;
      const lowered = read?.(option, family);
      if (lowered === undefined) return undefined;
      if (Array.isArray(lowered)) matches.push(...(lowered as readonly Match[]));
      else matches.push(lowered as Match);
    }
    return matches;
  };
}

function ports({ negate, values }: Option, side: 'src' | 'dst'): Lowered {
  const range = values.length === 1 ? readPortRange(values[0] ?? '') : undefined;
  return range && { kind: 'port', negate, side, ranges: [range] };
}

function portList({ negate, values }: Option, side: 'src' | 'dst' | 'either'): Lowered {
  const ranges = values.length === 1 ? readPortList(values[0] ?? '') : undefined;
  return ranges && { kind: 'port', negate, side, ranges };
}

const flagNames = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG'] as const;

function tcpFlags(negate: boolean, mask: string | undefined, set: string | undefined): Lowered {
  const maskFlags = readFlags(mask);
  const setFlags = readFlags(set);
  if (maskFlags === undefined || setFlags === undefined) return undefined;
  return { kind: 'tcp-flags', negate, mask: maskFlags, set: setFlags };
}

function readFlags(text: string | undefined): readonly string[] | undefined {
  if (text === undefined) return undefined;
  if (text === 'ALL') return flagNames;
  if (text === 'NONE') return [];
  const words = text.split(',');
  const known = flagNames.filter((flag) => words.includes(flag));
  return known.length === words.length ? known : undefined;
}

function icmpType({ negate, values }: Option, family: Family): Lowered {
  const found = values.length === 1 ? readIcmpType(values[0] ?? '', family) : undefined;
  return found && { kind: 'icmp-type', negate, ...found };
}

function equalTtl(option: Option): Lowered {
  return readTtl({ ...option, name: '--ttl-eq' });
}

function mark({ negate, values }: Option, kind: 'mark' | 'connmark'): Lowered {
  const found = values.length === 1 ? readValueMask(values[0]) : undefined;
  return found && { kind, negate, value: found.value, mask: found.mask ?? 0xffffffff };
}

/** Only counters of the set depend on the update options; conditions on the counters change the outcome. */
function readSet({ options }: Section): readonly Match[] | undefined {
  const matches: Match[] = [];
  const isNomatch = (name: string) => name === '--return-nomatch';
  const nomatch = options.some(({ name }) => isNomatch(name)) ? { nomatch: true as const } : {};
  for (const { name, negate, values } of options) {
    if (/^--update-(sub)?counters$/.test(name) || isNomatch(name)) continue;
    const directions = (values[1] ?? '')
      .split(',')
      .map((word) => (word === 'src' || word === 'dst' ? word : undefined));
    if (!/^--(match-)?set$/.test(name) || values.length !== 2 || directions.includes(undefined))
      return undefined;
    matches.push({
      kind: 'set',
      negate,
      set: values[0] ?? '',
      directions: directions.filter((word) => word !== undefined),
      ...nomatch,
    });
  }
  return matches.length === 0 ? undefined : matches;
}

function readAddrtype({ options }: Section): readonly Match[] | undefined {
  const matches: Match[] = [];
  const limits = options.flatMap(({ name }) => /^--limit-iface-(in|out)$/.exec(name)?.[1] ?? []);
  if (limits.length > 1) return undefined;
  const onDevice = limits[0] === undefined ? {} : ({ onDevice: limits[0] === 'in' ? 'in' : 'out' } as const);
  for (const { name, negate, values } of options) {
    if (name.startsWith('--limit-iface-') && values.length === 0 && !negate) continue;
    const types = (values[0] ?? '').toUpperCase().split(',');
    if (!/^--(src|dst)-type$/.test(name) || values.length !== 1) return undefined;
    if (!types.every((type) => addressTypes.has(type))) return undefined;
    matches.push({
      kind: 'addrtype',
      negate,
      side: name === '--src-type' ? 'src' : 'dst',
      types,
      ...onDevice,
    });
  }
  return matches.length === 0 ? undefined : matches;
}

const addressTypes: ReadonlySet<string> = new Set([
  'UNSPEC',
  'UNICAST',
  'LOCAL',
  'BROADCAST',
  'ANYCAST',
  'MULTICAST',
  'BLACKHOLE',
  'UNREACHABLE',
  'PROHIBIT',
  'THROW',
  'NAT',
  'XRESOLVE',
]);

function readStatistic({ options }: Section): readonly Match[] | undefined {
  const value = (name: string) => options.find((option) => option.name === name)?.values[0];
  const negate = options.some((option) => option.negate);
  switch (value('--mode')) {
    case 'random': {
      const text = value('--probability') ?? '';
      const probability = Number(text);
      if (text === '' || !(probability >= 0 && probability <= 1)) return undefined;
      return [{ kind: 'statistic', negate, probability }];
    }
    case 'nth': {
      const every = readU32(value('--every'));
      const packet = readU32(value('--packet') ?? '0');
      if (every === undefined || every === 0 || packet === undefined) return undefined;
      return [{ kind: 'statistic-nth', negate, every, packet }];
    }
    default:
      return undefined;
  }
}

function physdevName(negate: boolean, direction: 'in' | 'out', values: readonly string[]): Lowered {
  const [name] = values;
  return name === undefined || values.length > 1
    ? undefined
    : { kind: 'physdev-name', negate, direction, name };
}

function addressRange({ negate, values }: Option, side: 'src' | 'dst', family: Family): Lowered {
  const range = values.length === 1 ? readAddressRange(values[0] ?? '', family) : undefined;
  return range && { kind: 'address-range', negate, side, ...range };
}

function length({ negate, values }: Option): Lowered {
  const range = values.length === 1 ? readPortRange(values[0] ?? '') : undefined;
  return range && { kind: 'length', negate, ...range };
}

function rate(section: Section): readonly Match[] {
  return [{ kind: 'rate', text: sectionText(section) }];
}

/** `--set` only remembers the address and is always true; its negation is always false, which the model cannot say. */
function readRecent(section: Section): readonly Match[] | undefined {
  const { options } = section;
  const text = sectionText(section);
  const has = (name: string) => options.find((option) => option.name === name);
  const set = has('--set');
  if (set !== undefined) return set.negate ? undefined : [{ kind: 'always', text }];
  // pkg/proxy/iptables names the list after the endpoint's chain.
  const isAffinity = has('--rcheck') !== undefined && /^KUBE-SEP-/.test(has('--name')?.values[0] ?? '');
  if (isAffinity) return [{ kind: 'rate', text, affinity: true }];
  return ['--rcheck', '--update', '--remove'].some(has) ? [{ kind: 'rate', text }] : undefined;
}
