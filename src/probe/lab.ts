/** Probes in a lab: the agent runs by `ip netns exec` inside the sender's namespace. */
import type { Lab } from '../lab/lab.ts';
import type { LabState } from '../lab/state.ts';
import { PodpathError } from '../model/errors.ts';
import type { ProbeResult } from '../model/evidence.ts';
import { bundledEntry } from '../system/entry.ts';
import type { PlannedProbe } from './plan.ts';
import { type ProbeRequest, timeoutOf } from './request.ts';

/** Start-up of the agent on a busy machine, and the grace of its last probe. */
const agentOverheadMs = 5_000;

/**
 * Sends the probes from one network namespace of the lab, all at once. Results in request order, their commands as one
 * would type them on the host. Throws PodpathError if the agent cannot run there.
 */
export async function probeFromLab(
  lab: Pick<Lab, 'exec'>,
  srcNetns: string,
  requests: readonly ProbeRequest[],
): Promise<ProbeResult[]> {
  if (requests.length === 0) return [];
  const result = await lab.exec(srcNetns, [process.execPath, bundledEntry('agent')], {
    input: JSON.stringify(requests),
    timeoutMs: Math.max(...requests.map(timeoutOf)) + agentOverheadMs,
  });
  const results = result.code === 0 ? readResults(result.stdout) : undefined;
  if (results?.length !== requests.length)
    throw new PodpathError({
      code: 'probe/agent-failed',
      what: 'the probes could not be sent',
      where: srcNetns,
      why: result.startError ?? (result.timedOut ? 'the probe agent did not end' : lastLine(result.stderr)),
      todo: 'see that the lab is up: podpath lab list',
    });
  return results.map((one) => ({ ...one, command: `ip netns exec ${srcNetns} ${one.command}` }));
}

interface HasPlaces {
  readonly state: Pick<LabState, 'nodes' | 'pods'>;
}

/** Runs a plan: one agent a sender, all senders at once. Results in plan order. */
export async function runLabProbes(
  lab: Pick<Lab, 'exec'> & HasPlaces,
  plan: readonly PlannedProbe[],
): Promise<ProbeResult[]> {
  const senders = [...new Set(plan.map((probe) => probe.from))];
  const results = new Map<PlannedProbe, ProbeResult>();
  await Promise.all(
    senders.map(async (from) => {
      const probes = plan.filter((probe) => probe.from === from);
      const requests = probes.map((probe) => probe.request);
      const found = await probeFromLab(lab, labNetns(lab, from), requests);
      for (const [index, probe] of probes.entries()) {
        const result = found[index];
        if (result !== undefined) results.set(probe, result);
      }
    }),
  );
  return plan.flatMap((probe) => results.get(probe) ?? []);
}

/** The lab's namespace for a snapshot's namespace id: `node1` or `node1/shop_web-1`. */
function labNetns(lab: HasPlaces, id: string): string {
  const found =
    lab.state.nodes.find((node) => node.name === id) ??
    lab.state.pods.find((pod) => `${pod.node}/${pod.namespace}_${pod.name}` === id);
  if (found !== undefined) return found.netns;
  throw new PodpathError({
    code: 'probe/no-such-namespace',
    what: `the lab has no network namespace for ${id}`,
    why: 'the lab has changed since the probes were planned',
    todo: 'run the command again',
  });
}

function readResults(stdout: string): ProbeResult[] | undefined {
  try {
    const parsed: unknown = JSON.parse(stdout);
    return Array.isArray(parsed) ? (parsed as ProbeResult[]) : undefined;
  } catch {
    return undefined;
  }
}

const lastLine = (text: string): string => text.trim().split('\n').at(-1) || 'it printed nothing';
