/** What explains a step: the rules that a packet matched, what the kernel shows of a loss, and the rule it just missed. */
import { formatSource, type SourceRef } from '../model/source.ts';
import type { KernelWords, NearRule, RuleVisit, Step } from '../model/verdict.ts';
import { type Style, wrap } from './style.ts';

/** Below a break: chain stack, counter, the kernel's words, and the nearest rules. */
export function breakLines(
  { facts = {}, kernel, nearest = [] }: Step,
  width: number,
  style: Style,
): string[] {
  const chains = facts.chains ?? '';
  return [
    ...(chains.includes(' > ') ? hung('chains   ', chains, width) : []),
    ...(facts.packets === undefined ? [] : hung('counter  ', counterText(Number(facts.packets)), width)),
    ...(kernel === undefined ? [] : hung('kernel   ', kernelText(kernel), width)),
    ...nearest
      .slice(0, style.verbose ? undefined : 1)
      .flatMap((rule, i) => nearLines(rule, i === 0, width, style)),
  ].map((line) => style.tint('dim', line));
}

/** A rule that never counted a packet is weak evidence, if the dump is younger than the failure. */
const counterText = (packets: number): string =>
  packets === 0
    ? '0 packets when the dump was taken: by then it had lost none'
    : `${grouped(packets)} ${packets === 1 ? 'packet' : 'packets'} when the dump was taken`;

const grouped = (value: number): string => String(value).replace(/\B(?=(\d{3})+$)/g, ',');

function kernelText({ dropReason, symptom, counter, counted }: KernelWords): string {
  const stood = counted === undefined ? '' : ` (${grouped(counted)} in the dump)`;
  return [
    ...(dropReason === undefined ? [] : [dropReason]),
    symptom.startsWith('silent')
      ? symptom.replace('silent', 'the sender hears nothing')
      : `the sender gets ${symptom}`,
    counter === undefined ? 'no SNMP counter rises' : `${counter} rises${stood}`,
  ].join('; ');
}

const hows: Readonly<Record<NearRule['how'], string>> = {
  accept: 'accepts with',
  return: 'leads past it with',
  mark: 'lets it pass with',
  late: 'would accept it, but stands behind the rule that drops',
};

/** What the packet lacks first: the rule itself is for looking it up. */
function nearLines(
  { how, needs, about, source, through }: NearRule,
  isFirst: boolean,
  width: number,
  style: Style,
): string[] {
  const whom = about === undefined ? 'a rule' : about;
  const lines = [
    ...hung(
      isFirst ? 'nearest  ' : '         ',
      `${whom} ${hows[how]}${how === 'late' ? '' : ` ${needs.join(', and ')}`}`,
      width,
    ),
    ...hung('         ', `${placeText(source)}: ${ruleText(source)}`, width),
  ];
  if (through === undefined || !style.verbose) return lines;
  return [...lines, ...hung('         ', `which is asked for by ${ruleText(through)}`, width)];
}

/** The rules hop by hop, one block for each hook and table, indented as the chains call each other. */
export function ruleLines(rules: readonly RuleVisit[], width: number, style: Style): string[] {
  let block = '';
  return rules.flatMap((visit) => {
    const own = `${visit.hook} ${visit.table}${fileOf(visit.source)}`;
    const head = own === block ? [] : [style.tint('cyan', own)];
    block = own;
    return [...head, ...visitLines(visit, width).map((line) => style.tint('dim', line))];
  });
}

const fileOf = (source: SourceRef): string => (source.kind === 'file' ? `  ${source.file}` : '');

function visitLines(visit: RuleVisit, width: number): string[] {
  const { chains, source, verdict, packets, effect, about, policy } = visit;
  const indent = '  '.repeat(Math.min(chains.length, 6));
  const line = source.kind === 'file' && source.line !== undefined ? `:${source.line} ` : '';
  const text =
    policy === true
      ? `policy of ${chains[0]}: ${verdict}`
      : `${line}${ruleText(source)}${plainVerdict(visit)}`;
  const notes = [
    ...(about === undefined ? [] : [about]),
    ...(effect === undefined ? [] : [effect]),
    ...(packets === undefined || policy === true ? [] : [`${grouped(packets)} packets`]),
  ];
  return [
    ...hung(indent, text, width),
    ...(notes.length === 0 ? [] : hung(`${indent}  `, `[${notes.join('; ')}]`, width)),
  ];
}

/** Text of iptables says what the rule does; native rules that come from JSON may not. */
const plainVerdict = ({ backend, verdict, to }: RuleVisit): string =>
  backend === 'nftables' ? `: ${verdict}${to === undefined ? '' : ` ${to}`}` : '';

/** Without the counters that a save with -c puts in front. */
const ruleText = (source: SourceRef): string =>
  source.kind === 'file' ? source.text.replace(/^\[\d+:\d+\] /, '') : formatSource(source);

const placeText = (source: SourceRef): string =>
  source.kind === 'file'
    ? `${source.file}${source.line === undefined ? '' : `:${source.line}`}`
    : formatSource(source);

const hung = (first: string, text: string, width: number): string[] =>
  wrap(text, Math.max(30, width - first.length)).map(
    (line, i) => `${i === 0 ? first : ' '.repeat(first.length)}${line}`,
  );
