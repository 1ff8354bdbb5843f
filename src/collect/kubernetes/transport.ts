/** One HTTP request, whole or failed. Only GET: collecting changes nothing. */
import http from 'node:http';
import https from 'node:https';
import { createGunzip } from 'node:zlib';
import type { RequestHeaders } from './connection.ts';
import { ApiError, type Failure } from './failure.ts';

export interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

export interface RequestOptions {
  readonly agent: http.Agent;
  readonly headers: RequestHeaders;
  /** From the first packet to the last byte. 0: no limit. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** Of the unpacked body. */
  readonly maxBytes: number;
}

/** Throws ApiError if no whole answer came. Whatever its status, an answer is no failure here. */
export async function get(url: URL, options: RequestOptions): Promise<Answer> {
  const limit = options.timeoutMs > 0 ? [AbortSignal.timeout(options.timeoutMs)] : [];
  const signal = AbortSignal.any([options.signal, ...limit]);
  try {
    return await exchange(url, options, signal);
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw new ApiError(failureOf(error, url, options));
  }
}

function exchange(url: URL, options: RequestOptions, signal: AbortSignal): Promise<Answer> {
  const { agent, headers, maxBytes } = options;
  const send = url.protocol === 'http:' ? http.request : https.request;
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const request = send(url, {
      agent,
      headers: { ...(headers as http.OutgoingHttpHeaders), 'Accept-Encoding': 'gzip' },
      signal,
    });
    request.on('error', reject);
    request.on('response', (response) => {
      const packed = response.headers['content-encoding'] === 'gzip';
      const body = packed ? response.pipe(createGunzip()) : response;
      const chunks: Buffer[] = [];
      let size = 0;
      // A connection that is cut shows on the response, not on what unpacks it.
      response.on('error', reject);
      response.on('aborted', () => reject(new Error('the connection was cut in the middle of the answer')));
      body.on('error', reject);
      body.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > maxBytes) {
          reject(new ApiError({ kind: 'too-large', message: `the answer is larger than ${maxBytes} bytes` }));
          request.destroy();
        } else chunks.push(chunk);
      });
      body.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(chunks, size).toString('utf8'),
        }),
      );
    });
    request.end();
  });
}

function failureOf(error: unknown, url: URL, { signal, timeoutMs }: RequestOptions): Failure {
  if (signal.aborted) return { kind: 'interrupted', message: 'interrupted' };
  const name = error instanceof Error ? error.name : '';
  const cause = error instanceof Error ? error.cause : undefined;
  if (name === 'TimeoutError' || (cause instanceof Error && cause.name === 'TimeoutError'))
    return { kind: 'timeout', message: `no whole answer from ${url.host} within ${timeoutMs / 1000} s` };
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const text = `${url.host}: ${words[code] ?? (error instanceof Error ? error.message : String(error))}`;
  return { kind: tlsCodes.test(code) ? 'tls' : 'unreachable', message: text };
}

const words: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused: nothing listens there',
  ENOTFOUND: 'its name cannot be resolved',
  EAI_AGAIN: 'its name cannot be resolved now (the resolver does not answer)',
  EHOSTUNREACH: 'no route to the host',
  ENETUNREACH: 'the network is unreachable',
  ETIMEDOUT: 'the connection timed out',
  ECONNRESET: 'the connection was reset',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate signs itself and is not trusted',
  SELF_SIGNED_CERT_IN_CHAIN: "its certificate's authority is not trusted",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "its certificate's authority is not trusted",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "its certificate's authority is not trusted",
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet: is the clock of this host right?',
};

/** OpenSSL's words for certificates (X509_V_ERR_*) and for handshakes (alerts of the server among them). */
const tlsCodes = /CERT|SIGNATURE|ISSUER|^ERR_TLS|^ERR_SSL|^ERR_OSSL/;
