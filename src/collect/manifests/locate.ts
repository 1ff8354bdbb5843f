/** From a field of an object to its line in a manifest, found when somebody asks. */
import type { ObjectOrigin } from '../../model/cluster.ts';
import { fieldLine } from '../../parse/kubernetes/field-line.ts';

/** `field` is relative to the object: `spec.ingress[0]`; empty for the object. The line is 1-based, absent where it cannot be found. */
export type Locate = (
  origin: ObjectOrigin,
  field?: string,
) => Promise<{ readonly file: string; readonly line?: number }>;

/** Keeps the text of the file that was asked for last: questions come file by file. */
export function locator(read: (file: string) => Promise<string>): Locate {
  let last: { readonly file: string; readonly text: Promise<string | undefined> } | undefined;
  return async ({ file, document, path }, field = '') => {
    if (last?.file !== file) last = { file, text: read(file).catch(() => undefined) };
    const text = await last.text;
    const full = path === '' || field === '' ? `${path}${field}` : `${path}.${field}`;
    const line = text === undefined ? undefined : fieldLine(text, document, full);
    return { file, ...(line === undefined ? {} : { line }) };
  };
}
