/** How far an endpoint is from a set of endpoints: which requirements it fails, and how much it would take to meet them. */
import type { Labels } from '../../model/cluster.ts';
import { formatAddress } from '../../net/address.ts';
import { contains, formatPrefix } from '../../net/prefix.ts';
import type { PolicyEndpoint } from '../endpoint.ts';
import type { EndpointExpr, EndpointKind, LabelOwner, LabelTest } from '../ir.ts';

/** What expressions are judged on. */
export interface EndpointFacts {
  /** `pod shop/web`, `192.0.2.1`. */
  readonly title: string;
  readonly endpoint: PolicyEndpoint;
  readonly traits: readonly string[];
  readonly labelsOf: (endpoint: PolicyEndpoint, owner: LabelOwner) => Labels | undefined;
}

type Leaf = Exclude<EndpointExpr, { is: 'and' | 'or' | 'not' }>;

export interface Unmet {
  readonly leaf: Leaf;
  /** True if the endpoint has what it must not have. */
  readonly excluded: boolean;
  readonly cost: number;
  /** The part of the object that the requirement stands in, where it is known. */
  readonly field?: string;
  /** The requirement with those beside it about the same labels: `app=web,tier in (a, b)`. */
  readonly wants: string;
}

export interface Distance {
  /** 0 where it matches. */
  readonly cost: number;
  /** The most fundamental requirement first. */
  readonly unmet: readonly Unmet[];
}

const here: Distance = { cost: 0, unmet: [] };

interface Place {
  readonly field?: string;
  /** Requirements on one owner's labels in the nearest conjunction. */
  readonly beside: ReadonlyMap<LabelOwner, string>;
}

export function distance(expr: EndpointExpr, facts: EndpointFacts): Distance {
  const found = measure(expr, facts, false, { beside: new Map() });
  return { ...found, unmet: [...found.unmet].sort((a, b) => b.cost - a.cost) };
}

/** The cost alone, without a word: for comparing many rules. */
export function costTo(expr: EndpointExpr, facts: EndpointFacts, negated = false): number {
  switch (expr.is) {
    case 'not':
      return costTo(expr.of, facts, !negated);
    case 'and':
    case 'or': {
      const all = (expr.is === 'and') !== negated;
      let cost = all ? 0 : impossible;
      for (const part of expr.of) {
        const one = costTo(part, facts, negated);
        cost = all ? cost + one : Math.min(cost, one);
      }
      return cost;
    }
    default:
      return holds(expr, facts) !== negated ? 0 : costOf(expr, negated);
  }
}

function measure(expr: EndpointExpr, facts: EndpointFacts, negated: boolean, at: Place): Distance {
  switch (expr.is) {
    case 'not':
      return measure(expr.of, facts, !negated, at);
    case 'and':
    case 'or': {
      const field = expr.field ?? at.field;
      const all = (expr.is === 'and') !== negated;
      const place: Place = {
        beside: all ? merged(at.beside, requirements(expr.of, negated)) : new Map(),
        ...(field === undefined ? {} : { field }),
      };
      const parts = expr.of.map((part) => measure(part, facts, negated, place));
      return all ? sum(parts) : least(parts);
    }
    default:
      return holds(expr, facts) !== negated ? here : missed(expr, negated, at);
  }
}

const sum = (parts: readonly Distance[]): Distance => ({
  cost: parts.reduce((total, { cost }) => total + cost, 0),
  unmet: parts.flatMap(({ unmet }) => unmet),
});

const least = (parts: readonly Distance[]): Distance => {
  const [first, ...rest] = parts;
  if (first === undefined)
    return {
      cost: impossible,
      unmet: [{ leaf: { is: 'none' }, excluded: false, cost: impossible, wants: '' }],
    };
  return rest.reduce((a, b) => (b.cost < a.cost ? b : a), first);
};

const impossible = 20;

/** A label is mended sooner than a namespace, a namespace sooner than an address, and no pod becomes an address. */
function missed(leaf: Leaf, excluded: boolean, at: Place): Distance {
  const cost = costOf(leaf, excluded);
  const wants = (leaf.is === 'label' ? at.beside.get(leaf.of) : undefined) ?? leafText(leaf, excluded);
  const unmet = { leaf, excluded, cost, wants, ...(at.field === undefined ? {} : { field: at.field }) };
  return { cost, unmet: [unmet] };
}

function costOf(leaf: Leaf, excluded: boolean): number {
  switch (leaf.is) {
    case 'any':
    case 'none':
      return impossible;
    case 'label':
      return { self: 1, namespace: 1.05, 'service-account': 1.2, node: 2 }[leaf.of] + (excluded ? 0.1 : 0);
    case 'service-account':
      return 1.5;
    case 'namespace':
      return 1.6;
    case 'trait':
      return 5;
    case 'address':
      return 6;
    case 'kind':
      return 7;
  }
}

function holds(leaf: Leaf, { endpoint, traits, labelsOf }: EndpointFacts): boolean {
  const { end, kind, namespace, addresses } = endpoint;
  switch (leaf.is) {
    case 'any':
      return true;
    case 'none':
      return false;
    case 'kind':
      return leaf.kinds.includes(kind);
    case 'namespace':
      return end.kind === 'pod' && leaf.names.includes(namespace);
    case 'label': {
      const value = labelValue(labelsOf(endpoint, leaf.of), leaf.key);
      return value !== undefined && passes(value, leaf.test);
    }
    case 'service-account':
      return end.kind === 'pod' && leaf.names.includes(`${namespace}/${end.pod.serviceAccount}`);
    case 'address':
      return addresses.some(
        (address) =>
          leaf.prefixes.some((one) => contains(one, address)) &&
          !leaf.except.some((hole) => contains(hole, address)),
      );
    case 'trait':
      return traits.includes(leaf.name);
  }
}

/** Labels are data: a key such as `constructor` must not find Object.prototype. */
const labelValue = (labels: Labels | undefined, key: string): string | undefined =>
  labels !== undefined && Object.hasOwn(labels, key) ? labels[key] : undefined;

function passes(value: string, test: LabelTest): boolean {
  switch (test.op) {
    case 'in':
      return test.values.includes(value);
    case 'exists':
      return true;
    case 'contains':
      return value.includes(test.text);
    case 'prefix':
      return value.startsWith(test.text);
    case 'suffix':
      return value.endsWith(test.text);
  }
}

/** Texts of the label requirements of a conjunction, those of nested conjunctions among them, by whose labels they read. */
function requirements(parts: readonly EndpointExpr[], negated: boolean): Map<LabelOwner, string> {
  const found = new Map<LabelOwner, string>();
  const add = (part: EndpointExpr, not: boolean): void => {
    if (part.is === 'not') add(part.of, !not);
    else if (part.is === 'label')
      found.set(part.of, [found.get(part.of) ?? [], leafText(part, not)].flat().join(','));
    else if ((part.is === 'and' && !not) || (part.is === 'or' && not))
      for (const one of part.of) add(one, not);
  };
  for (const part of parts) add(part, negated);
  return found;
}

/** The widest conjunction's text stays: it holds the inner ones' too. */
const merged = (outer: ReadonlyMap<LabelOwner, string>, inner: ReadonlyMap<LabelOwner, string>) =>
  new Map([...inner, ...outer]);

function leafText(leaf: Leaf, excluded: boolean): string {
  switch (leaf.is) {
    case 'label':
      return testText(leaf.key, leaf.test, excluded);
    case 'kind':
      return kindsText(excluded ? allKinds.filter((kind) => !leaf.kinds.includes(kind)) : leaf.kinds);
    case 'namespace':
      return `${excluded ? 'a namespace other than' : 'namespace'} ${leaf.names.join(' or ')}`;
    case 'service-account':
      return `${excluded ? 'a service account other than' : 'service account'} ${leaf.names.join(' or ')}`;
    case 'address': {
      const except = leaf.except.length === 0 ? '' : ` except ${leaf.except.map(formatPrefix).join(', ')}`;
      return `${excluded ? 'not ' : ''}${shortList(leaf.prefixes.map(formatPrefix))}${except}`;
    }
    case 'trait':
      return `${excluded ? 'no ' : ''}${leaf.name}`;
    case 'any':
    case 'none':
      return excluded === (leaf.is === 'any') ? 'nothing' : 'everything';
  }
}

const shortList = (texts: readonly string[]): string =>
  texts.length <= 3 ? texts.join(', ') : `${texts.slice(0, 3).join(', ')} and ${texts.length - 3} more`;

function testText(key: string, test: LabelTest, excluded: boolean): string {
  switch (test.op) {
    case 'exists':
      return excluded ? `!${key}` : key;
    case 'in': {
      const [only] = test.values;
      if (test.values.length === 1) return `${key}${excluded ? '!=' : '='}${only}`;
      return `${key} ${excluded ? 'not in' : 'in'} (${test.values.join(', ')})`;
    }
    case 'contains':
      return `${key} ${excluded ? 'without' : 'with'} "${test.text}"`;
    case 'prefix':
      return `${key} ${excluded ? 'not starting' : 'starting'} with "${test.text}"`;
    case 'suffix':
      return `${key} ${excluded ? 'not ending' : 'ending'} with "${test.text}"`;
  }
}

const allKinds: readonly EndpointKind[] = ['pod', 'host-pod', 'node', 'external'];

function kindsText(kinds: readonly EndpointKind[]): string {
  const names = {
    pod: 'pods',
    'host-pod': 'hostNetwork pods',
    node: 'nodes',
    external: 'addresses outside the cluster',
  };
  if (kinds.length === 3 && !kinds.includes('pod')) return 'addresses that are no pod';
  return kinds.map((kind) => names[kind]).join(', ');
}

/** What the endpoint has where the requirement wants something else: `pod shop/web has app=web`. */
export function hasText({ leaf }: Unmet, { endpoint, title, labelsOf }: EndpointFacts): string {
  switch (leaf.is) {
    case 'label': {
      const labels = labelsOf(endpoint, leaf.of);
      if (labels === undefined) return `${title} has no such labels`;
      const owner =
        leaf.of === 'self'
          ? title
          : leaf.of === 'namespace'
            ? `namespace ${endpoint.namespace}`
            : leaf.of === 'node'
              ? `node ${endpoint.node}`
              : `the service account of ${title}`;
      const value = labelValue(labels, leaf.key);
      return value === undefined ? `${owner} has no label ${leaf.key}` : `${owner} has ${leaf.key}=${value}`;
    }
    case 'namespace':
      return `${title} is in ${endpoint.namespace === '' ? 'none' : endpoint.namespace}`;
    case 'service-account':
      return endpoint.end.kind === 'pod'
        ? `${title} runs as ${endpoint.namespace}/${endpoint.end.pod.serviceAccount}`
        : `${title} has none`;
    case 'address': {
      const hole = leaf.except.find((one) => endpoint.addresses.some((address) => contains(one, address)));
      const own = endpoint.addresses.map(formatAddress).join(', ');
      if (own === '') return `${title} has no known address`;
      const who = endpoint.kind === 'external' ? `the other end is ${own}` : `${title} is ${own}`;
      return hole === undefined ? who : `${who}, in ${formatPrefix(hole)}`;
    }
    case 'kind':
      return `${title} is ${{ pod: 'a pod', 'host-pod': 'a hostNetwork pod', node: 'a node', external: 'an address outside the cluster' }[endpoint.kind]}`;
    default:
      return `${title} is not that`;
  }
}
