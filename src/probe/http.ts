/** As much of HTTP/1 as the transfers need: the status, and whether the body has come whole. Pure. */

export interface Reply {
  /** `HTTP/1.1 200 OK` */
  readonly status: string;
  readonly code: number;
  readonly bodyBytes: number;
  /** False while bytes are missing, and for ever where the server announces no length. */
  readonly isWhole: boolean;
}

/** Undefined until the head has come, or if this is no HTTP. */
export function readReply(received: Buffer): Reply | undefined {
  const headBytes = received.indexOf('\r\n\r\n');
  if (headBytes < 0) return undefined;
  const head = received.toString('latin1', 0, headBytes);
  const [, status = '', code = ''] = /^(HTTP\/1\.[01] (\d{3})[^\r]*)/.exec(head) ?? [];
  if (status === '') return undefined;
  const length = /^content-length:\s*(\d+)\s*$/im.exec(head)?.[1];
  const bodyBytes = received.length - headBytes - 4;
  return {
    status,
    code: Number(code),
    bodyBytes,
    isWhole: length !== undefined && bodyBytes >= Number(length),
  };
}
