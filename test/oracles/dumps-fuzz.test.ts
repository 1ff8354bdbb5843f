/** Every parser on damaged recordings: a value or a coded error with its place, never an exception, and in time that grows with the text. */
import { beforeAll, describe, expect, it } from 'vitest';
import { parseConntrack } from '../../src/parse/conntrack.ts';
import { parseIpAddr, parseIpLink } from '../../src/parse/ip-device.ts';
import { parseBridgeFdb, parseBridgeLink, parseIpNeigh } from '../../src/parse/ip-neigh.ts';
import { parseIpRoute } from '../../src/parse/ip-route.ts';
import { parseIpRule } from '../../src/parse/ip-rule.ts';
import { parseIpset } from '../../src/parse/ipset.ts';
import { parseIptablesSave } from '../../src/parse/iptables-save.ts';
import { parseList } from '../../src/parse/kubernetes/list.ts';
import { parseNftJson } from '../../src/parse/nft/json.ts';
import { parseNftText } from '../../src/parse/nft/text.ts';
import { parseProcNet } from '../../src/parse/proc-net.ts';
import { parseResolvConf } from '../../src/parse/resolv-conf.ts';
import type { Parsed } from '../../src/parse/result.ts';
import { parseSs } from '../../src/parse/ss.ts';
import { parseSysctl } from '../../src/parse/sysctl.ts';
import { dumpFolder, dumpSaves, readDump, snapshotFiles, snapshotNames } from './dumps-files.ts';
import { type Random, randomFrom } from './netfilter-support.ts';
import { zoo } from './nft-zoo.ts';

if (dumpFolder === undefined)
  console.log('damaged dumps: skipped: PODPATH_SHARED names no folder with dumps/');

type Parse = (text: string, file: string) => Parsed<unknown>;

const saves =
  (family: 4 | 6): Parse =>
  (text, file) =>
    parseIptablesSave(text, { file, family, backend: 'nft' });

/** By the name of the file in a snapshot. */
const parsers = new Map<string, Parse>([
  ['iptables-save.txt', saves(4)],
  ['ip6tables-save.txt', saves(6)],
  ['ipset.txt', parseIpset],
  ['conntrack.txt', parseConntrack],
  ['ss.txt', parseSs],
  ['sysctl.txt', parseSysctl],
  ['proc-net-snmp.txt', parseProcNet],
  ['proc-net-netstat.txt', parseProcNet],
  ['resolv.conf', parseResolvConf],
  ['ip-link.json', parseIpLink],
  ['ip-addr.json', parseIpAddr],
  ['ip-route.json', (text, file) => parseIpRoute(text, file, 4)],
  ['ip-route6.json', (text, file) => parseIpRoute(text, file, 6)],
  ['ip-rule.json', (text, file) => parseIpRule(text, file, 4)],
  ['ip-rule6.json', (text, file) => parseIpRule(text, file, 6)],
  ['ip-neigh.json', parseIpNeigh],
  ['bridge-fdb.json', parseBridgeFdb],
  ['bridge-link.json', parseBridgeLink],
  ['nft.json', parseNftJson],
  ['nft.txt', parseNftText],
  ['services.json', parseList],
  ['pods.json', parseList],
]);

interface Sample {
  readonly name: string;
  readonly text: string;
  readonly parse: Parse;
}

/** One recording of each format, and every dump. A long one is cut at a line: the damage matters, not the length. */
async function samples(): Promise<readonly Sample[]> {
  const found: Sample[] = dumpSaves().map(({ name, text, family, table }) => ({
    name,
    text,
    parse: (changed, file) =>
      parseIptablesSave(changed, {
        file,
        family,
        backend: 'legacy',
        ...(table === undefined ? {} : { table }),
      }),
  }));
  const excerpt = 'kubeproxy-nft-excerpt.txt';
  found.push({ name: excerpt, text: readDump(excerpt), parse: parseNftText });
  // As nft takes it, with every word that it has.
  found.push({ name: 'nft zoo', text: zoo, parse: parseNftText });
  for (const snapshot of snapshotNames().slice(0, 3))
    for (const [path, text] of await snapshotFiles(snapshot)) {
      const parse = parsers.get(path.split('/').at(-1) ?? '');
      if (parse === undefined || text.trim() === '' || path.includes('/pods/')) continue;
      found.push({ name: `${snapshot}:${path}`, text: text.slice(0, 200_000), parse });
    }
  return found;
}

const at = (random: Random, text: string): number => random.int(text.length + 1);

/** Damage as disks, pipes, editors and enemies do it. */
const damages: readonly ((random: Random, text: string) => string)[] = [
  (random, text) => text.slice(0, at(random, text)),
  (random, text) => text.slice(at(random, text)),
  (random, text) => {
    const bytes = Buffer.from(text);
    for (let i = 1 + random.int(8); i > 0 && bytes.length > 0; i--) {
      const place = random.int(bytes.length);
      bytes[place] = (bytes[place] ?? 0) ^ (1 << random.int(8));
    }
    return bytes.toString('utf8');
  },
  (random, text) => {
    const lines = text.split('\n');
    const line = lines[random.int(lines.length)] ?? '';
    lines.splice(
      random.int(lines.length),
      0,
      ...Array.from({ length: random.pick([1, 2, 500]) }, () => line),
    );
    return lines.join('\n');
  },
  (random, text) => {
    const lines = text.split('\n');
    lines.splice(random.int(lines.length), 1 + random.int(3));
    return lines.join('\n');
  },
  (random, text) => {
    const place = at(random, text);
    const filler = random.pick([
      'A',
      ' ',
      '"',
      '[',
      '{"a":',
      '-m ',
      '!',
      '\\',
      '\u0000',
      '9',
      ',',
      '10.0.0.1 ',
    ]);
    return text.slice(0, place) + filler.repeat(random.pick([1, 50, 20_000])) + text.slice(place);
  },
  (random, text) => {
    const [from, to] = [at(random, text), at(random, text)];
    return text.slice(0, to) + text.slice(from, from + 400) + text.slice(to);
  },
  (random, text) =>
    text.replaceAll(
      random.pick(['"', ':', ',', '\n', '-A', ' ']),
      random.pick(['', '"', '\r\n', '\t', ' -1 ', '{}']),
    ),
];

const rounds = Number(process.env.PODPATH_FUZZ ?? 12);
/** Errors about the file as a whole have no line. */
const wholeFile = /\/(empty|foreign|not-a-list|no-list|not-kubernetes)$/;
const slowMs = 3000;

describe.skipIf(dumpFolder === undefined)('damaged dumps', () => {
  let all: readonly Sample[] = [];
  beforeAll(async () => {
    all = await samples();
  });

  it('whole ones are read without a remark', () => {
    expect(all.length).toBeGreaterThan(50);
    for (const { name, text, parse } of all) {
      if (text.length === 200_000 || name.includes('excerpt')) continue;
      expect(parse(text, 'f'), name).toMatchObject({ ok: true, notes: [] });
    }
  });

  it('a value or a coded error with its line', { timeout: 300_000 }, () => {
    const random = randomFrom(Number(process.env.PODPATH_SEED ?? 7));
    let errors = 0;
    let remarked = 0;
    let slowest = { name: '', ms: 0 };
    for (const { name, text, parse } of all)
      for (const [i, damage] of damages.entries())
        for (let round = 0; round < Math.max(1, Math.floor(rounds / (1 + text.length / 20_000))); round++) {
          const changed = damage(random, text);
          const start = performance.now();
          const result = parse(changed, 'f');
          const ms = performance.now() - start;
          const label = `${name}, damage ${i}`;
          if (ms > slowest.ms) slowest = { name: label, ms };
          const remarks = result.ok ? result.notes : [result.error];
          errors += result.ok ? 0 : 1;
          remarked += result.ok && remarks.length > 0 ? 1 : 0;
          for (const { code, file, message, line } of remarks.slice(0, 20)) {
            expect([code.includes('/'), file, message.length < 1000], label).toEqual([true, 'f', true]);
            if (!result.ok && !wholeFile.test(code))
              expect(line, `${label}: ${code} ${message}`).toBeGreaterThan(0);
          }
          expect(ms, label).toBeLessThan(slowMs);
        }
    console.log(
      `damaged dumps: ${errors} errors, ${remarked} values with remarks, slowest ${JSON.stringify(slowest)}`,
    );
    expect(errors).toBeGreaterThan(50);
    expect(remarked).toBeGreaterThan(50);
  });
});
