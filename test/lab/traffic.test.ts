/** Every pod network carries every kind of traffic, in both families, and enforces policy: real packets in a real lab. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { downLab, type Lab, upLab } from '../../src/lab/lab.ts';
import { labCnis } from '../../src/lab/plan.ts';
import { allOk, labName, ownStateDir, send, type Try, whyNoLab } from './support.ts';

ownStateDir();

interface RawService {
  readonly metadata: { readonly namespace: string; readonly name: string };
  readonly spec: { readonly clusterIPs: readonly string[] };
}

describe.skipIf(whyNoLab !== undefined).each(labCnis)('%s', (cni) => {
  const name = labName(cni.slice(-6));
  let lab: Lab;

  beforeAll(async () => {
    lab = await upLab({ name, cni, dualStack: true, ownerPid: process.pid });
  });
  afterAll(async () => {
    await downLab(name);
  });

  const clusterIps = async (namespace: string, service: string): Promise<readonly string[]> =>
    (await lab.objects<RawService>('services')).find(
      ({ metadata }) => metadata.namespace === namespace && metadata.name === service,
    )?.spec.clusterIPs ?? [];

  /** Two tries a pod address, one a family. */
  const toPod = (pod: string, make: (host: string) => Try[]): Try[] => lab.pod(pod).addresses.flatMap(make);

  test('pods reach pods on their own node and on others', async () => {
    const tries = ['shop/api-1', 'shop/api-2', 'shop/api-3'].flatMap((pod) =>
      toPod(pod, (host) => [
        { kind: 'ping', host },
        { kind: 'http', host, port: 8080 },
        { kind: 'http', host, port: 8080, bytes: 300_000 },
        { kind: 'udp', host, port: 8081 },
      ]),
    );
    expect(tries).toHaveLength(24);
    expect(await send(lab, 'shop/web-1', tries)).toEqual(allOk(tries));
  });

  test('pods reach Services by address and by name, also one that they back themselves', async () => {
    const addresses = await clusterIps('shop', 'api');
    const tries: Try[] = [
      ...addresses.flatMap((host): Try[] => [
        { kind: 'http', host, port: 80 },
        { kind: 'udp', host, port: 81 },
      ]),
      { kind: 'http', host: 'api', port: 80 },
      { kind: 'http', host: 'api.shop.svc.cluster.local', port: 80 },
      { kind: 'name', host: 'ledger.payments' },
    ];
    expect(addresses).toHaveLength(2);
    for (const pod of ['shop/web-1', 'shop/web-3', 'shop/api-2'])
      expect(await send(lab, pod, tries)).toEqual(allOk(tries));
  });

  test('a name that does not exist is not found', async () => {
    const outcome = await send(lab, 'shop/web-2', [{ kind: 'name', host: 'nothing.shop.svc.cluster.local' }]);
    expect(Object.values(outcome)[0]).toMatch(/not known|No address/);
  });

  test('policies let in whom they name, and nobody else', async () => {
    const ledger = toPod('payments/ledger-2', (host) => [{ kind: 'tcp', host, port: 9000, bytes: 100_000 }]);
    const database = toPod('shop/db-1', (host) => [{ kind: 'tcp', host, port: 5432, bytes: 10 }]);
    const ledgerService: Try[] = [{ kind: 'tcp', host: 'ledger.payments', port: 9000, bytes: 10 }];
    expect(await send(lab, 'shop/web-1', [...ledger, ...ledgerService])).toEqual(
      allOk([...ledger, ...ledgerService]),
    );
    expect(await send(lab, 'shop/api-1', database)).toEqual(allOk(database));
    const denied = {
      ...(await send(lab, 'ops/toolbox-1', [...ledger, ...database, ...ledgerService])),
      ...(await send(lab, 'shop/web-2', database)),
    };
    expect(Object.values(denied)).toHaveLength(5);
    for (const outcome of Object.values(denied)) expect(outcome).toMatch(/timed out|refused/i);
  });

  test('an oversized packet is answered or dropped as on a wire', async () => {
    const { netns } = lab.pod('shop/web-1');
    const [far = ''] = lab.pod('shop/api-2').addresses;
    const mtuBytes = cni.endsWith('-vxlan') ? 1430 : 1500;
    const ping = async (sizeBytes: number) => {
      // 28: IPv4 and ICMP headers.
      const size = String(sizeBytes - 28);
      return (await lab.exec(netns, ['ping', '-c1', '-W1', '-M', 'do', '-s', size, far])).code;
    };
    expect([await ping(mtuBytes), await ping(mtuBytes + 1)]).toEqual([0, 1]);
    // A fragmented datagram does not pass the fabric; where a tunnel hides the fragments in its packets, it does.
    const fragmented = await lab.exec(netns, ['ping', '-c1', '-W1', '-M', 'dont', '-s', '3000', far]);
    expect(fragmented.code).toBe(cni.endsWith('-vxlan') ? 0 : 1);
  });

  test('every declared port listens inside its pod', async () => {
    const { stdout } = await lab.exec(lab.pod('shop/api-1').netns, ['ss', '-Hltnup']);
    expect(stdout).toMatch(/udp\s+UNCONN.*:8081/);
    expect(stdout).toMatch(/tcp\s+LISTEN.*:8080/);
  });

  test('a second sync changes no rule', async () => {
    const dump = async () => {
      const { netns } = lab.node('node2');
      const rules = await lab.exec(netns, ['iptables-save']);
      const rules6 = await lab.exec(netns, ['ip6tables-save']);
      const sets = await lab.exec(netns, ['ipset', 'list', '-n']);
      return `${rules.stdout}${rules6.stdout}${sets.stdout}`.replace(/^#.*$|\[[0-9]+:[0-9]+\]/gm, '');
    };
    const before = await dump();
    await lab.syncServices();
    await lab.syncPolicies();
    expect(await dump()).toBe(before);
  });
});
