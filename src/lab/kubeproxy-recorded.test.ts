/** The real thing: what was recorded of kube-proxy 1.36 must follow from the objects recorded with it. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readSnapshotFiles } from '../collect/open.ts';
import type { Known } from '../model/known.ts';
import { prefix } from '../net/prefix.ts';
import { buildCluster } from '../parse/kubernetes/cluster.ts';
import { renderKubeProxy } from './kubeproxy.ts';

const shared = process.env.PODPATH_SHARED;
if (shared === undefined) console.log('skipped: no recorded clusters (PODPATH_SHARED is not set)');

const recordings = ['healthy-vxlan', 'healthy-hostgw-iptables', 'service-selector-mismatch', 'forward-drop'];

test.skipIf(shared === undefined).each(recordings)('%s', async (name) => {
  const { files } = await readSnapshotFiles(join(shared ?? '', 'snapshots', `${name}.tar.gz`));
  const objectFile = /^cluster\/(.*)\.json$/;
  const cluster = buildCluster(
    new Map(
      [...files].flatMap(([path, text]) =>
        objectFile.test(path) ? [[path.replace(objectFile, '$1'), text]] : [],
      ),
    ),
  );
  const objects = { services: known(cluster.services), endpointSlices: known(cluster.endpointSlices) };
  for (const node of ['node1', 'node2', 'node3']) {
    const options = { node, families: [4], clusterCidrs: [prefix('10.244.0.0/16')], nfacct: true } as const;
    const recorded = files.get(`nodes/${node}/iptables-save.txt`) ?? '';
    expect(rules(recorded).length).toBeGreaterThan(40);
    expect(rules(renderKubeProxy(objects, options).v4)).toEqual(rules(recorded));
  }
});

/**
 * kube-proxy's rules, with the order kept inside every chain but KUBE-SERVICES: there kube-proxy goes through a map, and
 * rules for different addresses and ports cannot both match. Left out
 * are the jumps from filter's built-in chains: three writers race for their places, and some recordings lost some.
 */
function rules(save: string): string[] {
  const foreign = /KUBE-(ROUTER|NWPLCY|POD-FW)|^filter -A (INPUT|FORWARD|OUTPUT) /;
  const lines = save
    .split('\n')
    .map((line) => line.replace(/^\[\d+:\d+\] /, '').replace('nfacct-name  ', 'nfacct-name '));
  let table = '';
  return lines
    .map((line) => {
      if (line.startsWith('*')) table = line.slice(1);
      return `${table} ${line}`;
    })
    .filter((line) => / -A /.test(line) && !foreign.test(line))
    .toSorted((a, b) => (sortKey(a) < sortKey(b) ? -1 : sortKey(a) > sortKey(b) ? 1 : 0));
}

/** Stable sorting by chain keeps each chain's order. */
function sortKey(line: string): string {
  const [table, , chain] = line.split(' ');
  return chain === 'KUBE-SERVICES' && !line.includes('must be the last')
    ? line
    : `${table} -A ${chain}${chain === 'KUBE-SERVICES' ? '~' : ''}`;
}

function known<T>(fact: Known<T>): T {
  if (fact.state === 'known') return fact.value;
  throw new Error(fact.why);
}
