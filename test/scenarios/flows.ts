/** Tries flows of a lab with a plain client (flow-probe.mjs), one process a sender. */
import { fileURLToPath } from 'node:url';
import type { Lab } from '../../src/lab/lab.ts';
import { mapLimit } from '../../src/system/exec.ts';

const probe = fileURLToPath(new URL('flow-probe.mjs', import.meta.url));

export interface TriedFlow {
  readonly src: string;
  readonly port: number;
  readonly protocol: string;
  /** Where it goes; absent where `hostName` is to be resolved. */
  readonly address?: string;
  readonly hostName?: string;
  readonly sizeBytes?: number;
}

/** What became of each flow, in order: true, or why not (`timeout`, `ECONNREFUSED` ...). */
export async function tryFlows(lab: Lab, flows: readonly TriedFlow[]): Promise<(true | string)[]> {
  const results = new Map<TriedFlow, true | string>();
  await mapLimit([...new Set(flows.map((flow) => flow.src))], 3, async (src) => {
    const own = flows.filter((flow) => flow.src === src);
    const asked = own.map((flow) => ({
      ...flow,
      kind: flow.port === 8080 || flow.port === 80 ? 'http' : 'echo',
    }));
    const { stdout, stderr } = await lab.exec(lab.pod(src).netns, [process.execPath, probe], {
      input: JSON.stringify(asked),
    });
    if (stdout === '') throw new Error(stderr);
    const answers = JSON.parse(stdout) as (true | string)[];
    for (const [index, flow] of own.entries()) results.set(flow, answers[index] ?? 'no answer');
  });
  return flows.map((flow) => results.get(flow) ?? 'not tried');
}
