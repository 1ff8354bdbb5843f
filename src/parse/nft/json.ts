/** `nft -j list ruleset`: tables, chains, sets, maps and rules. */
import type { NftTable } from '../../model/nft.ts';
import { isObject, parseJson } from '../json.ts';
import { failed, type Parsed, type ParseNote, parsed } from '../result.ts';
import { tableBuilder } from './tables.ts';

export function parseNftJson(text: string, file: string): Parsed<readonly NftTable[]> {
  const json = parseJson(text, file, 'nft');
  if (!json.ok) return json;
  const items = isObject(json.value) ? json.value.nftables : undefined;
  if (!Array.isArray(items))
    return failed({ code: 'nft/foreign', file, message: 'there is no list "nftables"' });
  const builder = tableBuilder(file);
  const lines = linesOf(text, items.length);
  const notes: ParseNote[] = [];
  for (const [i, item] of (items as unknown[]).entries()) {
    const line = lines?.[i];
    const at = line === undefined ? {} : { line };
    const wrong = isObject(item) ? builder.add(item, at) : 'not an object';
    if (wrong !== undefined)
      notes.push({ code: 'nft/entry', file, ...at, message: `nftables[${i}]: ${wrong}` });
  }
  return parsed(builder.tables(), notes);
}

/**
 * The line that each entry of the list begins on, where the file is laid out in lines; undefined for the one long line that
 * nft prints. The text is known to be JSON.
 */
function linesOf(text: string, count: number): readonly number[] | undefined {
  if (text.trimEnd().split('\n', 3).length < 3) return undefined;
  const lines: number[] = [];
  let [depth, line] = [0, 1];
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (char === '\n') line++;
    else if (char === '"') {
      // A string has no line ends in it; a quote behind an odd number of backslashes does not end it.
      for (i++; i < text.length && text[i] !== '"'; i++) if (text[i] === '\\') i++;
    } else if (char === '{' || char === '[') {
      if (depth === 2 && char === '{') lines.push(line);
      depth++;
    } else if (char === '}' || char === ']') depth--;
  }
  return lines.length === count ? lines : undefined;
}
