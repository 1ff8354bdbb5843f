/** The one error that people see: what failed, where, why, and what to do. Exit code 3 unless another is given. */
export interface Complaint {
  /** Stable, `snapshot/unknown-schema`. */
  readonly code: string;
  readonly what: string;
  /** File, object, argument or position. */
  readonly where?: string;
  readonly why: string;
  readonly todo: string;
}

export class PodpathError extends Error {
  readonly complaint: Complaint;
  constructor(complaint: Complaint, options?: { cause?: unknown }) {
    super(
      `${complaint.what}${complaint.where === undefined ? '' : ` (${complaint.where})`}: ${complaint.why}`,
      options,
    );
    this.name = 'PodpathError';
    this.complaint = complaint;
  }
}
