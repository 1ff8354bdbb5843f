/** What the random rules of netfilter-rules.ts and nft-rules.ts do not have, and what they have that no answer can be given for. */
import type { Random } from './netfilter-support.ts';

/**
 * Ports that the kernel makes up are asked of netfilter.test.ts and nft.test.ts: here an answer must know to whom it goes. A
 * protocol is named once only, or the tools refuse the line.
 */
export const foreseeable = (rules: string): string =>
  rules
    .replace(/ --random(-fully)?\b/g, '')
    .replace(/ --to-ports \d+-\d+/g, '')
    .replace(/:5000-6000\b/g, '')
    .replace(/ to :1024-60000/g, '')
    .replace(/ (fully-)?random(,persistent)?$/gm, '')
    .replace(/^(.* -p .*) -p (tcp|udp) (-j .*)$/gm, '$1 $3');

const not = (random: Random): string => (random.chance(0.25) ? '! ' : '');

function match(random: Random, family: 4 | 6): string {
  const four = family === 4;
  const address = four ? '10.2.0.2' : 'fd00:2::2';
  const hops = four ? '-m ttl --ttl' : '-m hl --hl';
  return random.pick([
    `-m connbytes ${not(random)}--connbytes ${1 + random.int(3)} --connbytes-dir ${random.pick(['original', 'reply', 'both'])} --connbytes-mode packets`,
    `-m connbytes --connbytes 50:200 --connbytes-dir both --connbytes-mode ${random.pick(['bytes', 'avgpkt'])}`,
    `-m conntrack ${not(random)}--ctstatus ${random.pick(['ASSURED', 'SEEN_REPLY', 'CONFIRMED', 'NONE'])}`,
    `-m conntrack --ctdir ${random.pick(['ORIGINAL', 'REPLY'])}`,
    `-m conntrack ${not(random)}--ctproto tcp --ctorigdstport ${random.pick([53, 80, '80:443'])}`,
    `-m conntrack ${not(random)}--${random.pick(['ctorigsrc', 'ctorigdst', 'ctreplsrc', 'ctrepldst'])} ${address}`,
    `${hops}-${random.pick(['eq', 'lt', 'gt'])} ${random.pick([62, 63, 64])}`,
    `-m tos ${not(random)}--tos ${random.pick(['0x10/0x1c', '0x04/0xff', '0xc0/0xc0'])}`,
    `-m dscp ${not(random)}--dscp ${random.pick([0, 1, 4, 46, 48])}`,
    `-m set ${not(random)}--match-set ${four ? 's' : 's6'}-ip ${random.pick(['src', 'dst'])}`,
    `-m u32 ${not(random)}--u32 "${four ? random.pick(['0>>22&0x3c@0>>16&0xffff=1024:1500', '6&0xff=6,17', '16&0xff=2']) : random.pick(['4&0xff00=0x600', '36&0xffff=2', '40>>16=1024:1600'])}"`,
  ]);
}

/** `chain` is one of mangle: all of its targets may stand there. */
function target(random: Random, family: 4 | 6): string {
  const four = family === 4;
  const set = four ? 's' : 's6';
  return random.pick([
    '-j MARK --set-xmark 0x1/0x1',
    '-j MARK --set-xmark 0x2/0x2',
    '-j CONNMARK --set-xmark 0x1/0x1',
    '-j TOS --set-tos 0x10/0x10',
    `-j SET --add-set ${set}-ip ${random.pick(['src', 'dst'])}`,
    `-j SET --del-set ${set}-ip ${random.pick(['src', 'dst'])}`,
    `-j SET --add-set ${set}-ipport ${random.pick(['src,src', 'dst,dst', 'src,dst'])}`,
    `-j SET --del-set ${set}-net ${random.pick(['src', 'dst'])}`,
    four ? '-j TTL --ttl-set 40' : '-j HL --hl-set 40',
    '-j DROP',
  ]);
}

const hooks = ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'];

function zoneRules(random: Random): string[] {
  const id = () => random.pick([1, 5, 'mark']);
  const one = () =>
    random.pick([`--zone ${id()}`, `--zone ${id()}`, `--zone-orig ${id()}`, `--zone-reply ${id()}`]);
  const device = () => random.pick(['tin', 'tout', 'tc', 'td']);
  const lines = [`-A PREROUTING -i ${device()} -j CT ${one()}`];
  if (random.chance(0.5)) lines.push(`-A PREROUTING -i ${device()} -p tcp -j CT ${one()}`);
  if (random.chance(0.3)) lines.push(`-A OUTPUT -p ${random.pick(['tcp', 'udp'])} -j CT ${one()}`);
  return lines;
}

/** The rules with conntrack zones, sets that rules change, and rarer matches. */
export function enriched(random: Random, rules: string, family: 4 | 6): string {
  const lines: string[] = [];
  for (let i = 1 + random.int(5); i > 0; i--)
    lines.push(`-A ${random.pick(hooks)} ${match(random, family)} ${target(random, family)}`);
  const withMangle = inTable(rules, 'mangle', lines);
  return random.chance(0.2) ? inTable(withMangle, 'raw', zoneRules(random)) : withMangle;
}

/** Lines at the start of a table, behind the names of its chains. */
function inTable(rules: string, table: string, lines: readonly string[]): string {
  const text = lines.map((line) => `${line}\n`).join('');
  const head = new RegExp(`^\\*${table}\\n(:.*\\n)*`, 'm');
  return head.test(rules)
    ? rules.replace(head, (found) => found + text)
    : `${rules}*${table}\n${text}COMMIT\n`;
}
