/** Echo requests by the ping program: it knows how to read the ICMP errors that come back. */
import { type ExecResult, exec } from '../system/exec.ts';
import type { Found } from './outcome.ts';
import { type ProbeRequest, pingArgv, timeoutOf } from './request.ts';

export async function probeIcmp(request: ProbeRequest & { kind: 'icmp' }): Promise<Found> {
  const result = await exec(pingArgv(request), { timeoutMs: timeoutOf(request) + 200 });
  if (result.startError !== undefined)
    return { outcome: 'error', output: `cannot start ping: ${result.startError} (install iputils-ping)` };
  return readPing(result);
}

/** Reads what iputils ping printed. Exit code 1 is "no reply", 2 is "could not send". */
export function readPing(result: Pick<ExecResult, 'code' | 'stdout' | 'stderr' | 'timedOut'>): Found {
  const output = pingLines(result);
  const outcome = () => {
    if (result.code === 0) return 'ok';
    // Router's "Frag needed and DF set (mtu = 1450)", IPv6 "Packet too big: mtu=1450", own "message too long, mtu=1450".
    if (/frag needed|packet too big|message too long/i.test(output)) return 'too-big';
    if (/unreachable|prohibited|packet filtered|time to live exceeded|permission denied/i.test(output))
      return 'unreachable';
    return result.code === 1 || result.timedOut ? 'timeout' : 'error';
  };
  return { outcome: outcome(), output };
}

/** The lines that say something: replies, errors and the statistics, without ping's headings. */
function pingLines(result: Pick<ExecResult, 'stdout' | 'stderr'>): string {
  return `${result.stdout}\n${result.stderr}`
    .split('\n')
    .map((line) => line.trim())
    .filter(
      (line) => line !== '' && !line.startsWith('PING ') && !line.startsWith('---') && line !== 'pipe 1',
    )
    .join('\n');
}
