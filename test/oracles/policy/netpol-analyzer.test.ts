/**
 * Cases of another engine, as data: $PODPATH_SHARED/conformance/netpol-analyzer. Ours must mean the same as theirs in every case, or the
 * case is in docs/conformance.md with the rule for which ours is right.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { readManifests } from '../../../src/collect/manifests/read.ts';
import type { Cluster } from '../../../src/model/cluster.ts';
import { mapKnown } from '../../../src/model/known.ts';
import { entryConnections } from '../../../src/policy/entry.ts';
import { connectivity, policyEngine } from '../../../src/policy/index.ts';
import {
  changesBetween,
  changesOfCsv,
  changesOfText,
  compareChanges,
  compareFlows,
  type Flow,
  flowsOfExplain,
  flowsOfJson,
  flowsOfText,
  ownFlows,
} from './netpol-analyzer.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const shared = process.env.PODPATH_SHARED ?? '';
const cases = join(shared, 'conformance/netpol-analyzer');

if (shared === '' || !existsSync(cases)) {
  console.log('skipped: PODPATH_SHARED names no folder with conformance/netpol-analyzer');
  it.skip('needs PODPATH_SHARED/conformance/netpol-analyzer', () => {});
} else {
  const exceptions = readExceptions();
  const seen = new Map<string, Promise<readonly Flow[]>>();
  const own = (name: string, hostNetwork = true): Promise<readonly Flow[]> => {
    const key = `${name} ${hostNetwork}`;
    const known = seen.get(key) ?? evaluate(join(cases, 'manifests', name), hostNetwork);
    seen.set(key, known);
    return known;
  };
  /** A case that differs must be listed; a listed one must differ, and agree once its pods are not on the host's network any more. */
  const judge = async (id: string, differences: (hostNetwork: boolean) => Promise<readonly string[]>) => {
    const found = await differences(true);
    if (!exceptions.has(id)) {
      expect(found.slice(0, 20)).toEqual([]);
      return;
    }
    expect(found, `${id} is listed and agrees`).not.toEqual([]);
    expect((await differences(false)).slice(0, 20)).toEqual([]);
  };

  describe('list', () => {
    const files = readdirSync(join(cases, 'expected/list')).sort();
    it.each(files)('%s', async (file) => {
      const match = /^(.*)_(connlist|exposure|explain)_output\.(txt|json)$/.exec(file);
      const [, name = '', kind, extension] = match ?? [];
      const text = readFileSync(join(cases, 'expected/list', file), 'utf8');
      const expected =
        kind === 'explain'
          ? flowsOfExplain(text)
          : extension === 'json'
            ? flowsOfJson(text)
            : flowsOfText(text);
      await judge(file, async (hostNetwork) => compareFlows(expected, await own(name, hostNetwork)));
    });
  });

  describe('diff', () => {
    const files = readdirSync(join(cases, 'expected/diff')).sort();
    it.each(files)('%s', async (file) => {
      const { before, after } = directoriesOf(file);
      const text = readFileSync(join(cases, 'expected/diff', file), 'utf8');
      const expected = file.endsWith('.csv') ? changesOfCsv(text) : changesOfText(text);
      await judge(file, async (hostNetwork) =>
        compareChanges(
          expected,
          changesBetween(await own(before, hostNetwork), await own(after, hostNetwork)),
        ),
      );
    });
  });

  it('lists no exception that is no case', () => {
    const all = new Set(['list', 'diff'].flatMap((kind) => readdirSync(join(cases, 'expected', kind))));
    expect([...exceptions].filter((id) => !all.has(id))).toEqual([]);
  });
}

/** `diff_between_<after>_and_<before>.txt`: the second directory's name comes first. Both names may hold `_and_`. */
function directoriesOf(file: string): { readonly before: string; readonly after: string } {
  const names = new Set(readdirSync(join(cases, 'manifests')));
  const text = file.replace(/^diff_between_/, '').replace(/\.[a-z]+$/, '');
  for (const match of text.matchAll(/_and_/g)) {
    const [after, before] = [text.slice(0, match.index), text.slice(match.index + match[0].length)];
    if (names.has(after) && names.has(before)) return { before, after };
  }
  throw new Error(`no two directories: ${file}`);
}

/** As `policy list DIR` reads a directory: the API's own words, and an ipBlock means addresses outside of the cluster. */
async function evaluate(directory: string, hostNetwork: boolean): Promise<readonly Flow[]> {
  const found = await readManifests(directory);
  const cluster = hostNetwork ? found.cluster : offHostNetwork(found.cluster);
  const reading = { dialect: 'kubernetes', ipBlockMatchesPods: false } as const;
  const engineOf = (one: Cluster) => policyEngine(one, reading);
  return [
    ...ownFlows(connectivity(engineOf(cluster))),
    ...ownFlows(entryConnections(cluster, found.entryPoints, engineOf)),
  ];
}

const offHostNetwork = (cluster: Cluster): Cluster => ({
  ...cluster,
  pods: mapKnown(cluster.pods, (pods) => pods.map((pod) => ({ ...pod, hostNetwork: false }))),
});

/** The files named in the first column of the table in docs/conformance.md. */
function readExceptions(): ReadonlySet<string> {
  const path = join(root, 'docs/conformance.md');
  const text = existsSync(path) ? readFileSync(path, 'utf8') : '';
  return new Set([...text.matchAll(/^\| `([^`]+\.(?:txt|json|csv))` \|/gm)].map((match) => match[1] ?? ''));
}
