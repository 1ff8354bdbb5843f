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
        (result.kind === 'dns' && isOwnName(result.dst, flow))),
  );
}

/** The name that the flow's client asks for: as given, or in full as its Service is called. */
function isOwnName(asked: string, { hostName, dst }: Flow): boolean {
  if (hostName === undefined) return false;
  if (asked === hostName.replace(/\.$/, '')) return true;
  return dst.kind === 'service' && asked.startsWith(`${dst.name}.${dst.namespace}.svc.`);
}
