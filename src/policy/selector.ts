/** Label selectors as apimachinery evaluates them. */
import type { Labels, Selector } from '../model/cluster.ts';

/** Labels are data: a key such as `constructor` must not find Object.prototype. */
const labelOf = (labels: Labels, key: string): string | undefined =>
  Object.hasOwn(labels, key) ? labels[key] : undefined;

type Expression = Selector['matchExpressions'][number];

function holds(expression: Expression, labels: Labels): boolean {
  const value = labelOf(labels, expression.key);
  switch (expression.operator) {
    case 'In':
      return value !== undefined && expression.values.includes(value);
    case 'NotIn':
      // labels.Requirement.Matches: NotIn holds where the key is absent.
      return value === undefined || !expression.values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
  }
}

/** True if every requirement holds; a selector without requirements matches everything. */
export function matchesSelector(selector: Selector, labels: Labels): boolean {
  for (const [key, wanted] of Object.entries(selector.matchLabels)) {
    if (labelOf(labels, key) !== wanted) return false;
  }
  return selector.matchExpressions.every((expression) => holds(expression, labels));
}

/** A requirement that does not hold: what it wants, and what the labels have instead. */
export interface Unmet {
  readonly key: string;
  /** `name=shop`, `tier in (a, b)`, `!legacy`. */
  readonly wants: string;
  /** `has no label name`, `has name=store`. */
  readonly has: string;
}

export function unmetRequirements(selector: Selector, labels: Labels): Unmet[] {
  const unmet: Unmet[] = [];
  for (const [key, wanted] of Object.entries(selector.matchLabels)) {
    if (labelOf(labels, key) !== wanted)
      unmet.push({ key, wants: `${key}=${wanted}`, has: has(labels, key) });
  }
  for (const expression of selector.matchExpressions) {
    if (!holds(expression, labels))
      unmet.push({
        key: expression.key,
        wants: formatExpression(expression),
        has: has(labels, expression.key),
      });
  }
  return unmet;
}

function has(labels: Labels, key: string): string {
  const value = labelOf(labels, key);
  return value === undefined ? `has no label ${key}` : `has ${key}=${value}`;
}

function formatExpression({ key, operator, values }: Expression): string {
  switch (operator) {
    case 'In':
      return `${key} in (${values.join(', ')})`;
    case 'NotIn':
      return `${key} not in (${values.join(', ')})`;
    case 'Exists':
      return key;
    case 'DoesNotExist':
      return `!${key}`;
  }
}

/** kubectl's spelling: `app=web,tier in (a, b)`; `<all>` for the empty selector. */
export function formatSelector(selector: Selector): string {
  const parts = [
    ...Object.entries(selector.matchLabels).map(([key, value]) => `${key}=${value}`),
    ...selector.matchExpressions.map(formatExpression),
  ];
  return parts.length === 0 ? '<all>' : parts.join(',');
}

/** Every key that the selector reads. */
export const selectorKeys = (selector: Selector): string[] => [
  ...Object.keys(selector.matchLabels),
  ...selector.matchExpressions.map((expression) => expression.key),
];
