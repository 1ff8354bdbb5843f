/** `sysctl -a` or sysctl.conf lines: `key = value`. */
import { readLines } from './lines.ts';
import { type Parsed, parsed } from './result.ts';

/** Keys as printed (`net.ipv4.conf.flannel/1.rp_filter` for flannel.1), values without surrounding blanks. The last line of a key wins. */
export function parseSysctl(text: string, file: string): Parsed<ReadonlyMap<string, string>> {
  const entries = readLines<readonly [string, string]>(text, file, {
    format: 'sysctl',
    read: (line) => {
      // Keys that only root, or nobody, may read are reported between the others; they are simply absent from the map.
      if (line.startsWith('#') || /^sysctl: (permission denied on key|reading key)/.test(line)) return 'skip';
      const equals = line.indexOf('=');
      const key = line.slice(0, equals).trim();
      if (equals <= 0 || /\s/.test(key) || !/[./]/.test(key)) return undefined;
      return [key, line.slice(equals + 1).trim()];
    },
  });
  return entries.ok ? parsed(new Map(entries.value), entries.notes) : entries;
}
