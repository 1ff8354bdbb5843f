/** Calico's policy objects in normal form. */

export interface CalicoObjects {
  readonly kind: 'calico';
}

export const noCalicoObjects: CalicoObjects = { kind: 'calico' };
