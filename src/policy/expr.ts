/** Kubernetes label selectors as endpoint expressions. */
import type { Selector } from '../model/cluster.ts';
import { and, type EndpointExpr, type LabelOwner, not } from './ir.ts';

/**
 * The selector's requirements, joined. An absent key fulfils NotIn and DoesNotExist, on every kind of endpoint: join the result with the
 * kinds that the policy's language means.
 */
export function selectorExpr(selector: Selector, of: LabelOwner = 'self'): EndpointExpr {
  const has = (key: string, values?: readonly string[]): EndpointExpr => ({
    is: 'label',
    of,
    key,
    test: values === undefined ? { op: 'exists' } : { op: 'in', values },
  });
  const parts: EndpointExpr[] = Object.entries(selector.matchLabels).map(([key, value]) => has(key, [value]));
  for (const { key, operator, values } of selector.matchExpressions) {
    switch (operator) {
      case 'In':
        parts.push(has(key, values));
        break;
      case 'NotIn':
        parts.push(not(has(key, values)));
        break;
      case 'Exists':
        parts.push(has(key));
        break;
      case 'DoesNotExist':
        parts.push(not(has(key)));
        break;
    }
  }
  const [only] = parts;
  return parts.length === 1 && only !== undefined ? only : and(...parts);
}
