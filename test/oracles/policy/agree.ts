/** Engine and reference side by side over all flows of random clusters. */
import { appendFileSync } from 'node:fs';
import fc from 'fast-check';
import type { Cluster } from '../../../src/model/cluster.ts';
import { formatAddress } from '../../../src/net/address.ts';
import type { FlowEnd, PolicyFlow, TraitSource } from '../../../src/policy/endpoint.ts';
import { createEngine } from '../../../src/policy/engine/engine.ts';
import type { PolicyProgram } from '../../../src/policy/ir.ts';
import type { PolicyReading, PolicyWorld } from '../../../src/policy/options.ts';
import type { Outcome } from '../../../src/policy/reference/contract.ts';
import { clusterFrom, flowsOf, type RawObjects } from './world.ts';

export interface Contest {
  readonly program: (world: PolicyWorld) => PolicyProgram;
  readonly traits?: readonly TraitSource[];
  /** The slow answer to the whole flow, both directions. */
  readonly reference: (world: PolicyWorld, flow: PolicyFlow) => Outcome;
}

export interface Disagreement {
  readonly flow: string;
  readonly engine: Outcome;
  readonly reference: Outcome;
}

const endText = (end: FlowEnd): string =>
  end.kind === 'pod'
    ? `${end.pod.namespace}/${end.pod.name}`
    : end.kind === 'node'
      ? end.node.name
      : formatAddress(end.address);

export const flowText = ({ src, dst, protocol, port }: PolicyFlow): string =>
  `${endText(src)} -> ${endText(dst)} ${protocol} ${port}`;

/** Every flow about which the two differ, and how many flows were asked. */
export function compare(
  world: PolicyWorld,
  contest: Contest,
): { readonly asked: number; readonly disagreements: readonly Disagreement[] } {
  const engine = createEngine(world, contest.program(world), contest.traits ?? []);
  const disagreements: Disagreement[] = [];
  let asked = 0;
  for (const flow of flowsOf(world.cluster)) {
    asked++;
    const fast = engine.verdict(flow).verdict;
    const slow = contest.reference(world, flow);
    if (fast !== slow) disagreements.push({ flow: flowText(flow), engine: fast, reference: slow });
  }
  return { asked, disagreements };
}

/** Clusters for each oracle in an ordinary run; PODPATH_POLICY_CASES sets another number. */
export const clusterCount = (ordinary = 200): number => Number(process.env.PODPATH_POLICY_CASES ?? ordinary);

/** Throws with the seed and the smallest cluster on which the two differ. Gives the number of flows that were asked. */
export const agree = (
  objects: fc.Arbitrary<RawObjects>,
  readings: fc.Arbitrary<PolicyReading>,
  contest: Contest,
  numRuns: number = clusterCount(),
): number => agreeOn(objects, clusterFrom, readings, contest, numRuns);

/** As `agree`, on clusters that are made otherwise from what was drawn. */
export function agreeOn<T>(
  draws: fc.Arbitrary<T>,
  clusterOf: (drawn: T) => Cluster,
  readings: fc.Arbitrary<PolicyReading>,
  contest: Contest,
  numRuns: number = clusterCount(),
): number {
  let asked = 0;
  const seed = process.env.PODPATH_POLICY_SEED;
  fc.assert(
    fc.property(draws, readings, (drawn, reading) => {
      const result = compare({ cluster: clusterOf(drawn), reading }, contest);
      asked += result.asked;
      if (result.disagreements.length > 0)
        throw new Error(
          `${result.disagreements.length} of ${result.asked} flows differ, the first:\n${result.disagreements
            .slice(0, 3)
            .map((one) => `  ${one.flow}: engine ${one.engine}, reference ${one.reference}`)
            .join('\n')}`,
        );
    }),
    { numRuns, ...(seed === undefined ? {} : { seed: Number(seed) }) },
  );
  // scripts/soak-policy.mjs adds them up.
  const tally = process.env.PODPATH_POLICY_TALLY;
  if (tally !== undefined) appendFileSync(tally, `${asked}\n`);
  return asked;
}
