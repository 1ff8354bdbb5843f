/** Cilium's EndpointSelector: a label selector whose keys name the source of the label, `k8s:app`, `reserved:host`. */
import type { CiliumRequirement, CiliumSelector } from '../../model/policies/cilium.ts';
import { eachObject, labels, Mismatch, object, onlyFields, string, strings } from './cilium-shape.ts';

const namespaceKey = 'io.kubernetes.pod.namespace';
const namespaceLabelsPrefix = 'io.cilium.k8s.namespace.labels.';

interface SelectorParts {
  readonly labels: CiliumSelector;
  readonly expressions: CiliumSelector;
}

/** As it is written, without the namespace that the API fills in. */
export function readSelector(value: unknown, field: string): CiliumSelector {
  const parts = readParts(value, field);
  return [...parts.labels, ...parts.expressions];
}

/**
 * A peer of a policy in `namespace`, or of a clusterwide policy. A peer that names no namespace is one of the policy's own namespace;
 * in a clusterwide policy it is a pod of any, and no other endpoint. Reserved labels lift both (getEndpointSelector in
 * pkg/k8s/apis/cilium.io/utils).
 */
export function readPeerSelector(
  value: unknown,
  field: string,
  namespace: string | undefined,
): CiliumSelector {
  const found = readSelector(value, field);
  const ofPods = found.filter(({ source }) => source === 'k8s' || source === 'any');
  if (found.some(({ source }) => source === 'reserved')) return found;
  if (ofPods.some(({ key }) => key === namespaceKey)) return found;
  if (namespace === undefined) return [...found, anyNamespace];
  if (ofPods.some(({ key }) => key.startsWith(namespaceLabelsPrefix))) return found;
  return [...found, inNamespace(namespace)];
}

/** `endpointSelector`: always in the policy's own namespace, whatever namespace it names. */
export function readSubject(value: unknown, field: string, namespace: string | undefined): CiliumSelector {
  const parts = readParts(value, field);
  if (namespace === undefined) return [...parts.labels, ...parts.expressions];
  const own = parts.labels.filter(({ source, key }) => !(source === 'k8s' && key === namespaceKey));
  return [...own, ...parts.expressions, inNamespace(namespace)];
}

/** fromNodes, toNodes: nodes other than the subject's own. */
export const readNodes = (value: unknown, field: string): CiliumSelector => [
  ...readSelector(value, field),
  { source: 'reserved', key: 'remote-node', operator: 'Exists', values: [] },
];

const inNamespace = (name: string): CiliumRequirement => ({
  source: 'k8s',
  key: namespaceKey,
  operator: 'In',
  values: [name],
});

const anyNamespace: CiliumRequirement = { source: 'k8s', key: namespaceKey, operator: 'Exists', values: [] };

function readParts(value: unknown, field: string): SelectorParts {
  const raw = object(value, field);
  onlyFields(raw, field, ['matchLabels', 'matchExpressions']);
  return {
    labels: Object.entries(labels(raw.matchLabels, `${field}.matchLabels`)).map(([key, text]) => ({
      ...readKey(key, `${field}.matchLabels`),
      operator: 'In' as const,
      values: [text],
    })),
    expressions: eachObject(raw.matchExpressions, `${field}.matchExpressions`, (item, path) => {
      onlyFields(item, path, ['key', 'operator', 'values']);
      const operator = string(item.operator, `${path}.operator`);
      if (!isOperator(operator))
        throw new Mismatch(`${path}.operator`, `is unknown: ${JSON.stringify(operator)}`);
      const values = strings(item.values, `${path}.values`);
      const needsValues = operator === 'In' || operator === 'NotIn';
      if (needsValues !== values.length > 0)
        throw new Mismatch(
          `${path}.values`,
          needsValues ? `must not be empty with ${operator}` : `must be empty with ${operator}`,
        );
      return { ...readKey(string(item.key, `${path}.key`), `${path}.key`), operator, values };
    }),
  };
}

const isOperator = (text: string): text is CiliumRequirement['operator'] =>
  text === 'In' || text === 'NotIn' || text === 'Exists' || text === 'DoesNotExist';

/** `k8s:app`, `$host` (short for `reserved:host`), `app` (of any source): parseSource in pkg/labels. */
function readKey(text: string, field: string): { readonly source: string; readonly key: string } {
  const [source, key] = split(text);
  if (key === '') throw new Mismatch(field, `is no label key: ${JSON.stringify(text)}`);
  return { source: source === '' ? 'any' : source, key };
}

function split(text: string): [source: string, key: string] {
  if (text.startsWith('$')) return ['reserved', text.slice(1)];
  const colon = text.indexOf(':');
  if (colon >= 0) return [text.slice(0, colon), text.slice(colon + 1)];
  return text.startsWith('reserved.') ? ['reserved', text.slice('reserved.'.length)] : ['any', text];
}
