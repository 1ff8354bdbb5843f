/** AdminNetworkPolicy, BaselineAdminNetworkPolicy (v1alpha1) and ClusterNetworkPolicy (v1alpha2) in normal form. */
import type { AdminPolicy } from '../../model/policies/admin.ts';
import type { ReadKind } from './cluster.ts';

export function readAdminPolicies(_read: ReadKind): readonly AdminPolicy[] {
  return [];
}
