/** Metadata as the API server fills it in, the same for the same lab every time. */
import { createHash } from 'node:crypto';
import type { RawObject } from './lab.ts';
import type { PlannedApp } from './plan.ts';
import type { LabState } from './state.ts';

interface Owner {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

export interface MetaFields {
  readonly namespace?: string;
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly owner?: Owner;
}

export function objectMeta(state: LabState, kind: string, fields: MetaFields): RawObject['metadata'] {
  const { owner, ...own } = fields;
  return {
    ...own,
    uid: uid(state, kind, fields.namespace ?? '', fields.name),
    resourceVersion: '1',
    creationTimestamp: state.createdAt,
    ...(owner === undefined
      ? {}
      : {
          ownerReferences: [
            {
              apiVersion: owner.apiVersion,
              kind: owner.kind,
              name: owner.name,
              uid: uid(state, owner.kind, owner.namespace, owner.name),
              controller: true,
              blockOwnerDeletion: true,
            },
          ],
        }),
  };
}

/** A version 5-shaped UUID of what names the object. */
function uid(state: LabState, kind: string, namespace: string, name: string): string {
  const hex = createHash('sha1').update([state.name, kind, namespace, name].join('\0')).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-5${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** The hash that controllers put in pod labels and ReplicaSet names; theirs is made of other characters, its use is the same. */
export const templateHash = (app: PlannedApp): string =>
  createHash('sha1').update(`${app.namespace}/${app.name}`).digest('hex').slice(0, 10);
