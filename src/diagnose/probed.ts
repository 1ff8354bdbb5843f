import type { Evidence, ProbeResult } from '../model/evidence.ts';
import type { Answer } from '../model/verdict.ts';

/** What the probes say, read by src/probe: this room does no input or output of its own. */
export interface Probed {
  readonly answer: Answer;
  readonly because: string;
  readonly evidence: readonly Evidence[];
  readonly results: readonly ProbeResult[];
}
