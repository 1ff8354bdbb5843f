/** One rule of Cilium's policies. Invalid parts allow nothing; a deny rule with one may still deny. */
import type { CiliumPeer, CiliumPorts, CiliumRule, CiliumSelector } from '../../model/policies/cilium.ts';
import type { JsonObject } from '../json.ts';
import { peerFields } from './cilium-peers.ts';
import { readIcmps, readToPorts } from './cilium-ports.ts';
import { readPeerSelector } from './cilium-selector.ts';
import {
  attempt,
  attemptEach,
  isAbsent,
  list,
  Mismatch,
  object,
  onlyFields,
  type Problems,
  string,
} from './cilium-shape.ts';

export interface RuleContext {
  readonly direction: 'ingress' | 'egress';
  readonly deny: boolean;
  /** Undefined in clusterwide policies. */
  readonly namespace: string | undefined;
}

const nobody: readonly CiliumPeer[] = [];

export function readRule(item: unknown, field: string, context: RuleContext, problems: Problems): CiliumRule {
  const own: Problems = [];
  const raw = attempt(own, () => object(item, field));
  const rule =
    raw === undefined ? { field, peers: nobody, requires: [] } : readParts(raw, field, context, own);
  problems.push(...own);
  const [first] = own;
  if (first === undefined || !context.deny) return rule;
  return { ...widest(rule, own), uncertain: `${first.field} ${first.why}` };
}

function readParts(raw: JsonObject, field: string, context: RuleContext, own: Problems): CiliumRule {
  const sound = attempt(own, () => checkRule(raw, field, context) ?? true) === true;
  const peers = sound ? readPeers(raw, field, context, own) : nobody;
  const ports = readPorts(raw, field, context, own);
  const authentication = attempt(own, () => readAuthentication(raw, field, own));
  return {
    field,
    requires: readRequires(raw, field, context, own),
    ...(peers === undefined ? {} : { peers }),
    ...(ports === undefined ? {} : { ports }),
    ...(authentication === undefined ? {} : { authentication }),
  };
}

/** What a deny rule with an invalid part could match at most: the parts that are valid narrow it, the others do not. */
function widest(rule: CiliumRule, problems: Problems): CiliumRule {
  const { field, requires, ports, peers } = rule;
  const inPorts = (path: string): boolean => /^\.(toPorts|icmps)\b/.test(path.slice(field.length));
  const portsBroken = problems.some((problem) => inPorts(problem.field));
  const peersBroken = problems.some((problem) => !inPorts(problem.field));
  const everybody: readonly CiliumPeer[] = [{ kind: 'entity', entity: 'all', field }];
  const widePeers = peersBroken || peers === undefined ? everybody : peers;
  return {
    field,
    requires,
    peers: widePeers,
    ...(portsBroken || ports === undefined ? {} : { ports }),
  };
}

/** Throws Mismatch where the rule as a whole makes no sense to the API. */
function checkRule(raw: JsonObject, field: string, context: RuleContext): void {
  const side = context.direction === 'ingress' ? 'from' : 'to';
  const peers = peerFields(context.direction, context.deny, context.namespace).map(({ name }) => name);
  onlyFields(raw, field, [
    ...peers,
    `${side}Requires`,
    'toPorts',
    'icmps',
    ...(context.deny ? [] : ['authentication']),
  ]);
  // IngressCommonRule.sanitize: "combining ... is not supported yet".
  const used = peers.filter((name) => list(raw[name], `${field}.${name}`).length > 0);
  if (used.length > 1)
    throw new Mismatch(`${field}.${used[1] ?? ''}`, `cannot be combined with ${used[0] ?? ''}`);
}

/** Undefined where no peers are named. */
function readPeers(
  raw: JsonObject,
  field: string,
  context: RuleContext,
  own: Problems,
): readonly CiliumPeer[] | undefined {
  let found: readonly CiliumPeer[] | undefined;
  for (const { name, read, emptyIsNobody } of peerFields(
    context.direction,
    context.deny,
    context.namespace,
  )) {
    if (isAbsent(raw[name])) continue;
    const path = `${field}.${name}`;
    const items = list(raw[name], path);
    if (items.length === 0) {
      // An empty list beside another one selects nobody either.
      if (emptyIsNobody) return nobody;
      continue;
    }
    found = attemptEach(own, items, path, read);
    if (context.deny && name === 'toServices')
      own.push({ field: path, why: 'is not looked up in deny rules' });
  }
  return found;
}

function readPorts(
  raw: JsonObject,
  field: string,
  context: RuleContext,
  own: Problems,
): readonly CiliumPorts[] | undefined {
  const items = (name: string): readonly unknown[] =>
    attempt(own, () => list(raw[name], `${field}.${name}`)) ?? [undefined];
  const ports = items('toPorts');
  const icmps = items('icmps');
  if (ports.length === 0 && icmps.length === 0) return undefined;
  if (ports.length > 0 && icmps.length > 0) {
    own.push({ field: `${field}.icmps`, why: 'cannot be combined with toPorts' });
    return [];
  }
  return [
    ...attemptEach(own, ports, `${field}.toPorts`, (item, path) => readToPorts(item, path, context)),
    ...attemptEach(own, icmps, `${field}.icmps`, readIcmps),
  ];
}

/** Cilium up to 1.18 has it. What cannot be read is fulfilled by nobody. */
function readRequires(
  raw: JsonObject,
  field: string,
  context: RuleContext,
  own: Problems,
): readonly CiliumSelector[] {
  const path = `${field}.${context.direction === 'ingress' ? 'from' : 'to'}Requires`;
  const name = path.slice(field.length + 1);
  const items = attempt(own, () => list(raw[name], path));
  if (items === undefined) return [impossible];
  const found = attemptEach(own, items, path, (item, at) => readPeerSelector(item, at, context.namespace));
  return found.length < items.length ? [...found, impossible] : found;
}

const impossible: CiliumSelector = [{ source: 'reserved', key: 'none', operator: 'Exists', values: [] }];

/** What is not understood counts as required: authentication that is asked for must not vanish. */
function readAuthentication(
  raw: JsonObject,
  field: string,
  own: Problems,
): CiliumRule['authentication'] | undefined {
  if (isAbsent(raw.authentication)) return undefined;
  const path = `${field}.authentication`;
  const mode = attempt(own, () => {
    const authentication = object(raw.authentication, path);
    onlyFields(authentication, path, ['mode']);
    return string(authentication.mode, `${path}.mode`);
  });
  if (mode === 'disabled') return undefined;
  if (mode === 'test-always-fail') return mode;
  if (mode !== 'required' && mode !== undefined)
    own.push({ field: `${path}.mode`, why: `is unknown: ${JSON.stringify(mode)}` });
  return 'required';
}
