/** `netfilter diff` for people and as JSON. */
import type {
  NetfilterChange,
  NetfilterChangeKind,
  NetfilterDiff,
  NetfilterTableDiff,
  RulePlace,
} from '../model/netfilter-report.ts';
import { printable } from './connectivity.ts';
import { plural } from './netfilter-lint.ts';
import { hang, heading, type Style, type Tint } from './style.ts';

/** Both treat every packet alike, as far as it can be shown. */
export const meansTheSame = ({ tables }: NetfilterDiff): boolean =>
  tables.every(({ meaning }) => meaning.state === 'equal');

/** The answer in one line. */
function netfilterDiffHeadline(diff: NetfilterDiff): string {
  const changes = diff.tables.flatMap((table) => table.changes);
  const order = diff.tables.reduce((sum, { reordered, renamed }) => sum + reordered + renamed.length, 0);
  if (changes.length === 0)
    return order === 0
      ? 'No difference.'
      : 'No difference: only names of generated chains or an order that no packet can tell.';
  const count = plural(changes.length, ['difference', 'differences']);
  return meansTheSame(diff) ? `${count}, none of which changes anything for any packet` : count;
}

const signs: Readonly<Record<NetfilterChangeKind, readonly [string, Tint]>> = {
  added: ['+', 'green'],
  'chain-added': ['+', 'green'],
  'table-added': ['+', 'green'],
  removed: ['-', 'red'],
  'chain-removed': ['-', 'red'],
  'table-removed': ['-', 'red'],
  moved: ['~', 'yellow'],
  policy: ['~', 'yellow'],
  hook: ['~', 'yellow'],
  set: ['~', 'yellow'],
};

export function netfilterDiffText(diff: NetfilterDiff, style: Style): string {
  const lines = [style.tint('bold', netfilterDiffHeadline(diff))];
  for (const table of diff.tables) lines.push('', ...tableLines(table, style));
  return lines.join('\n');
}

function tableLines(table: NetfilterTableDiff, style: Style): string[] {
  const { family, table: name, backends, changes, meaning, renamed, reordered } = table;
  const [a, b] = backends;
  const lines = [heading(style, printable(`${family} ${name}${a === b ? '' : ` (${a} in A, ${b} in B)`}`))];
  let chain: string | undefined;
  for (const change of changes) {
    if (change.chain !== chain && change.chain !== '') {
      chain = change.chain;
      lines.push(`  ${printable(chain)}`);
    }
    lines.push(...changeLines(change, style));
  }
  if (changes.length > 0) lines.push(...hang('  ', printable(meaningText(table)), style));
  if (meaning.state === 'different')
    lines.push(...hang('    ', printable(`${meaning.packet}: A ${meaning.a}, B ${meaning.b}`), style));
  if (reordered > 0)
    lines.push(
      `  ${plural(reordered, ['rule stands', 'rules stand'])} in another order, which no packet can tell`,
    );
  const shown = style.verbose ? renamed : renamed.slice(0, 5);
  for (const [from, to] of shown) lines.push(style.tint('dim', printable(`  ${from} is now called ${to}`)));
  if (renamed.length > shown.length)
    lines.push(`  ${renamed.length - shown.length} more renamed chains with -v`);
  return lines;
}

function meaningText({ meaning }: NetfilterTableDiff): string {
  switch (meaning.state) {
    case 'equal':
      return 'No packet is treated differently: both tables decide the same for all of them.';
    case 'different':
      return `Packets are treated differently at ${meaning.hook}, such as:`;
    case 'unknown':
      return `Whether a packet is treated differently is not proven: ${meaning.why}.`;
  }
}

const at = ({ file, line }: RulePlace): string => (line === undefined ? file : `${file}:${line}`);

function changeLines({ kind, text, subject, a, b }: NetfilterChange, style: Style): string[] {
  const [sign, how] = signs[kind];
  const place = b ?? a;
  const isRule = kind === 'added' || kind === 'removed' || kind === 'moved';
  const about = subject === undefined ? '' : `  # ${subject}`;
  const said = isRule && place !== undefined ? `${place.text}${about}` : text;
  return [
    style.tint(how, printable(`    ${sign} ${said}`)),
    ...(place === undefined
      ? []
      : [style.tint('dim', printable(`      ${at(place)}${isRule ? `, ${text}` : ''}`))]),
  ];
}

const apiVersion = 'podpath.dev/v1alpha1';

/** docs/schema/netfilter-diff.json */
export function netfilterDiffJson(diff: NetfilterDiff) {
  return {
    apiVersion,
    kind: 'NetfilterDiff' as const,
    summary: netfilterDiffHeadline(diff),
    equivalent: meansTheSame(diff),
    tables: [...diff.tables],
  };
}
