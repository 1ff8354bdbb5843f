/** Calico's policy objects in normal form. */
import { type CalicoObjects, noCalicoObjects } from '../../model/policies/calico.ts';
import type { ReadKind } from './cluster.ts';

export function readCalico(_read: ReadKind): CalicoObjects {
  return noCalicoObjects;
}
