/** Linkerd's clients as endpoint expressions: who calls with which identity, and from where. */
import type { LinkerdClients, LinkerdDefaultPolicy, LinkerdNetwork } from '../../model/policies/linkerd.ts';
import { prefix } from '../../net/prefix.ts';
import { type EndpointExpr, kinds, noEndpoint } from '../ir.ts';
import { traits } from './linkerd-facts.ts';
import { always, anyOf, both, exactly, never, some, type Ternary, trait } from './mesh-expr.ts';

/** `[namespace, name]` of the service accounts that pods have. */
export type Accounts = readonly (readonly [string, string])[];

export const [source, sourceUnsure] = [trait(traits.source), trait(traits.sourceUnsure)];
export const meshed: Ternary = { certain: source, may: anyOf([source, sourceUnsure]) };
export const withTls = (peer: Ternary): Ternary => both([meshed, peer]);

export const account = (names: readonly string[]): Ternary =>
  names.length === 0 ? never : exactly({ is: 'service-account', names });

export function clientsExpr(clients: LinkerdClients, accounts: Accounts): Ternary {
  if (clients.kind === 'anyone') return always;
  if (clients.kind === 'any-tls') return meshed;
  const patterns = clients.identities.map((pattern): Ternary => {
    if (pattern === '*') return always;
    const named = (wanted: Fit) =>
      account(
        accounts
          .filter(([namespace, name]) => fitOf(pattern, name, namespace) === wanted)
          .map(([namespace, name]) => `${namespace}/${name}`),
      ).certain;
    const [sure, perhaps] = [named('sure'), named('perhaps')];
    return perhaps === noEndpoint ? exactly(sure) : { certain: sure, may: anyOf([sure, perhaps]) };
  });
  return withTls(
    some([
      ...patterns,
      account(clients.serviceAccounts.map(({ namespace, name }) => `${namespace}/${name}`)),
      clients.namespaces.length === 0 ? never : exactly({ is: 'namespace', names: clients.namespaces }),
    ]),
  );
}

type Fit = 'sure' | 'perhaps' | 'not';

/** Label by label from the right; the control plane's namespace and the trust domain are taken to be the defaults. */
function fitOf(pattern: string, name: string, namespace: string): Fit {
  if (pattern === '*') return 'sure';
  const own = [name, namespace, 'serviceaccount', 'identity', 'linkerd', 'cluster', 'local'].join('.');
  const open = pattern.startsWith('*.');
  if (open ? own.endsWith(pattern.slice(1)) : own === pattern) return 'sure';
  const [head, tail] = split(pattern);
  if (tail === undefined) return open ? 'perhaps' : 'not';
  if (tail === 'linkerd.cluster.local') return 'not';
  return head === `${name}.${namespace}` || head === `*.${namespace}` ? 'perhaps' : 'not';
}

function split(pattern: string): readonly [string, string | undefined] {
  const mark = '.serviceaccount.identity.';
  const at = pattern.indexOf(mark);
  return at < 0 ? [pattern, undefined] : [pattern.slice(0, at), pattern.slice(at + mark.length)];
}

/** Helm's clusterNetworks; pods are in them whatever their address. */
const clusterNetworks: EndpointExpr = anyOf([
  kinds('pod'),
  {
    is: 'address',
    prefixes: ['10.0.0.0/8', '100.64.0.0/10', '172.16.0.0/12', '192.168.0.0/16', 'fd00::/8'].map((text) =>
      prefix(text),
    ),
    except: [],
  },
]);

export const networksExpr = (networks: readonly LinkerdNetwork[]): EndpointExpr =>
  networks.length === 0
    ? clusterNetworks
    : anyOf(networks.map(({ cidr, except }) => ({ is: 'address', prefixes: [cidr], except })));

export function defaultExpr(policy: LinkerdDefaultPolicy, needsIdentity: boolean): Ternary {
  if (policy === 'deny') return never;
  if (policy === 'audit') return always;
  return both([
    policy.startsWith('cluster-') ? exactly(clusterNetworks) : always,
    needsIdentity || policy.endsWith('-authenticated') ? meshed : always,
  ]);
}
