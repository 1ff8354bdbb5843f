/** Istio's policy objects in normal form. */
import { type IstioObjects, noIstioObjects } from '../../model/policies/istio.ts';
import type { ReadKind } from './cluster.ts';

export function readIstio(_read: ReadKind): IstioObjects {
  return noIstioObjects;
}
