/** The kernel's counters of one connection, which Node does not give out: by ss(8) from the same namespace. */
import type { Socket } from 'node:net';
import { exec } from '../system/exec.ts';

export interface SocketInfo {
  readonly ackedBytes: number;
  readonly retransmits: number;
  readonly mssBytes: number;
}

/** Undefined where ss is missing or does not show the connection. */
export async function socketInfo(socket: Socket): Promise<SocketInfo | undefined> {
  if (socket.localPort === undefined) return undefined;
  const result = await exec(['ss', '-Htin', 'sport', '=', `:${socket.localPort}`], { timeoutMs: 300 });
  if (result.code !== 0 || result.stdout.trim() === '') return undefined;
  return readSocketInfo(result.stdout);
}

/** Absent counters are zero: ss prints none that is zero. The SYN counts as one acknowledged byte. */
export function readSocketInfo(text: string): SocketInfo {
  const number = (pattern: RegExp) => Number(pattern.exec(text)?.[1] ?? 0);
  return {
    ackedBytes: Math.max(0, number(/\bbytes_acked:(\d+)/) - 1),
    retransmits: number(/\bretrans:\d+\/(\d+)/),
    mssBytes: number(/\bmss:(\d+)/),
  };
}
