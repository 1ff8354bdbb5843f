/** -m conntrack: the state, and what is asked about the connection's entry. */
import type { CtCondition, CtState, Match } from '../../model/netfilter.ts';
import type { Family } from '../../net/address.ts';
import { readNetwork, readPortRange, readProtocol } from './numbers.ts';
import { type Option, optionText, type Section, sectionText } from './options.ts';

const ctStates: readonly CtState[] = [
  'INVALID',
  'NEW',
  'RELATED',
  'ESTABLISHED',
  'UNTRACKED',
  'SNAT',
  'DNAT',
];

function readCtStates({ values }: Option): readonly CtState[] | undefined {
  const words = (values[0] ?? '').toUpperCase().split(',');
  const states = words.flatMap((word) => ctStates.filter((state) => state === word));
  return values.length === 1 && states.length === words.length ? states : undefined;
}

/** The options of one section belong together: without a connection they are one question (conntrack_mt). */
export function readConntrack(section: Section, family: Family): readonly Match[] | undefined {
  const { options } = section;
  if (options.length === 0) return [{ kind: 'always', text: sectionText(section) }];
  let states: Extract<Match, { kind: 'ct-entry' }>['states'];
  const conditions: CtCondition[] = [];
  for (const option of options) {
    if (option.name === '--ctstate' || option.name === '--state') {
      const read = readCtStates(option);
      if (read === undefined || states !== undefined) return undefined;
      states = { negate: option.negate, states: read };
      continue;
    }
    const condition = readCondition(option, family);
    if (condition === undefined) return undefined;
    conditions.push(condition);
  }
  if (conditions.length > 0)
    return [{ kind: 'ct-entry', negate: false, ...(states === undefined ? {} : { states }), conditions }];
  return states && [{ kind: 'ct-state', ...states }];
}

const tupleOption = /^--ct(orig|repl)(src|dst)(port)?$/;

function readCondition(option: Option, family: Family): CtCondition | undefined {
  const { name, negate, values } = option;
  const [value] = values;
  if (value === undefined || values.length > 1) return undefined;
  const [, which, side, port] = tupleOption.exec(name) ?? [];
  if (side !== undefined) {
    const place = {
      negate,
      tuple: which === 'orig' ? 'original' : 'reply',
      side: side === 'src' ? 'src' : 'dst',
    } as const;
    if (port !== undefined) {
      const range = readPortRange(value);
      return range && { kind: 'port', ...place, range };
    }
    const prefix = readNetwork(value, family);
    return prefix && { kind: 'address', ...place, prefix };
  }
  switch (name) {
    case '--ctproto': {
      const protocol = readProtocol(value);
      return protocol === undefined ? undefined : { kind: 'protocol', negate, protocol };
    }
    case '--ctdir':
      return readDirection(negate, value.toUpperCase());
    case '--ctstatus':
      return readStatus(negate, value.toUpperCase());
    case '--ctexpire':
      return { kind: 'other', text: optionText(option) };
    default:
      return undefined;
  }
}

function readDirection(negate: boolean, text: string): CtCondition | undefined {
  if (text !== 'ORIGINAL' && text !== 'REPLY') return undefined;
  return { kind: 'direction', negate, direction: text === 'REPLY' ? 'reply' : 'original' };
}

const statusFlags: ReadonlySet<string> = new Set(['EXPECTED', 'SEEN_REPLY', 'ASSURED', 'CONFIRMED']);

function readStatus(negate: boolean, text: string): CtCondition | undefined {
  const flags = text.split(',').filter((word) => word !== 'NONE');
  return flags.every((flag) => statusFlags.has(flag)) ? { kind: 'status', negate, flags } : undefined;
}

/** The options as iptables reads them back, `-m conntrack` in front. */
export function printConntrack(
  { states, conditions }: Extract<Match, { kind: 'ct-entry' }>,
  printNetwork: (prefix: Extract<CtCondition, { kind: 'address' }>['prefix']) => string,
): string {
  const words = ['-m conntrack'];
  const add = (negate: boolean, text: string) => words.push(`${negate ? '! ' : ''}${text}`);
  if (states !== undefined) add(states.negate, `--ctstate ${states.states.join(',')}`);
  for (const condition of conditions) {
    switch (condition.kind) {
      case 'protocol':
        add(condition.negate, `--ctproto ${condition.protocol}`);
        break;
      case 'address':
        add(condition.negate, `--ct${tupleName(condition)} ${printNetwork(condition.prefix)}`);
        break;
      case 'port': {
        const { from, to } = condition.range;
        add(condition.negate, `--ct${tupleName(condition)}port ${from === to ? from : `${from}:${to}`}`);
        break;
      }
      case 'direction':
        add(condition.negate, `--ctdir ${condition.direction.toUpperCase()}`);
        break;
      case 'status':
        add(condition.negate, `--ctstatus ${condition.flags.join(',') || 'NONE'}`);
        break;
      case 'other':
        words.push(condition.text);
    }
  }
  return words.join(' ');
}

const tupleName = ({
  tuple,
  side,
}: {
  readonly tuple: 'original' | 'reply';
  readonly side: string;
}): string => `${tuple === 'original' ? 'orig' : 'repl'}${side}`;
