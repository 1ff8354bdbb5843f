/** What the probe agent can be asked, and the command that a person would type to ask the same. Pure. */
import { parseAddress } from '../net/address.ts';

interface Common {
  /** Label of the sender for the result: `shop/web-1` or a node's name. */
  readonly src: string;
  /** Default 1000. */
  readonly timeoutMs?: number;
}

export type ProbeRequest =
  /** One echo request. `sizeBytes` is the whole IP packet's size, sent with Don't Fragment; absent: 84 bytes without it. */
  | (Common & { readonly kind: 'icmp'; readonly dst: string; readonly sizeBytes?: number })
  /** A TCP handshake; with `bulk`, `sizeBytes` of payload must then pass in that direction. */
  | (Common & {
      readonly kind: 'tcp';
      readonly dst: string;
      readonly port: number;
      readonly bulk?: { readonly direction: 'from-src' | 'from-dst'; readonly sizeBytes: number };
    })
  /** One datagram of `sizeBytes` payload (default 8) and a wait for any reply. */
  | (Common & {
      readonly kind: 'udp';
      readonly dst: string;
      readonly port: number;
      readonly sizeBytes?: number;
    })
  /** Asks `server` for the addresses of `name`, which must be fully qualified: no search path is used. */
  | (Common & {
      readonly kind: 'dns';
      readonly name: string;
      readonly family: 4 | 6;
      readonly server: string;
      readonly transport: 'udp' | 'tcp';
    });

const defaultTimeoutMs = 1_000;
export const timeoutOf = (request: ProbeRequest): number => request.timeoutMs ?? defaultTimeoutMs;

const isIpv6 = (text: string): boolean => parseAddress(text)?.family === 6;

/** ICMP payload that makes an IP packet of `sizeBytes`: without the IP header and the 8-byte echo header. */
export const echoPayloadBytes = (dst: string, sizeBytes: number): number =>
  Math.max(0, sizeBytes - (isIpv6(dst) ? 48 : 28));

/** `10.0.0.1:80`, `[fd00::1]:80`. */
export const hostPort = (host: string, port: number): string =>
  isIpv6(host) ? `[${host}]:${port}` : `${host}:${port}`;

/** ping(8) for an echo request. -n: no name look-ups, which would themselves hang on a broken network. */
export function pingArgv(request: ProbeRequest & { kind: 'icmp' }): string[] {
  const size =
    request.sizeBytes === undefined
      ? []
      : ['-M', 'do', '-s', String(echoPayloadBytes(request.dst, request.sizeBytes))];
  return ['ping', '-n', '-c1', '-W', seconds(request), ...size, request.dst];
}

/** The command line equivalent to a probe; runs in bash with iputils, curl and dig. */
export function commandOf(request: ProbeRequest): string {
  const wait = seconds(request);
  switch (request.kind) {
    case 'icmp':
      return pingArgv(request).join(' ');
    case 'tcp': {
      if (request.bulk === undefined)
        return `timeout ${wait} bash -c '</dev/tcp/${request.dst}/${request.port}'`;
      const url = `http://${hostPort(request.dst, request.port)}`;
      return request.bulk.direction === 'from-src'
        ? `bash -c 'head -c ${request.bulk.sizeBytes} /dev/zero | curl -sS -m ${wait} --data-binary @- ${url}/'`
        : `curl -sS -f -m ${wait} -o /dev/null ${url}/bytes/1 -o /dev/null ${url}/bytes/${request.bulk.sizeBytes}`;
    }
    case 'udp':
      return `bash -c 'exec 3<>/dev/udp/${request.dst}/${request.port}; head -c ${request.sizeBytes ?? 8} /dev/zero >&3; timeout ${wait} head -c 1 <&3'`;
    case 'dns': {
      const tcp = request.transport === 'tcp' ? ' +tcp' : '';
      return `dig +tries=1 +time=1${tcp} @${request.server} ${request.name} ${request.family === 4 ? 'A' : 'AAAA'}`;
    }
  }
}

const seconds = (request: ProbeRequest): string => String(timeoutOf(request) / 1000);
