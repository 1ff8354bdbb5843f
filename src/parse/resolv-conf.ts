/** resolv.conf(5), as glibc and musl read it. */

import type { Resolver } from '../model/netns.ts';
import { type Address, parseAddress } from '../net/address.ts';
import { looksLikeToolError, splitLines } from './lines.ts';
import { excerpt, failed, type Parsed, type ParseNote, parsed } from './result.ts';

/** `search` and `domain`: the last one wins. ndots is 1 unless set, at most 15 (glibc's cap). */
export function parseResolvConf(text: string, file: string): Parsed<Resolver> {
  const nameservers: Address[] = [];
  const notes: ParseNote[] = [];
  let search: readonly string[] = [];
  let ndots = 1;
  for (const [i, raw] of splitLines(text).entries()) {
    const [keyword, ...values] = raw
      .replace(/[#;].*/, '')
      .trim()
      .split(/\s+/);
    const note = (message: string) =>
      notes.push({ code: 'resolv-conf/line', file, line: i + 1, message: `${message}: ${excerpt(raw)}` });
    switch (keyword) {
      case '':
      case undefined:
      case 'sortlist':
        break;
      case 'nameserver': {
        // A zone id (`fe80::1%eth0`) names the device to ask on.
        const server = parseAddress((values[0] ?? '').split('%')[0] ?? '');
        if (server === undefined) note('not an address');
        else nameservers.push(server);
        break;
      }
      case 'domain':
      case 'search':
        search = values;
        break;
      case 'options':
        for (const option of values) {
          const dots = /^ndots:(\d+)$/.exec(option)?.[1];
          if (dots !== undefined) ndots = Math.min(Number(dots), 15);
        }
        break;
      default:
        if (looksLikeToolError(raw))
          return failed({ code: 'resolv-conf/tool-error', file, line: i + 1, message: excerpt(raw) });
        note('not understood');
    }
  }
  return parsed({ nameservers, search, ndots }, notes);
}
