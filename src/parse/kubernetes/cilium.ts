/** Cilium's policy objects in normal form. */
import { type CiliumObjects, noCiliumObjects } from '../../model/policies/cilium.ts';
import type { ReadKind } from './cluster.ts';

export function readCilium(_read: ReadKind): CiliumObjects {
  return noCiliumObjects;
}
