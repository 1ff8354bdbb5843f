/** Words shared by the probes: how a system error ends a probe. */
import type { ProbeResult } from '../model/evidence.ts';

export type Outcome = ProbeResult['outcome'];

/** What a probe found, before it is labelled with the request. */
export interface Found {
  readonly outcome: Outcome;
  readonly output: string;
  readonly dns?: { readonly rcode?: string; readonly answers: readonly string[] };
}

/**
 * Outcome of a socket error. Linux turns ICMP port unreachable into ECONNREFUSED, host and net unreachable (also the
 * administratively-prohibited codes) into EHOSTUNREACH and ENETUNREACH, and fragmentation-needed into EMSGSIZE.
 */
export function outcomeOfError(code: string | undefined): Outcome {
  switch (code) {
    case 'ECONNREFUSED':
      return 'refused';
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'EHOSTDOWN':
    case 'EACCES':
    case 'EPERM':
      // EACCES: a prohibit route. EPERM: the sender's own OUTPUT chain dropped the packet.
      return 'unreachable';
    case 'ETIMEDOUT':
      return 'timeout';
    case 'EMSGSIZE':
      return 'too-big';
    default:
      return 'error';
  }
}
