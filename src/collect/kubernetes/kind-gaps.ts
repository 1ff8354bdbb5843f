/** What could not be listed, as gaps: each names the command that shows the right that is missing. */
import type { Gap } from '../../model/gap.ts';
import type { Connection } from './connection.ts';
import type { Failure } from './failure.ts';
import { type CollectedKind, listFile, listName } from './kinds.ts';

/** `kubectl auth can-i list pods --all-namespaces --as jo` */
export const canI = (
  connection: Connection,
  verb: 'list' | 'get',
  resource: string,
  scope: 'all' | 'cluster' | { readonly namespace: string },
): string => {
  const where =
    scope === 'all' ? ' --all-namespaces' : scope === 'cluster' ? '' : ` --namespace ${scope.namespace}`;
  return `kubectl auth can-i ${verb} ${resource}${where}${connection.kubectlFlags}`;
};

export function kindGap(
  connection: Connection,
  kind: CollectedKind,
  namespaced: boolean,
  failure: Failure,
): Gap {
  const name = listName(kind);
  const scope = kind.namespace !== undefined ? { namespace: kind.namespace } : namespaced ? 'all' : 'cluster';
  return {
    what: `the cluster's ${name}`,
    where: listFile(kind),
    why: `${failure.message}; without them ${kind.lost}`,
    todo:
      failure.kind === 'forbidden' || failure.kind === 'unauthenticated'
        ? `${canI(connection, 'list', name, scope)}; podpath doctor --rbac prints the rights`
        : `kubectl get ${name}${scope === 'all' ? ' -A' : ''}${connection.kubectlFlags}, and collect again`,
  };
}

/** Some namespaces were read. */
export function partGap(
  connection: Connection,
  kind: CollectedKind,
  read: ReadonlySet<string>,
  failure: Failure,
  usable: boolean,
): Gap {
  const name = listName(kind);
  const names = [...read];
  const some = `${names.slice(0, 3).join(', ')}${names.length > 3 ? `, and ${names.length - 3} more` : ''}`;
  return {
    what: `${name} outside of the namespaces that the account may read (${some})`,
    where: listFile(kind),
    why: usable
      ? failure.message
      : `${failure.message}; pods of other namespaces are known, so that these few would mislead: without all of them ${kind.lost}`,
    todo: `${canI(connection, 'list', name, 'all')}; podpath doctor --rbac prints the rights`,
  };
}
