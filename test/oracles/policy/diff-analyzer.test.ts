/** The differences that another engine found between its cases ($PODPATH_SHARED/conformance/netpol-analyzer), by meaning. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readManifests } from '../../../src/collect/manifests/read.ts';
import type { Cluster } from '../../../src/model/cluster.ts';
import { partyText } from '../../../src/model/connectivity.ts';
import type { ConnectionChange, ConnectionPorts, DiffParty } from '../../../src/model/policy-diff.ts';
import { noPorts, portRange, unionPorts } from '../../../src/net/port-set.ts';
import { parsePrefix } from '../../../src/net/prefix.ts';
import { diffConnectivity } from '../../../src/policy/diff/diff.ts';
import { diffEntries } from '../../../src/policy/diff/entries.ts';
import { entryConnections } from '../../../src/policy/entry.ts';
import { policyEngine } from '../../../src/policy/index.ts';
import {
  changesOfCsv,
  changesOfText,
  compareChanges,
  type Difference,
  portsOfText,
} from './netpol-analyzer.ts';

const cases = join(process.env.PODPATH_SHARED ?? '', 'conformance/netpol-analyzer');
const reading = { dialect: 'kubernetes', ipBlockMatchesPods: false } as const;
const engineOf = (cluster: Cluster) => policyEngine(cluster, reading);

if (process.env.PODPATH_SHARED === undefined || !existsSync(cases)) {
  console.log('skipped: PODPATH_SHARED names no folder with conformance/netpol-analyzer');
  it.skip('needs PODPATH_SHARED/conformance/netpol-analyzer', () => {});
} else {
  const names = new Set(readdirSync(join(cases, 'manifests')));
  const files = readdirSync(join(cases, 'expected/diff')).sort();
  const exceptions = listed();
  describe('differences', () => {
    it.each(files.filter((file) => !exceptions.has(file)))('%s', async (file) => {
      const text = readFileSync(join(cases, 'expected/diff', file), 'utf8');
      const expected = file.endsWith('.csv') ? changesOfCsv(text) : changesOfText(text);
      const stem = file.replace(/^diff_between_/, '').replace(/\.[a-z]+$/, '');
      const cut = [...stem.matchAll(/_and_/g)].find(
        ({ index }) => names.has(stem.slice(0, index)) && names.has(stem.slice(index + 5)),
      );
      const [after, before] = [stem.slice(0, cut?.index), stem.slice((cut?.index ?? 0) + 5)];
      expect(compareChanges(expected, await differences(before, after)).slice(0, 20)).toEqual([]);
    });
  });
}

async function differences(before: string, after: string): Promise<readonly Difference[]> {
  const [a, b] = [await read(before), await read(after)];
  const entries = diffEntries(
    entryConnections(a.cluster, a.entryPoints, engineOf),
    entryConnections(b.cluster, b.entryPoints, engineOf),
  );
  const { changes } = diffConnectivity(engineOf(a.cluster), engineOf(b.cluster));
  return [...changes, ...entries].flatMap(expanded);
}

const read = (name: string) => readManifests(join(cases, 'manifests', name));

function expanded({ src, dst, before, after }: ConnectionChange): Difference[] {
  return ends(src).flatMap((from) =>
    ends(dst).map((to) => ({ src: from, dst: to, before: setOf(before), after: setOf(after) })),
  );
}

function ends(party: DiffParty): Difference['src'][] {
  if (!('cidrs' in party))
    return [party.kind === 'IngressController' ? '{ingress-controller}' : partyText(party)];
  return party.cidrs.flatMap((text) => {
    const prefix = parsePrefix(text);
    // The other engine knows IPv4 only.
    if (prefix === undefined || prefix.family === 6) return [];
    return [[prefix.value, prefix.value + (1n << BigInt(32 - prefix.length)) - 1n] as const];
  });
}

const setOf = (lines: readonly ConnectionPorts[]) =>
  lines
    .filter(({ verdict, protocol }) => verdict === 'allow' && protocol !== 'ICMP')
    .map(({ protocol, ports }) =>
      ports === 'all' ? portRange(protocol as 'TCP', 1, 65535) : portsOfText(`${protocol} ${ports}`),
    )
    .reduce(unionPorts, noPorts);

/** Cases in which the two engines mean different states: docs/conformance.md. */
function listed(): ReadonlySet<string> {
  const path = new URL('../../../docs/conformance.md', import.meta.url);
  const text = existsSync(path) ? readFileSync(path, 'utf8') : '';
  return new Set([...text.matchAll(/^\| `([^`]+\.(?:txt|json|csv))` \|/gm)].map((match) => match[1] ?? ''));
}
