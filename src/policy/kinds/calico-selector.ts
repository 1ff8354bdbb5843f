/**
 * Calico selectors as endpoint expressions. Felix turns a selector into the addresses of everything that it matches: pods, and the
 * prefixes of network sets and host endpoints, whose labels are known here and now.
 */
import type { Labels } from '../../model/cluster.ts';
import { orElse } from '../../model/known.ts';
import { type CalicoEntity, type CalicoSelector, noCalicoObjects } from '../../model/policies/calico.ts';
import { addressBits, type Family } from '../../net/address.ts';
import type { Prefix } from '../../net/prefix.ts';
import { and, anyEndpoint, type EndpointExpr, kinds, type LabelTest, noEndpoint, not, or } from '../ir.ts';
import type { PolicyWorld } from '../options.ts';

/** Who is selected for sure, and who may be: they are one and the same object where everything is known. */
export interface Bounds {
  readonly sure: EndpointExpr;
  readonly possible: EndpointExpr;
}

export const exactly = (expr: EndpointExpr): Bounds => ({ sure: expr, possible: expr });
export const isExact = ({ sure, possible }: Bounds): boolean => sure === possible;
const unknowable: Bounds = { sure: noEndpoint, possible: anyEndpoint };

/** As `and` and `or`, without the parts that make no difference. */
export function joinAll(parts: readonly EndpointExpr[]): EndpointExpr {
  const rest = parts.filter(({ is }) => is !== 'any');
  if (rest.some(({ is }) => is === 'none')) return noEndpoint;
  const [only] = rest;
  return only === undefined ? anyEndpoint : rest.length === 1 ? only : and(...rest);
}

export function joinAny(parts: readonly EndpointExpr[]): EndpointExpr {
  const rest = parts.filter(({ is }) => is !== 'none');
  if (rest.some(({ is }) => is === 'any')) return anyEndpoint;
  const [only] = rest;
  return only === undefined ? noEndpoint : rest.length === 1 ? only : or(...rest);
}

export const negate = (expr: EndpointExpr): EndpointExpr =>
  expr.is === 'any' ? noEndpoint : expr.is === 'none' ? anyEndpoint : expr.is === 'not' ? expr.of : not(expr);

const combine = (
  join: (parts: readonly EndpointExpr[]) => EndpointExpr,
  parts: readonly Bounds[],
): Bounds => {
  const sure = join(parts.map((part) => part.sure));
  return parts.every(isExact) ? exactly(sure) : { sure, possible: join(parts.map((part) => part.possible)) };
};
export const allBounds = (...parts: readonly Bounds[]): Bounds => combine(joinAll, parts);
const anyBounds = (...parts: readonly Bounds[]): Bounds => combine(joinAny, parts);
export const notBounds = (of: Bounds): Bounds => {
  const possible = negate(of.sure);
  return isExact(of) ? exactly(possible) : { sure: negate(of.possible), possible };
};

/** What a selector's leaves mean; `T` is who matches, or whether one labelled object does. */
interface Reading<T> {
  readonly everything: T;
  readonly namespaced: T;
  readonly label: (key: string, test: LabelTest) => T;
  readonly not: (of: T) => T;
  readonly all: (parts: readonly T[]) => T;
  readonly any: (parts: readonly T[]) => T;
}

/** Whose labels the field is about: keys get the prefix under which Calico hands them down to endpoints. */
export type Scope = 'endpoint' | 'namespace' | 'account';
const scopePrefix = { endpoint: '', namespace: 'pcns.', account: 'pcsa.' } as const;

function read<T>(selector: CalicoSelector, scope: Scope, reading: Reading<T>): T {
  const label = (key: string, test: LabelTest) => reading.label(scopePrefix[scope] + key, test);
  switch (selector.is) {
    case 'all':
      return scope === 'namespace' ? reading.namespaced : reading.everything;
    case 'global':
      return reading.not(reading.namespaced);
    case 'has':
      return label(selector.key, { op: 'exists' });
    case 'equals':
      return label(selector.key, { op: 'in', values: [selector.value] });
    case 'differs':
      return reading.not(label(selector.key, { op: 'in', values: [selector.value] }));
    case 'in':
      return label(selector.key, { op: 'in', values: selector.values });
    case 'not-in':
      return reading.not(label(selector.key, { op: 'in', values: selector.values }));
    case 'contains':
      return label(selector.key, { op: 'contains', text: selector.text });
    case 'starts-with':
      return label(selector.key, { op: 'prefix', text: selector.text });
    case 'ends-with':
      return label(selector.key, { op: 'suffix', text: selector.text });
    case 'not':
      return reading.not(read(selector.of, scope, reading));
    case 'and':
      return reading.all(selector.of.map((part) => read(part, scope, reading)));
    case 'or':
      return reading.any(selector.of.map((part) => read(part, scope, reading)));
  }
}

function passes(test: LabelTest, value: string): boolean {
  switch (test.op) {
    case 'exists':
      return true;
    case 'in':
      return test.values.includes(value);
    case 'contains':
      return value.includes(test.text);
    case 'prefix':
      return value.startsWith(test.text);
    case 'suffix':
      return value.endsWith(test.text);
  }
}

/** Something that has labels and addresses and is no pod. */
interface Labelled {
  readonly labels: Labels;
  /** Undefined where its namespace was not collected: what it inherits from there is then not known. */
  readonly inherited: Labels | undefined;
  readonly namespace?: string;
  readonly prefixes: readonly Prefix[];
}

/** The fields of a rule's end, or of a policy, that are selectors. All of them have to match. */
export type Choice = Pick<CalicoEntity, 'selector' | 'namespaceSelector' | 'serviceAccounts'> & {
  /** The only namespace, where no namespaceSelector says otherwise. */
  readonly home?: string;
};

export interface SelectorLowering {
  /** Pods with a network of their own. */
  readonly pods: (selector: CalicoSelector, scope: Scope) => Bounds;
  /** Everything that a rule's fields mean. */
  readonly chosen: (choice: Choice) => Bounds;
}

export function selectorLowering(world: PolicyWorld): SelectorLowering {
  const podReading = readingOfPods(world);
  const labelled = labelledObjects(world);
  const pods = (selector: CalicoSelector, scope: Scope) => read(selector, scope, podReading);
  const cache = new Map<string, Bounds>();
  const chosen = (choice: Choice): Bounds => {
    const key = JSON.stringify(choice);
    const made = cache.get(key);
    if (made !== undefined) return made;
    const ownPods = allBounds(exactly(kinds('pod')), ...partsOf(choice, podReading));
    const sure: Prefix[] = [];
    const perhaps: Prefix[] = [];
    for (const one of labelled) {
      const parts = partsOf(choice, readingOfLabels(one));
      if (parts.includes(false)) continue;
      (parts.includes(undefined) ? perhaps : sure).push(...one.prefixes);
    }
    const bounds = anyBounds(
      ownPods,
      exactly(addressExpr(sure)),
      ...(perhaps.length === 0 ? [] : [{ sure: noEndpoint, possible: addressExpr(perhaps) }]),
    );
    cache.set(key, bounds);
    return bounds;
  };
  return { pods, chosen };
}

export const addressExpr = (prefixes: readonly Prefix[]): EndpointExpr =>
  prefixes.length === 0 ? noEndpoint : { is: 'address', prefixes, except: [] };

export const wholeFamily = (family: Family): Prefix => ({ family, value: 0n, length: 0 });
export const hostPrefix = ({ family, value }: { family: Family; value: bigint }): Prefix => ({
  family,
  value,
  length: addressBits(family),
});

const namespaceKey = 'projectcalico.org/namespace';
const accountKey = 'projectcalico.org/serviceaccount';

function partsOf<T>(choice: Choice, reading: Reading<T>): T[] {
  const { selector, namespaceSelector, serviceAccounts, home } = choice;
  const parts: T[] = [];
  if (namespaceSelector !== undefined) parts.push(read(namespaceSelector, 'namespace', reading));
  else if (home !== undefined) parts.push(reading.label(namespaceKey, { op: 'in', values: [home] }));
  if (selector !== undefined) parts.push(read(selector, 'endpoint', reading));
  if (serviceAccounts === undefined) return parts;
  const { names } = serviceAccounts;
  if (names.length > 0) parts.push(reading.label(accountKey, { op: 'in', values: names }));
  if (serviceAccounts.selector !== undefined) parts.push(read(serviceAccounts.selector, 'account', reading));
  return parts;
}

/** Undefined: not known. */
type Maybe = boolean | undefined;

function readingOfLabels({ labels, inherited, namespace }: Labelled): Reading<Maybe> {
  return {
    everything: true,
    namespaced: namespace !== undefined || Object.hasOwn(labels, namespaceKey),
    label: (key, test) => {
      if (key === namespaceKey && namespace !== undefined) return passes(test, namespace);
      if (Object.hasOwn(labels, key)) return passes(test, labels[key] as string);
      if (inherited !== undefined)
        return Object.hasOwn(inherited, key) && passes(test, inherited[key] as string);
      if (key === 'pcns.projectcalico.org/name' || key === 'pcns.kubernetes.io/metadata.name')
        return passes(test, namespace ?? '');
      return key.startsWith('pcns.') ? undefined : false;
    },
    not: (of) => (of === undefined ? undefined : !of),
    all: (parts) => (parts.includes(false) ? false : parts.includes(undefined) ? undefined : true),
    any: (parts) => (parts.includes(true) ? true : parts.includes(undefined) ? undefined : false),
  };
}

function labelledObjects({ cluster }: PolicyWorld): readonly Labelled[] {
  const { networkSets, hostEndpoints, profiles } = orElse(cluster.calico, noCalicoObjects);
  const namespaces = new Map(orElse(cluster.namespaces, []).map(({ name, labels }) => [name, labels]));
  const fromNamespace = (name: string): Labels => {
    const own = namespaces.get(name) ?? { 'kubernetes.io/metadata.name': name };
    return {
      ...Object.fromEntries(Object.entries(own).map(([key, value]) => [`pcns.${key}`, value])),
      'pcns.projectcalico.org/name': name,
    };
  };
  const applied = new Map(profiles.map(({ name, labelsToApply }) => [name, labelsToApply]));
  return [
    ...networkSets.map(({ namespace, labels, nets }): Labelled => {
      if (namespace === undefined) return { labels, inherited: {}, prefixes: nets };
      const inherited = cluster.namespaces.state === 'known' ? fromNamespace(namespace) : undefined;
      return { labels, namespace, inherited, prefixes: nets };
    }),
    ...hostEndpoints.map(
      (endpoint): Labelled => ({
        labels: endpoint.labels,
        // Of two profiles with the same label the one that the cluster lists first gives it.
        inherited: Object.assign(
          {},
          ...profiles
            .filter(({ name }) => endpoint.profiles.includes(name))
            .reverse()
            .map(({ name }) => applied.get(name)),
        ) as Labels,
        prefixes: endpoint.expectedIps.map(hostPrefix),
      }),
    ),
  ];
}

/** Labels that pods have from Calico, from their namespace (`pcns.`) and from their service account (`pcsa.`). */
function readingOfPods({ cluster }: PolicyWorld): Reading<Bounds> {
  const pods = orElse(cluster.pods, []);
  const namespaces = [...new Set(pods.map(({ namespace }) => namespace))];
  const accounts = [
    ...new Map(pods.map((pod) => [`${pod.namespace}/${pod.serviceAccount}`, pod.serviceAccount])),
  ];
  const ownKeys = new Set(pods.flatMap(({ labels }) => Object.keys(labels)));
  const inNamespaces = (test: LabelTest): EndpointExpr => {
    const names = namespaces.filter((name) => passes(test, name));
    return names.length === 0 ? noEndpoint : { is: 'namespace', names };
  };
  const withAccounts = (test: LabelTest, longest: number): EndpointExpr => {
    const names = accounts.filter(([, name]) => name.length <= longest && passes(test, name));
    return names.length === 0 ? noEndpoint : { is: 'service-account', names: names.map(([id]) => id) };
  };
  const inherited = (key: string, test: LabelTest): Bounds | undefined => {
    if (key.startsWith('pcns.')) {
      const name = key.slice('pcns.'.length);
      if (name === 'projectcalico.org/name') return exactly(inNamespaces(test));
      if (cluster.namespaces.state === 'known')
        return exactly({ is: 'label', of: 'namespace', key: name, test });
      return name === 'kubernetes.io/metadata.name' ? exactly(inNamespaces(test)) : unknowable;
    }
    if (!key.startsWith('pcsa.')) return undefined;
    const name = key.slice('pcsa.'.length);
    if (name === 'projectcalico.org/name') return exactly(withAccounts(test, Number.POSITIVE_INFINITY));
    if (cluster.serviceAccounts.state === 'unknown') return unknowable;
    return exactly({ is: 'label', of: 'service-account', key: name, test });
  };
  return {
    everything: exactly(anyEndpoint),
    namespaced: exactly(anyEndpoint),
    label: (key, test) => {
      if (key === namespaceKey) return exactly(inNamespaces(test));
      // Names of 63 characters and more are no label's value (podToDefaultWorkloadEndpoint).
      if (key === accountKey) return exactly(withAccounts(test, 62));
      if (key === 'projectcalico.org/orchestrator')
        return exactly(passes(test, 'k8s') ? anyEndpoint : noEndpoint);
      const own = exactly({ is: 'label', of: 'self', key, test } as const);
      const handed = inherited(key, test);
      if (handed === undefined) return own;
      // "The endpoint's own label value takes precedence" (api/profile.go).
      if (!ownKeys.has(key)) return handed;
      const has = exactly({ is: 'label', of: 'self', key, test: { op: 'exists' } } as const);
      return anyBounds(own, allBounds(notBounds(has), handed));
    },
    not: notBounds,
    all: (parts) => allBounds(...parts),
    any: (parts) => anyBounds(...parts),
  };
}
