/**
 * Selectors that a manifest of the admin kinds leaves out. The API types require both selectors of `pods`, so a server would refuse the
 * object; the types also say that an empty selector selects all, and left out decodes to empty (network-policy-api, NamespacedPod).
 * Manifests in circulation do leave them out, and mean just that.
 */
import { isObject, type JsonObject } from '../json.ts';

export interface Filled {
  readonly object: JsonObject;
  /** `spec.ingress[0].from[1].pods.podSelector` */
  readonly fields: readonly string[];
}

export const isAdminList = (plural: string): boolean => plural.endsWith('.policy.networking.k8s.io');

const selectors = ['namespaceSelector', 'podSelector'] as const;

/** The same object where nothing is left out. */
export function fillSelectors(object: JsonObject): Filled {
  const { spec } = object;
  if (!isObject(spec)) return { object, fields: [] };
  const fields: string[] = [];
  const holder = (value: unknown, field: string): unknown => {
    if (!isObject(value) || !isObject(value.pods)) return value;
    const { pods } = value;
    // With none of the two there is nothing to tell what is meant.
    const missing = selectors.filter((key) => pods[key] === undefined || pods[key] === null);
    if (missing.length !== 1) return value;
    for (const key of missing) fields.push(`${field}.pods.${key}`);
    return { ...value, pods: { ...pods, ...Object.fromEntries(missing.map((key) => [key, {}])) } };
  };
  const items = (value: unknown, read: (item: unknown, i: number) => unknown): unknown =>
    Array.isArray(value) ? (value as readonly unknown[]).map(read) : value;
  const rules = (direction: 'ingress' | 'egress', peers: 'from' | 'to') =>
    items(spec[direction], (rule, i) => {
      if (!isObject(rule)) return rule;
      const read = (peer: unknown, j: number) => holder(peer, `spec.${direction}[${i}].${peers}[${j}]`);
      return { ...rule, ...(rule[peers] === undefined ? {} : { [peers]: items(rule[peers], read) }) };
    });
  const filled = {
    ...spec,
    ...(spec.subject === undefined ? {} : { subject: holder(spec.subject, 'spec.subject') }),
    ...(spec.ingress === undefined ? {} : { ingress: rules('ingress', 'from') }),
    ...(spec.egress === undefined ? {} : { egress: rules('egress', 'to') }),
  };
  return fields.length === 0 ? { object, fields } : { object: { ...object, spec: filled }, fields };
}
