/** Runs probes from the network namespace that this process lives in. */
import type { ProbeResult } from '../model/evidence.ts';
import { mapLimit } from '../system/exec.ts';
import { probeDns } from './dns.ts';
import { probeIcmp } from './icmp.ts';
import type { Found } from './outcome.ts';
import { commandOf, type ProbeRequest, timeoutOf } from './request.ts';
import { probeHandshake } from './tcp.ts';
import { probeTransfer } from './transfer.ts';
import { probeUdp } from './udp.ts';

/** Probes under way at once: a ladder has about twenty, and all of them may have to wait for their time-out. */
const concurrency = 64;

/** Time that a probe may overrun its own time-out before it is given up. */
const graceMs = 400;

/** All probes, results in request order. Never rejects. */
export const runProbes = (requests: readonly ProbeRequest[]): Promise<ProbeResult[]> =>
  mapLimit(requests, concurrency, runProbe);

async function runProbe(request: ProbeRequest): Promise<ProbeResult> {
  const started = performance.now();
  const found = await withDeadline(attempt(request), timeoutOf(request) + graceMs);
  return label(request, found, Math.round(performance.now() - started));
}

async function attempt(request: ProbeRequest): Promise<Found> {
  try {
    switch (request.kind) {
      case 'icmp':
        return await probeIcmp(request);
      case 'tcp':
        return await (request.bulk === undefined
          ? probeHandshake(request)
          : probeTransfer(request, request.bulk));
      case 'udp':
        return await probeUdp(request);
      case 'dns':
        return await probeDns(request);
    }
  } catch (error) {
    return { outcome: 'error', output: error instanceof Error ? error.message : String(error) };
  }
}

function withDeadline(found: Promise<Found>, deadlineMs: number): Promise<Found> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Found>((resolve) => {
    timer = setTimeout(
      () => resolve({ outcome: 'error', output: `the probe did not end in ${deadlineMs} ms` }),
      deadlineMs,
    );
  });
  return Promise.race([found, late]).finally(() => clearTimeout(timer));
}

function label(request: ProbeRequest, found: Found, ms: number): ProbeResult {
  const base = {
    src: request.src,
    kind: request.kind,
    outcome: found.outcome,
    ms,
    command: commandOf(request),
    output: found.output,
  };
  switch (request.kind) {
    case 'icmp': {
      const df = request.sizeBytes === undefined ? {} : { df: true };
      return { ...base, dst: request.dst, port: 0, sizeBytes: request.sizeBytes ?? 0, ...df };
    }
    case 'tcp': {
      const bulk = request.bulk === undefined ? {} : { bulk: request.bulk.direction };
      return {
        ...base,
        dst: request.dst,
        port: request.port,
        sizeBytes: request.bulk?.sizeBytes ?? 0,
        ...bulk,
      };
    }
    case 'udp':
      return { ...base, dst: request.dst, port: request.port, sizeBytes: request.sizeBytes ?? 0 };
    case 'dns': {
      const dns = {
        server: request.server,
        transport: request.transport,
        answers: found.dns?.answers ?? [],
        ...(found.dns?.rcode === undefined ? {} : { rcode: found.dns.rcode }),
      };
      return { ...base, dst: request.name, port: 53, sizeBytes: 0, dns };
    }
  }
}
