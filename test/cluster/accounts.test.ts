/** The API server refuses what an account may not do: RBAC is on, and certificates end. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeAccount, makeAdminFor, readOnly, removeAccount } from './accounts.ts';
import type { Cluster } from './cluster.ts';
import { podsOf } from './flows.ts';
import { ownCluster, whyNoOwnCluster } from './support.ts';

describe.skipIf(whyNoOwnCluster !== undefined)('an account', () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await ownCluster();
  });
  afterAll(async () => {
    await removeAccount(cluster, 'reader');
  });

  test('that may only read sees pods, no Secrets, enters no pod and changes nothing', async () => {
    const kubeconfig = await makeAccount(cluster, 'reader', readOnly);
    const as = (args: readonly string[]) => cluster.kubectl(args, { kubeconfig });
    const [web] = await podsOf(cluster, 'shop', 'web');
    expect((await as(['get', 'pods', '--namespace=shop', '--output=name'])).stdout).toContain(
      `pod/${web?.name}`,
    );
    for (const refused of [
      ['get', 'secrets', '--all-namespaces'],
      ['exec', '--namespace=shop', web?.name ?? '', '--', 'true'],
      ['delete', 'pod', '--namespace=shop', web?.name ?? ''],
    ]) {
      const { code, stderr } = await as(refused);
      expect([code, stderr]).toEqual([1, expect.stringContaining('is forbidden')]);
    }
  });

  test('whose certificate has ended is nobody; one that is good for a minute is let in', async () => {
    const ended = await cluster.kubectl(['get', 'nodes'], {
      kubeconfig: await makeAdminFor(cluster, 'ended', -60),
    });
    expect(ended.code).toBe(1);
    expect(ended.stderr).toMatch(/must be logged in|Unauthorized|provide credentials/);
    const brief = await cluster.kubectl(['get', 'nodes', '--output=name'], {
      kubeconfig: await makeAdminFor(cluster, 'brief', 60),
    });
    expect(brief.stdout).toContain('node/node1');
  });
});
