/** Names in AuthorizationPolicies, resolved against the namespaces and service accounts that pods have. */
import { always, anyOf, doubtful, exactly, never, type Ternary } from './mesh-expr.ts';

export interface KnownNames {
  readonly namespaces: readonly string[];
  /** `namespace/name` */
  readonly accounts: readonly string[];
}

export const account = (names: readonly string[]): Ternary =>
  names.length === 0 ? never : exactly({ is: 'service-account', names });

export const namespaceNamed = (pattern: string, { namespaces }: KnownNames): Ternary => {
  const names = pattern.includes('*') ? namespaces.filter((name) => fits(pattern, name)) : [pattern];
  return names.length === 0 ? never : exactly({ is: 'namespace', names });
};

/** Exact, `prefix*`, `*suffix`, or `*` alone; a star elsewhere is a letter like any other. */
function fits(pattern: string, text: string): boolean {
  if (pattern === '*') return text !== '';
  if (pattern.startsWith('*')) return text.endsWith(pattern.slice(1));
  return pattern.endsWith('*') ? text.startsWith(pattern.slice(0, -1)) : text === pattern;
}

const home = 'cluster.local';

export const trustDomain = (pattern: string): Ternary => (fits(pattern, home) ? always : doubtful);

/**
 * `<trust domain>/ns/<namespace>/sa/<name>`. In policies cluster.local points to the mesh's own trust domain whatever it is
 * (pilot/pkg/security/trustdomain); another domain may be the mesh's, or an alias of it.
 */
export function principal(pattern: string, { accounts }: KnownNames): Ternary {
  const path = (name: string): string => `ns/${name.replace('/', '/sa/')}`;
  if (pattern.startsWith(`${home}/`) && !pattern.endsWith('*')) {
    const exact = /^ns\/([^/]+)\/sa\/([^/]+)$/.exec(pattern.slice(home.length + 1));
    return exact === null ? never : account([`${exact[1]}/${exact[2]}`]);
  }
  if (pattern === '*') return always;
  const sure = new Set(accounts.filter((name) => fits(pattern, `${home}/${path(name)}`)));
  const slash = pattern.indexOf('/');
  const domain = slash < 0 ? pattern : pattern.slice(0, slash);
  const perhaps = accounts.filter((name) => {
    if (sure.has(name)) return false;
    if (slash < 0) return domain.endsWith('*') && !domain.startsWith('*');
    if (domain === '' || domain === '*' || domain === home) return false;
    return fits(pattern.slice(slash + 1), path(name));
  });
  const certain = account([...sure]).certain;
  return perhaps.length === 0
    ? exactly(certain)
    : { certain, may: anyOf([certain, account(perhaps).certain]) };
}
