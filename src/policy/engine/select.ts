/** Endpoint expressions -> sets of classes. Every distinct test is answered once, from an index of what the classes have. */
import { lazy } from '../../model/lazy.ts';
import {
  complementIds,
  hasId,
  type IdSet,
  idRange,
  idsFrom,
  intersectIds,
  noIds,
  unionAll,
  unionIds,
} from '../../net/id-set.ts';
import type { EndpointExpr, EndpointKind, LabelOwner, LabelTest } from '../ir.ts';
import type { Universe } from './universe.ts';

export type Select = (expr: EndpointExpr) => IdSet;

export function selector(universe: Universe): Select {
  const { classes, tree, outsideFrom } = universe;
  const size = classes.length;
  const all = idRange(0, size);
  const cache = new Map<string, IdSet>();
  const once = (key: string, make: () => IdSet): IdSet => {
    const known = cache.get(key);
    if (known !== undefined) return known;
    const made = make();
    cache.set(key, made);
    return made;
  };
  const kindSets = postings(classes.map(({ endpoint }) => [endpoint.kind]));
  const namespaceSets = postings(
    classes.map(({ endpoint }) => (endpoint.end.kind === 'pod' ? [endpoint.namespace] : [])),
  );
  const traitSets = postings(classes.map(({ traits }) => traits));
  const accountSets = lazy(() =>
    postings(
      classes.map(({ endpoint: { end } }) =>
        end.kind === 'pod' ? [`${end.pod.namespace}/${end.pod.serviceAccount}`] : [],
      ),
    ),
  );
  // Outside classes are their own tree nodes; of pods and nodes only those with addresses are listed.
  const addressSets = lazy(() =>
    postings(classes.slice(0, outsideFrom).map(({ addressNodes }) => addressNodes)),
  );
  const ownerSets: Readonly<Record<LabelOwner, Map<string, ReadonlyMap<string, IdSet>>>> = {
    self: new Map(),
    namespace: new Map(),
    'service-account': new Map(),
    node: new Map(),
  };
  const labelValues = (owner: LabelOwner, key: string): ReadonlyMap<string, IdSet> => {
    const labelSets = ownerSets[owner];
    let values = labelSets.get(key);
    if (values === undefined) {
      values = postings(
        classes.map(({ endpoint }) => {
          const labels = universe.labelsOf(endpoint, owner);
          return labels !== undefined && Object.hasOwn(labels, key) ? [labels[key] as string] : [];
        }),
      );
      labelSets.set(key, values);
    }
    return values;
  };
  const gather = <K>(sets: ReadonlyMap<K, IdSet>, keys: Iterable<K>): IdSet =>
    unionAll([...keys].map((key) => sets.get(key) ?? noIds));

  const address = (expr: EndpointExpr & { is: 'address' }): IdSet => {
    const listed = unionAll(expr.prefixes.map(tree.inside));
    const nodes =
      expr.except.length === 0
        ? listed
        : intersectIds(listed, complementIds(unionAll(expr.except.map(tree.inside)), tree.nodes.length));
    const outside = nodes.map((id) => id + outsideFrom);
    const inside: IdSet[] = [];
    for (const [node, ids] of addressSets()) if (hasId(nodes, node)) inside.push(ids);
    return unionIds(unionAll(inside), outside);
  };

  const select: Select = (expr) => {
    switch (expr.is) {
      case 'any':
        return all;
      case 'none':
        return noIds;
      case 'kind':
        if (expr.kinds.length === 1) return kindSets.get(expr.kinds[0] as EndpointKind) ?? noIds;
        return once(`k${expr.kinds.join()}`, () => gather<EndpointKind>(kindSets, expr.kinds));
      case 'namespace':
        return expr.names.length === 1
          ? (namespaceSets.get(expr.names[0] as string) ?? noIds)
          : gather(namespaceSets, expr.names);
      case 'trait':
        return traitSets.get(expr.name) ?? noIds;
      case 'service-account':
        return gather(accountSets(), expr.names);
      case 'label':
        // By far the most common test, and one look-up.
        if (expr.test.op === 'in' && expr.test.values.length === 1)
          return labelValues(expr.of, expr.key).get(expr.test.values[0] as string) ?? noIds;
        return once(`l${expr.of}/${JSON.stringify([expr.key, expr.test])}`, () =>
          labelled(labelValues(expr.of, expr.key), expr.test),
        );
      case 'address':
        return once(addressKey(expr), () => address(expr));
      case 'not':
        return complementIds(select(expr.of), size);
      case 'or':
        return unionAll(expr.of.map(select));
      case 'and': {
        let result = all;
        for (const part of expr.of) {
          const set = select(part);
          result = result === all ? set : intersectIds(result, set);
          if (result.length === 0) return noIds;
        }
        return result;
      }
    }
  };
  return select;
}

const addressKey = ({ prefixes, except }: EndpointExpr & { is: 'address' }): string =>
  `a${prefixes.map((p) => `${p.value}/${p.length}/${p.family}`).join()}-${except.map((p) => `${p.value}/${p.length}/${p.family}`).join()}`;

function labelled(values: ReadonlyMap<string, IdSet>, test: LabelTest): IdSet {
  switch (test.op) {
    case 'in':
      return unionAll(test.values.map((value) => values.get(value) ?? noIds));
    case 'exists':
      return unionAll([...values.values()]);
    case 'contains':
      return matching(values, (value) => value.includes(test.text));
    case 'prefix':
      return matching(values, (value) => value.startsWith(test.text));
    case 'suffix':
      return matching(values, (value) => value.endsWith(test.text));
  }
}

const matching = (values: ReadonlyMap<string, IdSet>, fits: (value: string) => boolean): IdSet =>
  unionAll([...values].filter(([value]) => fits(value)).map(([, ids]) => ids));

/** What each class has -> which classes have it. */
function postings<K>(of: readonly (readonly K[])[]): ReadonlyMap<K, IdSet> {
  const lists = new Map<K, number[]>();
  for (const [id, keys] of of.entries())
    for (const key of keys) {
      const list = lists.get(key);
      if (list === undefined) lists.set(key, [id]);
      else if (list[list.length - 1] !== id) list.push(id);
    }
  return new Map([...lists].map(([key, ids]) => [key, idsFrom(ids)] as const));
}
