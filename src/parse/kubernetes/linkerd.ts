/** Linkerd's policy objects in normal form. */
import { type LinkerdObjects, noLinkerdObjects } from '../../model/policies/linkerd.ts';
import type { ReadKind } from './cluster.ts';

export function readLinkerd(_read: ReadKind): LinkerdObjects {
  return noLinkerdObjects;
}
