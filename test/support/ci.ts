/** Whether this is a run in CI, where one commit must have one answer and nothing may be skipped. */
export const isCi = (process.env.CI ?? '') !== '' && process.env.CI !== 'false';
