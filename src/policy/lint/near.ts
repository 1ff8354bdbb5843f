/** What a selector that matches nobody was most likely meant to match. */
import type { Pod, Selector } from '../../model/cluster.ts';
import { nearestNames } from '../../model/nearest.ts';
import { formatSelector, matchesSelector, unmetRequirements } from '../selector.ts';
import { type LintContext, podText } from './rule.ts';

/** `; pod shop/web-1 has app=webb`, or nothing. Only pods that lack one requirement, and fulfil others or nearly this one. */
export function nearPod(selector: Selector, pods: readonly Pod[]): string {
  const wanted = Object.keys(selector.matchLabels).length + selector.matchExpressions.length;
  for (const pod of pods) {
    const unmet = unmetRequirements(selector, pod.labels);
    const [only] = unmet;
    if (only === undefined || unmet.length !== 1) continue;
    // That a pod has a label which must not be there is no hint: the label says that it is not meant.
    if (only.wants.startsWith('!') || only.wants.includes(' not in ')) continue;
    if (wanted > 1 || resembles(selector.matchLabels[only.key], pod.labels[only.key]))
      return `; pod ${podText(pod)} ${only.has}`;
  }
  return '';
}

/** `; namespace shop has kubernetes.io/metadata.name=shop`, or nothing. */
export function nearNamespace(selector: Selector, context: LintContext): string {
  const values = Object.values(selector.matchLabels);
  // The classic: `name: shop`, where every namespace has its name under another key.
  const meant = context.namespaces.find((name) => values.includes(name));
  if (meant !== undefined) return `; namespace ${meant} has kubernetes.io/metadata.name=${meant}`;
  for (const name of context.namespaces) {
    const labels = context.namespaceLabels(name);
    const unmet = unmetRequirements(selector, labels);
    const [only] = unmet;
    if (
      only !== undefined &&
      unmet.length === 1 &&
      resembles(selector.matchLabels[only.key], labels[only.key])
    )
      return `; namespace ${name} ${only.has}`;
  }
  return '';
}

/** Equal but for case, or a few letters. */
const resembles = (a: string | undefined, b: string | undefined): boolean =>
  a !== undefined &&
  b !== undefined &&
  (a.toLowerCase() === b.toLowerCase() ||
    (Math.min(a.length, b.length) > 3 && nearestNames(a, [b]).length > 0));

/** Who of the peer's namespaces there is, and what the pods lack. */
export function namespacesOf(
  selector: Selector | undefined,
  own: string,
  context: LintContext,
): readonly string[] {
  if (selector === undefined) return [own];
  return context.namespaces.filter((name) => matchesSelector(selector, context.namespaceLabels(name)));
}

export const wantsText = (selector: Selector): string => formatSelector(selector);
