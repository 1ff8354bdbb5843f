/** `netfilter show`: the rules as packets meet them, as text and as JSON. */
import type { NetfilterRules, ShownChain, ShownRule } from '../model/netfilter-report.ts';
import { printable } from './connectivity.ts';
import { heading, marks, type Style } from './style.ts';

/** One namespace's rules; the name is empty for files. */
export interface NamedRules {
  readonly name: string;
  readonly rules: NetfilterRules;
}

/** `chain` shows that chain alone with what it leads to, and who leads there. */
export function netfilterShowText(
  all: readonly NamedRules[],
  chain: string | undefined,
  style: Style,
): string {
  return all
    .map(({ name, rules }) => {
      const lines = name === '' ? [] : [heading(style, printable(name))];
      const body = chain === undefined ? everything(rules, style) : oneChain(rules, chain, style);
      return [...lines, ...body].join('\n');
    })
    .join('\n\n');
}

const tableKey = ({ backend, family, table }: ShownChain): string => `${backend} ${family} ${table}`;

function everything({ chains }: NetfilterRules, style: Style): string[] {
  const lines: string[] = [];
  const draw = treeOf(chains, style, lines);
  let hook = '';
  for (const chain of chains) {
    if (chain.base === undefined) break;
    // A chain that lets everything pass is no part of the picture.
    if (chain.rules.length === 0 && chain.base.policy !== 'DROP') continue;
    if (chain.base.hook !== hook) {
      hook = chain.base.hook;
      if (lines.length > 0) lines.push('');
      lines.push(heading(style, hook));
    }
    draw(chain, 1);
  }
  const rest = chains.filter(
    ({ base, reachable, rules }) => base === undefined && !reachable && rules.length > 0,
  );
  if (rest.length > 0) lines.push('', heading(style, 'no packet comes to'));
  for (const chain of rest) draw(chain, 1);
  return lines.length === 0 ? ['no rules'] : lines;
}

function oneChain({ chains }: NetfilterRules, name: string, style: Style): string[] {
  const found = chains.filter((chain) => chain.name === name);
  return found.flatMap((chain) => {
    const callers = chains.filter(
      (other) => tableKey(other) === tableKey(chain) && chain.calledBy.includes(other.name),
    );
    const called = callers.flatMap((caller) =>
      caller.rules
        .filter(({ targets }) => targets.includes(name))
        .map((rule) => printable(`  ${caller.name} ${placeText(rule)}: ${ownText(rule)}`)),
    );
    const lines = called.length === 0 ? [] : [heading(style, 'led to by'), ...called];
    treeOf(chains, style, lines)(chain, 0);
    return lines;
  });
}

const maxDepth = 12;

/** Draws into `lines` a chain with what it leads to; a chain that was drawn before is only named. */
function treeOf(chains: readonly ShownChain[], style: Style, lines: string[]) {
  const byKey = new Map(chains.map((chain) => [`${tableKey(chain)} ${chain.name}`, chain]));
  const drawn = new Set<ShownChain>();
  const draw = (chain: ShownChain, depth: number): void => {
    drawn.add(chain);
    const indent = '  '.repeat(depth);
    lines.push(`${indent}${style.tint('bold', printable(chainTitle(chain)))}`);
    for (const rule of chain.rules) {
      lines.push(ruleLine(rule, `${indent}  `, style));
      for (const target of rule.targets) {
        const next = byKey.get(`${tableKey(chain)} ${target}`);
        if (next === undefined || next.rules.length === 0) continue;
        if (drawn.has(next) || depth >= maxDepth)
          lines.push(
            style.tint(
              'dim',
              printable(`${indent}    ${target}: ${drawn.has(next) ? 'as above' : 'deeper'}`),
            ),
          );
        else draw(next, depth + 2);
      }
    }
  };
  return draw;
}

function chainTitle({ backend, family, table, name, base, owner, subject, rules }: ShownChain): string {
  const kind = owner === 'built-in' || owner === 'foreign' ? '' : owner;
  const about = [kind, subject].filter((word) => word !== undefined && word !== '').join(', ');
  const policy = base?.policy === undefined ? '' : `, policy ${base.policy}`;
  const devices = base === undefined || base.devices.length === 0 ? '' : `, on ${base.devices.join(' ')}`;
  const hook = base === undefined ? '' : ` (${backend}, priority ${base.priority}${policy}${devices})`;
  const where = base === undefined ? '' : `${family} ${table} `;
  return `${where}${name}${hook}${rules.length === 0 ? ' no rules' : ''}${about === '' ? '' : `  [${about}]`}`;
}

const placeText = ({ place }: ShownRule): string => (place.line === undefined ? '' : `${place.line}`);

/** The rule without its chain's name, comment, and nft's own counters. */
const ownText = ({ place, comment }: ShownRule): string =>
  place.text
    .replace(/^-A \S+ ?/, '')
    .replace(/^--append \S+ ?/, '')
    .replace(
      comment === undefined ? '' : / ?-m comment --comment ("(?:[^"\\]|\\.)*"|\S+)| comment "[^"]*"/,
      '',
    )
    .replace(/counter packets \d+ bytes \d+ ?/, '')
    .trim() || '(every packet, no target)';

function ruleLine(rule: ShownRule, indent: string, style: Style): string {
  const { counters, subject, comment, unknown, owner } = rule;
  const said = subject ?? comment;
  const parts = [
    `${indent}${placeText(rule).padStart(5)}  ${ownText(rule)}`,
    said === undefined ? '' : `  # ${said}`,
    counters === undefined ? '' : `  [${counters.packets} packets]`,
    style.verbose ? `  (${owner})` : '',
  ];
  const text = printable(parts.join(''));
  if (unknown.length === 0) return text;
  return `${text}  ${style.tint('yellow', printable(`${marks(style).unsure} ${unknown.join('; ')}`))}`;
}

const apiVersion = 'podpath.dev/v1alpha1';

/** docs/schema/netfilter-show.json */
export function netfilterShowJson(all: readonly NamedRules[], chain: string | undefined) {
  return {
    apiVersion,
    kind: 'NetfilterRules' as const,
    namespaces: all.map(({ name, rules }) => ({
      name,
      files: [...rules.files],
      chains: rules.chains.filter((one) => chain === undefined || one.name === chain),
    })),
  };
}
