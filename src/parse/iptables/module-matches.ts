/** Match modules that are kept as their text with the question they ask. */
import type { BpfInstruction, ModuleTest, U32Test } from '../../model/match-modules.ts';
import type { Match } from '../../model/netfilter.ts';
import { addressBits, type Family } from '../../net/address.ts';
import { readPortRange, readU32, readValueMask } from './numbers.ts';
import { type Option, type Section, sectionText } from './options.ts';

type Reader = (section: Section, family: Family) => readonly Match[] | undefined;

const matchOf = (section: Section, test: ModuleTest, negate = false): readonly Match[] => [
  { kind: 'module', negate, text: sectionText(section), test },
];

/** A module with one option that asks the question. */
const single =
  (
    names: readonly string[],
    read: (text: string, option: Option, family: Family) => ModuleTest | undefined,
  ): Reader =>
  (section, family) => {
    const [option] = section.options;
    if (option === undefined || section.options.length > 1 || !names.includes(option.name)) return undefined;
    const test = read(option.values.join(' '), option, family);
    return test && matchOf(section, test, option.negate);
  };

const flagsOf = (section: Section, known: readonly string[]): ReadonlySet<string> | undefined =>
  section.options.every(({ name, negate, values }) => known.includes(name) && !negate && values.length === 0)
    ? new Set(section.options.map(({ name }) => name))
    : undefined;

export const questionModules: ReadonlyMap<string, Reader> = new Map<string, Reader>([
  ['u32', single(['--u32'], readU32Tests)],
  ['bpf', single(['--bytecode'], readBpf)],
  ['string', readString],
  ['socket', readSocket],
  ['cgroup', single(['--path', '--cgroup'], () => ({ kind: 'cgroup' }))],
  ['helper', single(['--helper'], (name) => (name === '' ? undefined : { kind: 'helper', name }))],
  ['ecn', readEcn],
  ['connbytes', readConnbytes],
  ['connlimit', readConnlimit],
  ['devgroup', readDevgroup],
  [
    'tcpmss',
    single(['--mss'], (text) => (readPortRange(text) === undefined ? undefined : { kind: 'tcpmss' })),
  ],
  ['connlabel', readConnlabel],
  ['policy', readPolicy],
  ['ah', header([51])],
  ['esp', header([50])],
  ['ipcomp', header([108])],
  // Also over UDP.
  ['l2tp', header([115, 17])],
  ['frag', extension],
  ['rt', extension],
  ['hbh', extension],
  ['dst', extension],
  ['mh', header([135])],
  ['srh', extension],
  ['ipv6header', readHeaderList],
]);

function header(protocols: readonly number[]): Reader {
  return (section) => matchOf(section, { kind: 'protocol-header', protocols });
}

function extension(section: Section): readonly Match[] {
  return matchOf(section, { kind: 'extension-header' });
}

/** `0>>22&0x3c@4&0xff=1:5,9&&6&0xff=0x1`. */
function readU32Tests(text: string): ModuleTest | undefined {
  const tests: U32Test[] = [];
  for (const part of text.replace(/\s+/g, '').split('&&')) {
    const test = readU32Test(part);
    if (test === undefined) return undefined;
    tests.push(test);
  }
  return { kind: 'u32', tests };
}

const u32Operators = { '&': 'and', '<<': 'left', '>>': 'right', '@': 'at' } as const;

function readU32Test(text: string): U32Test | undefined {
  const [place = '', values, ...more] = text.split('=');
  if (values === undefined || more.length > 0) return undefined;
  const words = place.split(/(&|<<|>>|@)/);
  const start = readU32(words[0]);
  const steps: U32Test['steps'][number][] = [];
  for (let i = 1; i < words.length; i += 2) {
    const sign = words[i];
    const number = readU32(words[i + 1]);
    if (number === undefined || (sign !== '&' && sign !== '<<' && sign !== '>>' && sign !== '@'))
      return undefined;
    steps.push({ operator: u32Operators[sign], number });
  }
  const ranges = values.split(',').map((range) => {
    const [from, to = from, ...rest] = range.split(':').map(readU32);
    return from === undefined || to === undefined || rest.length > 0 ? undefined : { from, to };
  });
  const read = ranges.filter((range) => range !== undefined);
  return start === undefined || read.length < ranges.length ? undefined : { start, steps, ranges: read };
}

/** `4,48 0 0 9,21 0 1 6,6 0 0 1,6 0 0 0`: the count, then the instructions. */
function readBpf(text: string, { name }: Option): ModuleTest | undefined {
  const [count, ...lines] = text.split(',');
  if (name !== '--bytecode' || Number(count) !== lines.length || lines.length === 0) return undefined;
  const program = lines.map((line): BpfInstruction | undefined => {
    const [code, jumpTrue, jumpFalse, k, ...more] = line.trim().split(/\s+/).map(readU32);
    if (code === undefined || jumpTrue === undefined || jumpFalse === undefined || k === undefined)
      return undefined;
    return more.length > 0 ? undefined : { code, jumpTrue, jumpFalse, k };
  });
  const read = program.filter((instruction) => instruction !== undefined);
  return read.length < program.length ? undefined : { kind: 'bpf', program: read };
}

function readString(section: Section): readonly Match[] | undefined {
  const value = (name: string) => section.options.find((option) => option.name === name)?.values[0];
  const known = ['--string', '--hex-string', '--algo', '--from', '--to', '--icase'];
  const text = section.options.find(({ name }) => name === '--string' || name === '--hex-string');
  const from = readU32(value('--from') ?? '0');
  const to = readU32(value('--to') ?? '65535');
  if (text === undefined || from === undefined || to === undefined) return undefined;
  if (!section.options.every(({ name }) => known.includes(name))) return undefined;
  const bytes = text.name === '--string' ? [...Buffer.from(text.values[0] ?? '')] : hexBytes(text.values[0]);
  if (bytes === undefined || bytes.length === 0) return undefined;
  const ignoreCase = section.options.some(({ name }) => name === '--icase');
  return matchOf(section, { kind: 'string', bytes, from, to, ignoreCase }, text.negate);
}

/** `ab|20 63|d`: hexadecimal between bars. */
function hexBytes(text = ''): readonly number[] | undefined {
  const bytes: number[] = [];
  for (const [i, part] of text.split('|').entries()) {
    if (i % 2 === 0) bytes.push(...Buffer.from(part));
    else {
      const hex = part.replace(/\s+/g, '');
      if (!/^([0-9a-f]{2})*$/i.test(hex)) return undefined;
      bytes.push(...Buffer.from(hex, 'hex'));
    }
  }
  return bytes;
}

function readSocket(section: Section): readonly Match[] | undefined {
  const flags = flagsOf(section, ['--nowildcard', '--transparent']);
  return (
    flags &&
    matchOf(section, {
      kind: 'socket',
      wildcard: flags.has('--nowildcard'),
      transparent: flags.has('--transparent'),
    })
  );
}

function readEcn(section: Section): readonly Match[] | undefined {
  const [option] = section.options;
  if (option === undefined || section.options.length > 1) return undefined;
  const { name, negate, values } = option;
  if (name === '--ecn-ip-ect') {
    const value = readU32(values[0]);
    return value === undefined || value > 3
      ? undefined
      : matchOf(section, { kind: 'ecn', field: 'ect', value }, negate);
  }
  if (values.length > 0) return undefined;
  if (name === '--ecn-tcp-cwr') return matchOf(section, { kind: 'ecn', field: 'cwr' }, negate);
  return name === '--ecn-tcp-ece' ? matchOf(section, { kind: 'ecn', field: 'ece' }, negate) : undefined;
}

function readConnbytes(section: Section): readonly Match[] | undefined {
  const option = (name: string) => section.options.find((one) => one.name === name);
  const amount = option('--connbytes');
  const [from, to, ...more] = (amount?.values[0] ?? '').split(':');
  const direction = (['original', 'reply', 'both'] as const).find(
    (word) => word === option('--connbytes-dir')?.values[0],
  );
  const mode = (['packets', 'bytes', 'avgpkt'] as const).find(
    (word) => word === option('--connbytes-mode')?.values[0],
  );
  if (amount === undefined || direction === undefined || mode === undefined || more.length > 0)
    return undefined;
  if (!/^\d{1,15}$/.test(from ?? '') || !/^\d{0,15}$/.test(to ?? '')) return undefined;
  return matchOf(
    section,
    {
      kind: 'connbytes',
      from: Number(from),
      ...(to === undefined || to === '' ? {} : { to: Number(to) }),
      direction,
      mode,
    },
    amount.negate,
  );
}

function readConnlimit(section: Section, family: Family): readonly Match[] | undefined {
  const option = (name: string) => section.options.find((one) => one.name === name);
  const above = option('--connlimit-above');
  const limit = above ?? option('--connlimit-upto');
  const count = readU32(limit?.values[0]);
  const prefixLength = readU32(option('--connlimit-mask')?.values[0] ?? String(addressBits(family)));
  if (limit === undefined || count === undefined || prefixLength === undefined) return undefined;
  if (prefixLength > addressBits(family)) return undefined;
  const side = option('--connlimit-daddr') === undefined ? 'src' : 'dst';
  const negate = (above === undefined) !== limit.negate;
  return matchOf(section, { kind: 'connlimit', count, prefixLength, side }, negate);
}

function readDevgroup(section: Section): readonly Match[] | undefined {
  const matches: Match[] = [];
  for (const { name, negate, values } of section.options) {
    const found = readValueMask(values[0]);
    if (found === undefined || !/^--(src|dst)-group$/.test(name)) return undefined;
    const { value, mask = 0xffffffff } = found;
    const direction = name === '--src-group' ? 'in' : 'out';
    const text = `-m devgroup ${negate ? '! ' : ''}${name} ${values[0]}`;
    matches.push({ kind: 'module', negate, text, test: { kind: 'devgroup', direction, value, mask } });
  }
  return matches.length === 0 ? undefined : matches;
}

function readConnlabel(section: Section): readonly Match[] | undefined {
  const label = section.options.find(({ name }) => name === '--label');
  // --set changes the connection.
  if (label === undefined || section.options.length > 1) return undefined;
  return matchOf(section, { kind: 'connlabel', label: label.values.join(' ') }, label.negate);
}

function readPolicy(section: Section): readonly Match[] | undefined {
  const value = (name: string) => section.options.find((option) => option.name === name)?.values[0];
  const direction = value('--dir');
  const wants = value('--pol');
  if ((direction !== 'in' && direction !== 'out') || (wants !== 'none' && wants !== 'ipsec'))
    return undefined;
  return matchOf(section, { kind: 'policy', direction, wants });
}

/** Names of the headers by their long names, short names and numbers. */
const headerNames: Readonly<Record<string, string>> = {
  hop: 'hop',
  'hop-by-hop': 'hop',
  '0': 'hop',
  dst: 'dst',
  'ipv6-opts': 'dst',
  '60': 'dst',
  route: 'route',
  'ipv6-route': 'route',
  '43': 'route',
  frag: 'frag',
  'ipv6-frag': 'frag',
  '44': 'frag',
  auth: 'auth',
  ah: 'auth',
  '51': 'auth',
  esp: 'esp',
  '50': 'esp',
  none: 'none',
  'ipv6-nonxt': 'none',
  '59': 'none',
  prot: 'prot',
  protocol: 'prot',
};

function readHeaderList(section: Section): readonly Match[] | undefined {
  const option = section.options.find(({ name }) => name === '--header');
  const headers = (option?.values[0] ?? '').split(',').map((name) => headerNames[name]);
  const read = headers.filter((name) => name !== undefined);
  if (option === undefined || read.length < headers.length) return undefined;
  const soft = section.options.some(({ name }) => name === '--soft');
  return matchOf(section, { kind: 'header-list', headers: [...new Set(read)].sort(), soft }, option.negate);
}
