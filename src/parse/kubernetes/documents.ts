/** The text of a manifest file -> the values in it. A broken document does not take the others of its file along. */
import { boolYaml11Tag, CORE_SCHEMA, load, mergeTag, YAMLException } from 'js-yaml';
import { parseDocument } from 'yaml';
import { parseJson } from '../json.ts';
import { excerpt, type ParseError } from '../result.ts';
import { jsonErrorOffset } from './json-error.ts';

const format = 'kubernetes';

/** One document of a file. `index` counts from 0, empty documents included. */
export interface ManifestDocument {
  readonly index: number;
  readonly value: unknown;
}

export interface Manifest {
  readonly documents: readonly ManifestDocument[];
  readonly errors: readonly ParseError[];
}

/** A document's text as a slice of the file: its place in it, and its first line, from 1. */
export interface DocumentText {
  readonly start: number;
  readonly line: number;
  readonly text: string;
}

/** JSON or YAML, told by the first character and not by the file's name. `{` may begin a YAML flow mapping as well. */
export function parseManifest(text: string, file: string): Manifest {
  // One value is by far the most common, and the largest files are such: no second look at them.
  const whole = looksLikeJson(text) ? tryJson(text) : undefined;
  if (whole !== undefined) return { documents: [{ index: 0, value: whole }], errors: [] };
  const documents: ManifestDocument[] = [];
  const errors: ParseError[] = [];
  for (const [index, document] of splitDocuments(text).entries()) {
    const read = looksLikeJson(document.text) ? readJson(document, file) : readYaml(document, file);
    if ('error' in read) errors.push(read.error);
    else if (read.value !== null && read.value !== undefined) documents.push({ index, value: read.value });
  }
  return { documents, errors };
}

type Read = { readonly value: unknown } | { readonly error: ParseError };

export const looksLikeJson = (text: string): boolean => /^[\s\uFEFF]*[{[]/.test(text);

/**
 * The documents of a file, split as kubectl does it: at lines that begin with `---` (util/yaml, YAMLReader). JSON values that follow
 * one another are documents too.
 */
export function splitDocuments(text: string): readonly DocumentText[] {
  const body = text.startsWith('\uFEFF') ? ` ${text.slice(1)}` : text;
  const found: DocumentText[] = [];
  let start = 0;
  let line = 1;
  const take = (end: number) => {
    const part = body.slice(start, end);
    if (looksLikeJson(part)) found.push(...splitJson(part, start, line));
    else found.push({ start, line, text: part });
    line += newlines(part);
    start = end;
  };
  // A separator at the very top opens the first document and ends none.
  for (const match of body.matchAll(/^---(?=\s|$)/gm)) if (match.index > 0) take(match.index);
  take(body.length);
  return found;
}

/** `{...} {...}`: V8 says where the first value ended. One value, or text that is no JSON, stays one document. */
function splitJson(text: string, start: number, line: number): readonly DocumentText[] {
  const found: DocumentText[] = [];
  let rest = text;
  let offset = 0;
  // Each turn parses the rest once more: enough for the few values that tools print after one another.
  while (found.length < 1000) {
    const end = endOfFirst(rest);
    if (end === undefined) break;
    found.push({
      start: start + offset,
      line: line + newlines(text.slice(0, offset)),
      text: rest.slice(0, end),
    });
    offset += end;
    rest = rest.slice(end);
  }
  found.push({ start: start + offset, line: line + newlines(text.slice(0, offset)), text: rest });
  return found;
}

function endOfFirst(text: string): number | undefined {
  try {
    JSON.parse(text);
    return undefined;
  } catch (error) {
    const at = /non-whitespace character after JSON at position (\d+)/.exec(String(error))?.[1];
    return at === undefined ? undefined : Number(at);
  }
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text.startsWith('\uFEFF') ? text.slice(1) : text) as unknown;
  } catch {
    return undefined;
  }
}

function readJson(document: DocumentText, file: string): Read {
  const json = parseJson(document.text, file, format);
  if (json.ok) return { value: json.value };
  const yaml = /\.json$/i.test(file) ? undefined : readYaml(document, file);
  if (yaml !== undefined && 'value' in yaml) return yaml;
  const { line: _, column: __, ...error } = json.error;
  const offset = jsonErrorOffset(document.text);
  if (offset === undefined) return { error };
  const before = document.text.slice(0, offset);
  return {
    error: { ...error, line: document.line + newlines(before), column: offset - before.lastIndexOf('\n') },
  };
}

/** As kubectl reads YAML: `yes` and `on` are booleans (goyaml.v2, resolve.go), timestamps stay text, `<<` merges. */
const schema = CORE_SCHEMA.withTags(mergeTag, boolYaml11Tag);

function readYaml(document: DocumentText, file: string): Read {
  const fail = (message: string, line?: number, column?: number): Read => ({
    error: {
      code: `${format}/not-yaml`,
      file,
      ...(line === undefined ? {} : { line: document.line + line }),
      ...(column === undefined ? {} : { column: column + 1 }),
      message: excerpt(`not YAML: ${message}`, 200),
    },
  });
  if (isBlank(document.text)) return { value: null };
  try {
    return { value: load(document.text, { schema, maxAliases: 0 }) };
  } catch (error) {
    if (!(error instanceof YAMLException)) return fail(String(error));
    if (/alias/i.test(error.reason)) return readAliases(document.text, fail);
    return fail(error.reason, error.mark?.line, error.mark?.column);
  }
}

/** Aliases are rare and can make a small text stand for a huge value: read by the parser that counts what they unfold to. */
function readAliases(text: string, fail: (message: string) => Read): Read {
  try {
    const document = parseDocument(text, { logLevel: 'silent', prettyErrors: false, merge: true });
    const [error] = document.errors;
    if (error !== undefined) return fail(error.message.split('\n')[0] ?? '');
    return { value: document.toJS({ maxAliasCount: 1000 }) as unknown };
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error));
  }
}

/** Only comments, separators and space. */
const isBlank = (text: string): boolean => !/^(?!\s*(#|$)|(---|\.\.\.)\s*(#.*)?$).+/m.test(text);

function newlines(text: string): number {
  let count = 0;
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) count++;
  return count;
}
