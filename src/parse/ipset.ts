/** `ipset save`: `create NAME TYPE options` and `add NAME ELEMENT options` lines. */
import type { IpSet, IpSetEntry } from '../model/netfilter.ts';
import { looksLikeToolError, splitLines } from './lines.ts';
import { excerpt, failed, type Parsed, type ParseError, type ParseNote, parsed } from './result.ts';

interface Draft {
  readonly set: Omit<IpSet, 'entries'>;
  readonly entries: IpSetEntry[];
}

/** An empty file is no set at all. An element of a set that was never created is an error: part of the file is missing. */
export function parseIpset(text: string, file: string): Parsed<readonly IpSet[]> {
  const drafts = new Map<string, Draft>();
  const notes: ParseNote[] = [];
  for (const [i, line] of splitLines(text).entries()) {
    if (line.trim() === '' || line.startsWith('#') || line.trim() === 'COMMIT') continue;
    const wrong = readLine(line, i + 1, file, drafts);
    if (wrong !== undefined) return failed(wrong);
  }
  const sets = [...drafts.values()].map(({ set, entries }) => ({ ...set, entries }));
  return parsed(sets, notes);
}

function readLine(
  line: string,
  lineNumber: number,
  file: string,
  drafts: Map<string, Draft>,
): ParseError | undefined {
  const words = line.trim().split(/\s+/);
  const [verb, name, third] = words;
  const error = (code: string, message: string): ParseError => ({
    code: `ipset/${code}`,
    file,
    line: lineNumber,
    message: `${message}: ${excerpt(line)}`,
  });
  const source = { kind: 'file' as const, file, line: lineNumber, text: line };
  if (name === undefined || third === undefined || !/^(create|add|-N|-A)$/.test(verb ?? ''))
    return looksLikeToolError(line)
      ? error('tool-error', 'the tool failed')
      : error('foreign', 'not a line of `ipset save`');
  if (verb === 'create' || verb === '-N') {
    if (drafts.has(name)) return error('duplicate', 'the set is created twice');
    const family = words[words.indexOf('family') + 1] === 'inet6' ? 6 : 4;
    drafts.set(name, { set: { name, type: third, family, source }, entries: [] });
    return undefined;
  }
  const draft = drafts.get(name);
  if (draft === undefined) return error('no-set', `there is no set ${name}`);
  // A comment is quoted and may hold any word.
  const options = line
    .replace(/"[^"]*"/g, '""')
    .trim()
    .split(/\s+/)
    .slice(3);
  draft.entries.push({
    parts: third.split(','),
    nomatch: options.includes('nomatch'),
    ...(options.includes('wildcard') ? { wildcard: true as const } : {}),
    source,
  });
  return undefined;
}
