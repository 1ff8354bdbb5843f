/** Native nftables tables as programs. */
import type { NftExpr, NftRule, NftSetUse, NftStatement, NftTable, NftVerdict } from '../../../model/nft.ts';
import { isEmpty } from './field-sets.ts';
import { type Fields, fieldsOf } from './nft-match.ts';
import { type Effect, type MarkChange, noChange, type Program, type ProgramRule } from './program.ts';
import { anyPacket, type Box, boxKey, meet } from './region.ts';

export function lowerNftTable(table: NftTable): Program {
  return {
    backend: 'nftables',
    family: table.family,
    table: table.name,
    file: table.file,
    bases: table.baseChains.map(({ name, hook, priority, type, policy, devices }) => ({
      chain: name,
      hook,
      priority,
      nat: type === 'nat',
      policy: policy === 'drop' ? ('drop' as const) : ('accept' as const),
      devices,
    })),
    chains: new Map(
      [...table.chains.values()].map(({ name, rules, source }) => [
        name,
        { name, source, declared: true, rules: rules.map((rule, index) => lowerRule(rule, index, table)) },
      ]),
    ),
    sets: new Map(
      [...table.sets.values()].map(({ name, elements }) => [
        name,
        elements.map(({ key, value, verdict }) => JSON.stringify([key, value ?? verdict])).sort(),
      ]),
    ),
  };
}

interface Draft {
  box: Box | undefined;
  effect: Effect;
  readonly volatile: string[];
  readonly changes: Set<string>;
  mark: MarkChange | undefined;
  readonly sets: Set<string>;
  readonly notUnderstood: string[];
}

function lowerRule(rule: NftRule, index: number, table: NftTable): ProgramRule {
  const draft: Draft = {
    box: anyPacket,
    effect: { kind: 'continue' },
    volatile: [],
    changes: new Set(),
    mark: undefined,
    sets: new Set(),
    notUnderstood: [],
  };
  for (const statement of rule.statements) addStatement(draft, statement, table);
  const { box, effect, volatile, changes, mark, sets, notUnderstood } = draft;
  return {
    index,
    region: box === undefined ? [] : [box],
    ...(volatile.length === 0 ? {} : { volatile: volatile.join(' ') }),
    effect,
    changes: changes.size === 0 ? noChange : changes,
    ...(mark === undefined ? {} : { mark }),
    sets: [...sets],
    notUnderstood,
    key: `${box === undefined ? 'none' : boxKey(box)} => ${JSON.stringify(rule.statements.filter(({ kind }) => kind !== 'match'))} ${volatile.join(' ')}`,
    ...(rule.comment === undefined ? {} : { comment: rule.comment }),
    ...(rule.counters === undefined ? {} : { counters: rule.counters }),
    source: rule.source,
  };
}

function addStatement(draft: Draft, statement: NftStatement, table: NftTable): void {
  collectSets(statement, draft.sets);
  switch (statement.kind) {
    case 'match': {
      const fields = draft.changes.size > 0 ? 'volatile' : fieldsOf(statement, table.family);
      if (fields === 'volatile') draft.volatile.push(JSON.stringify(statement));
      else draft.box = narrowed(draft.box, fields);
      if (hasUnknown(statement.left) || hasUnknown(statement.right))
        draft.notUnderstood.push(JSON.stringify(statement));
      return;
    }
    case 'rate':
      draft.volatile.push(statement.text);
      return;
    case 'verdict':
      draft.effect = verdictEffect(statement.verdict);
      return;
    case 'vmap':
      draft.effect = mapEffect(statement.data, table);
      return;
    case 'reject':
      draft.effect = { kind: 'verdict', verdict: `reject ${statement.type} ${statement.code}` };
      return;
    case 'nat':
      draft.effect = { kind: 'verdict', verdict: JSON.stringify(statement) };
      return;
    case 'set-mark':
    case 'set-ct-mark': {
      const field = statement.kind === 'set-mark' ? 'mark' : 'connmark';
      draft.mark = draft.changes.size > 0 ? undefined : markChange(field, statement.value);
      draft.changes.add(field);
      return;
    }
    case 'update-set':
      draft.changes.add('set:');
      return;
    case 'notrack':
      draft.changes.add('state');
      draft.changes.add('connmark');
      return;
    case 'unknown':
      draft.changes.add('*');
      draft.effect = { kind: 'unknown', text: statement.text };
      draft.notUnderstood.push(`${statement.text}: ${statement.why}`);
  }
}

function narrowed(box: Box | undefined, fields: Fields): Box | undefined {
  if (fields.some(([, set]) => isEmpty(set))) return undefined;
  return fields.reduce<Box | undefined>(
    (all, field) => (all === undefined ? undefined : meet(all, new Map([field]))),
    box,
  );
}

function verdictEffect(verdict: NftVerdict): Effect {
  switch (verdict.kind) {
    case 'accept':
    case 'drop':
      return { kind: 'verdict', verdict: verdict.kind };
    case 'return':
    case 'continue':
      return { kind: verdict.kind };
    case 'jump':
    case 'goto':
      return { kind: verdict.kind, chain: verdict.chain };
    case 'unknown':
      return { kind: 'unknown', text: verdict.text };
  }
}

function mapEffect(data: NftSetUse, table: NftTable): Effect {
  const elements = data.kind === 'set' ? data.set.elements : table.sets.get(data.name)?.elements;
  const verdicts = (elements ?? []).flatMap(({ verdict }) =>
    verdict === undefined ? [] : [verdictEffect(verdict)],
  );
  return { kind: 'choice', of: verdicts };
}

/** `mark | v`, `mark & v`, `mark ^ v` and a number; undefined for anything else. */
function markChange(field: MarkChange['field'], value: NftExpr): MarkChange | undefined {
  const number = numberOf(value);
  if (number !== undefined) return { field, value: number, mask: 0xffffffff };
  if (value.kind !== 'binary' || !isMark(value.left, field)) return undefined;
  const operand = numberOf(value.right);
  if (operand === undefined) return undefined;
  switch (value.op) {
    case '|':
      return { field, value: operand, mask: operand };
    case '&':
      return { field, value: 0, mask: ~operand >>> 0 };
    case '^':
      return { field, value: operand, mask: 0 };
    default:
      return undefined;
  }
}

const isMark = (value: NftExpr, field: MarkChange['field']): boolean =>
  field === 'mark'
    ? value.kind === 'meta' && value.key === 'mark'
    : value.kind === 'ct' && value.key === 'mark';

function numberOf(value: NftExpr): number | undefined {
  if (value.kind !== 'constant' || typeof value.value === 'boolean') return undefined;
  const number = Number(value.value);
  return Number.isInteger(number) && number >= 0 && number <= 0xffffffff ? number : undefined;
}

/** Named sets and maps anywhere in a statement. */
function collectSets(value: unknown, into: Set<string>): void {
  if (typeof value !== 'object' || value === null) return;
  if ('kind' in value && value.kind === 'set-ref' && 'name' in value) into.add(String(value.name));
  for (const part of Object.values(value)) collectSets(part, into);
}

function hasUnknown(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if ('kind' in value && value.kind === 'unknown') return true;
  return Object.values(value).some(hasUnknown);
}
