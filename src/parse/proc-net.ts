/** /proc/net/snmp and /proc/net/netstat: pairs of lines, names then values, under one prefix. */
import { splitLines } from './lines.ts';
import { excerpt, failed, type Parsed, type ParseNote, parsed } from './result.ts';

/** Flattened: `Ip: InAddrErrors` becomes `IpInAddrErrors`. */
export function parseProcNet(text: string, file: string): Parsed<ReadonlyMap<string, number>> {
  const counters = new Map<string, number>();
  const notes: ParseNote[] = [];
  const lines = splitLines(text).map((line, i) => ({ line: i + 1, words: line.trim().split(/\s+/) }));
  const filled = lines.filter(({ words }) => words[0] !== '');
  if (filled.length === 0) return failed({ code: 'proc-net/empty', file, message: 'the file is empty' });
  for (let i = 0; i < filled.length; i += 2) {
    const names = filled[i];
    const values = filled[i + 1];
    const prefix = names?.words[0];
    if (names === undefined || prefix === undefined || !/^[A-Z][A-Za-z0-9]*:$/.test(prefix))
      return failed({
        code: 'proc-net/foreign',
        file,
        line: names?.line ?? 1,
        message: `expected a line of counter names, found ${excerpt(names?.words.join(' ') ?? '')}`,
      });
    if (values?.words[0] !== prefix || values.words.length !== names.words.length)
      return failed({
        code: 'proc-net/values',
        file,
        line: values?.line ?? names.line,
        message: `the values of ${prefix} are missing or too few`,
      });
    names.words.slice(1).forEach((name, column) => {
      const word = values.words[column + 1] ?? '';
      const key = `${prefix.slice(0, -1)}${name}`;
      if (/^-?\d+$/.test(word)) counters.set(key, Number(word));
      else
        notes.push({
          code: 'proc-net/value',
          file,
          line: values.line,
          message: `${key} is no number: ${excerpt(word)}`,
        });
    });
  }
  return parsed(counters, notes);
}
