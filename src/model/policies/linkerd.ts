/** Linkerd's policy objects in normal form. */

export interface LinkerdObjects {
  readonly kind: 'linkerd';
}

export const noLinkerdObjects: LinkerdObjects = { kind: 'linkerd' };
