/** Which recorded probes tell something about a flow. Pure. */
import type { ProbeResult } from '../model/evidence.ts';
import type { Flow } from '../model/flow.ts';
import { formatAddress } from '../net/address.ts';
import { labelOf } from './facts.ts';

/** Probes from the flow's source to its destination: the flow's own protocol and port, pings, and its name. */
export function recordedFor(flow: Flow, results: readonly ProbeResult[]): readonly ProbeResult[] {
  const src = labelOf(flow.src);
  const dst = formatAddress(flow.dst.address);
  return results.filter(
    (result) =>
      result.src === src &&
      ((result.dst === dst &&
        (result.kind === 'icmp' || (result.kind === flow.protocol && result.port === flow.dstPort))) ||
        (result.kind === 'dns' && flow.hostName !== undefined && namesMatch(result.dst, flow.hostName))),
  );
}

const namesMatch = (asked: string, name: string): boolean => asked === name || asked.startsWith(`${name}.`);
