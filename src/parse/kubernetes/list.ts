/** A Kubernetes list, a bare list of objects, one object, or several YAML documents -> the objects in it. */
import { LineCounter, parseAllDocuments } from 'yaml';
import { describe, isObject, type JsonObject, parseJson } from '../json.ts';
import { excerpt, failed, type Parsed, type ParseNote, parsed } from '../result.ts';

const format = 'kubernetes';

/** Items that are no objects are left out with a note. Lists inside of lists are opened. */
export function parseList(text: string, file: string): Parsed<readonly JsonObject[]> {
  const first = text.trimStart()[0];
  const documents =
    first === '{' || first === '[' || first === undefined
      ? parseJson(text, file, format)
      : parseYaml(text, file);
  if (!documents.ok) return documents;
  const notes: ParseNote[] = [];
  const items: JsonObject[] = [];
  const roots = first === '{' ? [documents.value] : documents.value;
  if (!Array.isArray(roots))
    return failed({ code: `${format}/foreign`, file, message: `expected objects, found ${describe(roots)}` });
  // A stack and not recursion: nesting comes from the input.
  const stack: { value: unknown; path: string }[] = roots
    .map((value: unknown, i) => ({ value, path: first === '{' ? '' : `[${i}]` }))
    .reverse();
  while (stack.length > 0) {
    const { value, path } = stack.pop() as { value: unknown; path: string };
    if (!isObject(value)) {
      notes.push({
        code: `${format}/item`,
        file,
        message: `${path} must be an object, is ${describe(value)}`,
      });
      continue;
    }
    if (value.kind === 'Status' && value.status === 'Failure')
      return failed({ code: `${format}/refused`, file, message: refusal(value) });
    const inner = value.items;
    if (inner === undefined && !isListKind(value.kind)) {
      items.push(value);
      continue;
    }
    if (inner === null || inner === undefined) continue;
    if (!Array.isArray(inner))
      return failed({
        code: `${format}/items`,
        file,
        message: `items must be a list, is ${describe(inner)}`,
      });
    for (let i = inner.length - 1; i >= 0; i--) stack.push({ value: inner[i], path: `${path}items[${i}]` });
  }
  return parsed(items, notes);
}

/** What the API server answers in place of a list: 403, 500 ... Such a list is not empty, it is unknown. */
const refusal = ({ message, reason }: JsonObject): string =>
  excerpt(`the API server did not list them: ${String(message ?? reason ?? 'it gave no reason')}`, 300);

/** `List`, `PodList`. A client that lists nothing may print `items: null`. */
const isListKind = (kind: unknown): boolean => typeof kind === 'string' && kind.endsWith('List');

/** YAML documents, empty ones left out. The first error of the first bad document is returned with its position. */
function parseYaml(text: string, file: string): Parsed<readonly unknown[]> {
  const values: unknown[] = [];
  const lineCounter = new LineCounter();
  // Pretty errors quote their line: a file of one long broken line would take quadratic time.
  const options = { logLevel: 'silent', prettyErrors: false, lineCounter } as const;
  try {
    for (const document of parseAllDocuments(text, options)) {
      const [error] = document.errors;
      if (error !== undefined) {
        const at = lineCounter.linePos(error.pos[0]);
        return failed({
          code: `${format}/not-yaml`,
          file,
          line: at.line,
          column: at.col,
          message: excerpt(`not YAML: ${error.message.split('\n')[0] ?? ''}`),
        });
      }
      // maxAliasCount refuses documents that grow without bound by their anchors.
      const value: unknown = document.toJS({ maxAliasCount: 100 });
      if (value !== null && value !== undefined) values.push(value);
    }
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return failed({ code: `${format}/not-yaml`, file, message: excerpt(`not YAML: ${message}`) });
  }
  return parsed(values);
}
