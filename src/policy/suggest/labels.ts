/** The fewest labels that select a workload's pods and, of its namespace, no other pod. */
import type { Pod } from '../../model/cluster.ts';

/** A label selector: every part must hold. */
export interface LabelChoice {
  readonly labels: Readonly<Record<string, string>>;
  /** Keys that must be absent. */
  readonly absent: readonly string[];
  /** What it selects of the pods that it was chosen among. */
  readonly selected: readonly Pod[];
}

interface Literal {
  readonly key: string;
  /** Undefined: the key must be absent. */
  readonly value?: string;
  readonly weight: number;
}

/** Labels that people set to tell workloads apart, the best first. */
const preferred = [
  'app',
  'app.kubernetes.io/name',
  'k8s-app',
  'name',
  'app.kubernetes.io/component',
  'component',
  'tier',
  'role',
  'app.kubernetes.io/instance',
];

/** Labels that change with every rollout or differ from pod to pod: a policy that names one stops working. */
const fleeting =
  /^(pod-template-hash|controller-revision-hash|pod-template-generation|statefulset\.kubernetes\.io\/pod-name|apps\.kubernetes\.io\/pod-index|(batch\.kubernetes\.io\/)?controller-uid|(batch\.kubernetes\.io\/)?job-(name|completion-index)|security\.istio\.io\/.*|service\.istio\.io\/.*|topology\..*)$/;

/** Labels that tell versions and tools, not workloads. */
const incidental =
  /^(version|app\.kubernetes\.io\/(version|managed-by|created-by)|helm\.sh\/chart|chart|release|heritage)$/;

/**
 * For `pod` and those others in `among` that `wanted` names, as far as labels can tell them from the rest; pods with the same labels are
 * always selected. `among`: the pods of its namespace that a selector can select.
 */
export function chooseLabels(pod: Pod, among: readonly Pod[], wanted: (other: Pod) => boolean): LabelChoice {
  const own = signature(pod);
  const same = among.filter((other) => other === pod || signature(other) === own);
  const target = among.filter((other) => same.includes(other) || wanted(other));
  const whole = cover(target, among);
  if (target.length === same.length || whole.selected.length === target.length) return whole;
  const strict = cover(same, among);
  // Fewer strangers count for more than all of the workload's pods.
  return strict.selected.length < whole.selected.length ? strict : whole;
}

const signature = ({ labels }: Pod): string => JSON.stringify(Object.entries(labels).sort());

function cover(target: readonly Pod[], among: readonly Pod[]): LabelChoice {
  const inside = new Set(target);
  const others = among.filter((pod) => !inside.has(pod));
  const literals = literalsOf(target, others);
  const chosen = smallest(literals, others) ?? greedy(literals, others);
  // What is told by absent labels only would take in every pod to come.
  const named = chosen.some(({ value }) => value !== undefined);
  const parts = named
    ? chosen
    : [...literals.filter(({ value }) => value !== undefined).slice(0, 1), ...chosen];
  return {
    labels: Object.fromEntries(
      parts.flatMap(({ key, value }) => (value === undefined ? [] : [[key, value]])),
    ),
    absent: parts.flatMap(({ key, value }) => (value === undefined ? [key] : [])),
    selected: among.filter((pod) => parts.every((literal) => holds(literal, pod))),
  };
}

const holds = ({ key, value }: Literal, { labels }: Pod): boolean =>
  Object.hasOwn(labels, key) ? labels[key] === value : value === undefined;

/** What is true of all of the target, the best first. */
function literalsOf(target: readonly Pod[], others: readonly Pod[]): readonly Literal[] {
  const [first] = target;
  if (first === undefined) return [];
  const positive = Object.entries(first.labels)
    .map(([key, value]): Literal => ({ key, value, weight: weightOf(key) }))
    .filter((literal) => target.every((pod) => holds(literal, pod)));
  const lasting = positive.filter(({ key }) => !fleeting.test(key));
  const absent = [...new Set(others.flatMap(({ labels }) => Object.keys(labels)))]
    .filter((key) => !fleeting.test(key))
    .map((key): Literal => ({ key, weight: 40 + weightOf(key) }))
    .filter((literal) => target.every((pod) => holds(literal, pod)));
  const usable = lasting.length > 0 || positive.length === 0 ? lasting : positive;
  return [...usable, ...absent].sort((a, b) => a.weight - b.weight || (a.key < b.key ? -1 : 1));
}

function weightOf(key: string): number {
  const place = preferred.indexOf(key);
  if (place >= 0) return 10 + place / 10;
  if (fleeting.test(key)) return 100;
  return incidental.test(key) ? 16 : 12;
}

/** More literals than this are not tried together. */
const maxLiterals = 28;

/** The lightest set of up to three literals that leaves out every other pod. */
function smallest(all: readonly Literal[], others: readonly Pod[]): readonly Literal[] | undefined {
  const literals = all.slice(0, maxLiterals);
  // Pods that the same literals leave out are one case.
  const cases = [
    ...new Set(
      others.map((pod) => literals.reduce((mask, one, i) => (holds(one, pod) ? mask : mask | (1 << i)), 0)),
    ),
  ];
  if (cases.length === 0) return [];
  let best: { readonly chosen: readonly Literal[]; readonly weight: number } | undefined;
  const tryFrom = (from: number, mask: number, chosen: readonly Literal[], weight: number): void => {
    if (best !== undefined && weight >= best.weight) return;
    if (chosen.length > 0 && cases.every((one) => (one & mask) !== 0)) {
      best = { chosen, weight };
      return;
    }
    if (chosen.length === 3) return;
    for (let i = from; i < literals.length; i++) {
      const one = literals[i] as Literal;
      tryFrom(i + 1, mask | (1 << i), [...chosen, one], weight + one.weight);
    }
  };
  tryFrom(0, 0, [], 0);
  return best?.chosen;
}

/** Whichever literal leaves out most of those still in, until none leaves out any more. */
function greedy(literals: readonly Literal[], others: readonly Pod[]): readonly Literal[] {
  const chosen: Literal[] = [];
  let left = others;
  while (left.length > 0) {
    let best: { readonly literal: Literal; readonly left: readonly Pod[] } | undefined;
    for (const literal of literals) {
      const rest = left.filter((pod) => holds(literal, pod));
      if (rest.length < (best?.left ?? left).length) best = { literal, left: rest };
    }
    if (best === undefined) break;
    chosen.push(best.literal);
    left = best.left;
  }
  return chosen;
}
