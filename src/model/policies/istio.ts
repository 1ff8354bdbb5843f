/** Istio's policy objects in normal form. */

export interface IstioObjects {
  readonly kind: 'istio';
}

export const noIstioObjects: IstioObjects = { kind: 'istio' };
