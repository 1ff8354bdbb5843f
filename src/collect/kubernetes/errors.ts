/** Failures that end the run: without an API server there is nothing to collect. */
import { PodpathError } from '../../model/errors.ts';
import type { Connection } from './connection.ts';
import type { Failure } from './failure.ts';

const server = ({ base }: Connection): string => new URL(base).origin;

export function noServer(connection: Connection, failure: Failure): PodpathError {
  const where = `${connection.name}, ${server(connection)}`;
  const flags = connection.kubectlFlags;
  switch (failure.kind) {
    case 'unauthenticated':
      return new PodpathError({
        code: 'cluster/unauthenticated',
        what: 'the API server does not accept the credentials',
        where,
        why: failure.message,
        todo: `kubectl auth whoami${flags} shows who you are; log in again if the token has expired`,
      });
    case 'forbidden':
      return new PodpathError({
        code: 'cluster/forbidden',
        what: 'the account may not even ask what the cluster serves',
        where,
        why: failure.message,
        todo: `kubectl auth can-i get /apis${flags}; podpath doctor --rbac prints the rights that are needed`,
      });
    case 'tls':
      return new PodpathError({
        code: 'cluster/tls',
        what: 'no trusted connection to the API server',
        where,
        why: failure.message,
        todo: `check certificate-authority and tls-server-name in the kubeconfig; kubectl version${flags} uses the same`,
      });
    default:
      return new PodpathError({
        code: 'cluster/unreachable',
        what: 'the API server cannot be asked',
        where,
        why: failure.message,
        todo: `kubectl version${flags} asks the same server; --context names another, -s PATH reads a snapshot`,
      });
  }
}
