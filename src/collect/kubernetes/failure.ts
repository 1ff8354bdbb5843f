/** Why a request to the API server brought nothing. A failure is data: most of them leave a gap, not an end. */
export type FailureKind =
  /** The server, or a proxy in front of it, could not be reached or cut the connection. */
  | 'unreachable'
  | 'timeout'
  /** The server's certificate is not trusted, or the client's is refused. */
  | 'tls'
  | 'unauthenticated'
  | 'forbidden'
  | 'missing'
  /** The continue token has expired. */
  | 'gone'
  | 'throttled'
  | 'server'
  /** Not JSON, or not what the API promises. */
  | 'malformed'
  | 'too-large'
  | 'interrupted';

export interface Failure {
  readonly kind: FailureKind;
  /** For people; holds no credentials. */
  readonly message: string;
  readonly status?: number;
  /** With `gone`: the token that continues at the server's present state. */
  readonly continueToken?: string;
}

export class ApiError extends Error {
  readonly failure: Failure;
  constructor(failure: Failure) {
    super(failure.message);
    this.name = 'ApiError';
    this.failure = failure;
  }
}

/** Failures that another try may mend. */
export const isPassing = ({ kind }: Failure): boolean =>
  kind === 'unreachable' || kind === 'timeout' || kind === 'throttled' || kind === 'server';
