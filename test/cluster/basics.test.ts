/** The cluster is a real one: its nodes, its network between every pair of nodes, its Services, names and policies. */
import { beforeAll, describe, expect, test } from 'vitest';
import type { Cluster } from './cluster.ts';
import { type Attempt, all, outcomes, podsOf, type RunningPod, tryFrom } from './flows.ts';
import {
  anyCluster,
  kubectl,
  ownCluster,
  type ReachableCluster,
  whyNoAnyCluster,
  whyNoOwnCluster,
} from './support.ts';

describe.skipIf(whyNoAnyCluster !== undefined)('a cluster, ours or a given one', () => {
  let cluster: ReachableCluster;
  beforeAll(async () => {
    cluster = await anyCluster();
  });

  test('has nodes, all of them ready', async () => {
    const result = await kubectl(cluster, ['get', 'nodes', '--output=json']);
    const { items } = JSON.parse(result.stdout) as {
      items: { status: { conditions: { type: string; status: string }[] } }[];
    };
    expect(items.length).toBeGreaterThan(0);
    for (const { status } of items)
      expect(status.conditions).toContainEqual(expect.objectContaining({ type: 'Ready', status: 'True' }));
  });
});

describe.skipIf(whyNoOwnCluster !== undefined)('our cluster', () => {
  let cluster: Cluster;
  let web: readonly RunningPod[];
  let api: readonly RunningPod[];
  beforeAll(async () => {
    cluster = await ownCluster();
    [web, api] = await Promise.all([podsOf(cluster, 'shop', 'web'), podsOf(cluster, 'shop', 'api')]);
  });

  test('has a client and a server on each of three nodes', () => {
    const nodes = ['node1', 'node2', 'node3'];
    expect([web.map(({ node }) => node), api.map(({ node }) => node)]).toEqual([nodes, nodes]);
  });

  test('passes TCP, UDP and large transfers between every pair of nodes', async () => {
    const attempts = api.flatMap(({ address }): Attempt[] => [
      { kind: 'http', host: address, port: 8080 },
      { kind: 'http', host: address, port: 8080, sizeBytes: 500_000 },
      { kind: 'udp', host: address, port: 8081 },
      { kind: 'udp', host: address, port: 8081, sizeBytes: 1400 },
    ]);
    for (const pod of web) expect(await outcomes(cluster, pod, attempts)).toEqual(all(attempts, 'ok'));
  });

  test('serves Services by address and by name, TCP and UDP, on every node', async () => {
    const services = await cluster.list('services', 'shop');
    const clusterIp = String(services.find(({ metadata }) => metadata.name === 'api')?.spec.clusterIP);
    const attempts: Attempt[] = [
      // Ten: with three endpoints, the chance that one of them is never asked is 5 %.
      ...Array.from({ length: 10 }, (): Attempt => ({ kind: 'http', host: clusterIp, port: 80 })),
      { kind: 'udp', host: clusterIp, port: 81 },
      { kind: 'http', host: 'api', port: 80 },
      { kind: 'udp', host: 'api.shop', port: 81 },
      { kind: 'name', host: 'kube-dns.kube-system.svc.cluster.local' },
      { kind: 'name', host: 'api.shop.svc.cluster.local.' },
    ];
    for (const pod of web) {
      const results = await tryFrom(cluster, pod, [
        ...attempts,
        { kind: 'name', host: 'nobody.shop.svc.cluster.local.' },
      ]);
      expect(results).toEqual([...attempts.map(() => 'ok'), 'no such name']);
    }
  });

  test('enforces its policies: what they allow passes, what they deny does not', async () => {
    const [toolbox] = await podsOf(cluster, 'ops', 'toolbox');
    if (toolbox === undefined) throw new Error('no toolbox');
    const ledgers = await podsOf(cluster, 'payments', 'ledger');
    expect(ledgers).toHaveLength(2);
    const toLedger = [...ledgers.map(({ address }) => address), 'ledger.payments'].map(
      (host): Attempt => ({ kind: 'tcp', host, port: 9000 }),
    );
    const [db] = await podsOf(cluster, 'shop', 'db');
    const toDb: Attempt[] = [{ kind: 'tcp', host: db?.address ?? '', port: 5432 }];
    for (const pod of web) expect(await outcomes(cluster, pod, toLedger)).toEqual(all(toLedger, 'ok'));
    for (const pod of api) expect(await outcomes(cluster, pod, toDb)).toEqual(all(toDb, 'ok'));
    // kube-router rejects what no policy allows: REJECT --reject-with icmp-port-unreachable.
    const denied = [
      ...(await Promise.all(api.map((pod) => outcomes(cluster, pod, toLedger)))),
      await outcomes(cluster, toolbox, toLedger),
    ];
    for (const result of denied) expect(result).toEqual(all(toLedger, 'refused'));
    for (const pod of web) expect(await outcomes(cluster, pod, toDb)).toEqual(all(toDb, 'refused'));
  });

  test('lets its agents be asked for the state of their nodes', async () => {
    for (const [namespace, name, command, shown] of [
      ['kube-system', 'kube-proxy', ['iptables-save', '-t', 'nat'], 'KUBE-SVC-'],
      ['kube-system', 'kube-router', ['ipset', 'list', '-n'], 'KUBE-DST-'],
      ['kube-flannel', 'flannel', ['ip', '-details', 'link', 'show', 'flannel.1'], 'vxlan id 1'],
    ] as const) {
      const { stdout } = await cluster.kubectl([
        'exec',
        `--namespace=${namespace}`,
        `daemonset/${name}`,
        '--',
        ...command,
      ]);
      expect(stdout).toContain(shown);
    }
  });

  test('outlives a stop of its API server', async () => {
    const toApi: Attempt[] = [{ kind: 'http', host: api[1]?.address ?? '', port: 8080 }];
    await cluster.stopApiServer();
    try {
      const { code, stderr } = await cluster.kubectl(['get', 'nodes']);
      expect([code, stderr]).toEqual([1, expect.stringContaining('refused')]);
    } finally {
      await cluster.startApiServer();
    }
    await cluster.untilReady();
    for (const pod of web) expect(await outcomes(cluster, pod, toApi)).toEqual(all(toApi, 'ok'));
  });
});
