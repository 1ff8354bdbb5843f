/** Cilium's policy objects in normal form. */

export interface CiliumObjects {
  readonly kind: 'cilium';
}

export const noCiliumObjects: CiliumObjects = { kind: 'cilium' };
