/** A cluster leaves the host as it was: when it goes, when its making is killed, and while it stands. */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { exec } from '../../src/system/exec.ts';
import type { Cluster } from './cluster.ts';
import { podsOf, tryFrom } from './flows.ts';
import { downCluster, openCluster, sweepClusters, upCluster } from './lifecycle.ts';
import { processesOf } from './processes.ts';
import { mountsOf, namespacesOf, traces } from './state.ts';
import { ownCluster, whyNoOwnCluster } from './support.ts';
import { pause } from './wait.ts';

const script = fileURLToPath(new URL('../../scripts/cluster.mjs', import.meta.url));
const name = `u${process.pid}`;
const killed = `k${process.pid}`;

/** The root namespace's network and the machine's settings, without what changes by itself. */
async function hostState(): Promise<Record<string, string>> {
  const commands: Record<string, string[]> = {
    addresses: ['ip', '-o', 'addr'],
    devices: ['ip', '-o', 'link'],
    routes: ['ip', 'route', 'show', 'table', 'all'],
    rules: ['ip', 'rule'],
    iptables: ['iptables-save'],
    nft: ['nft', 'list', 'ruleset'],
    sets: ['ipset', 'list', '-n'],
    settings: ['sysctl', '-a', '-r', '^(net\\.(ipv4|ipv6|core|bridge)|vm|kernel|fs\\.inotify)\\.'],
  };
  const states: Record<string, string> = {};
  for (const [what, argv] of Object.entries(commands)) {
    const { stdout } = await exec(argv);
    states[what] = stdout
      .replace(/\[[0-9]+:[0-9]+\]|(valid|preferred)_lft [0-9]+sec|expires [0-9]+sec|^# .*$/gm, '')
      .replace(/^(kernel\.(random|ns_last_pid|pty\.nr)|net\.ipv4\.tcp_fastopen_key).*$/gm, '');
  }
  return states;
}

/** Everything of a cluster that can be found anywhere on this host. */
const remains = (cluster: string) => ({
  known: traces().includes(cluster),
  namespaces: namespacesOf(cluster),
  mounts: mountsOf(cluster),
  processes: [
    ...processesOf(cluster),
    // Also by what they were started with: a process may have left the network namespace.
    ...readdirSync('/proc').filter(
      (pid) => /^\d+$/.test(pid) && argumentsOf(pid).includes(`/podpath-clusters/${cluster}/`),
    ),
  ],
});
const nothing = { known: false, namespaces: [], mounts: [], processes: [] };

function argumentsOf(pid: string): string {
  try {
    return readFileSync(join('/proc', pid, 'cmdline'), 'utf8');
  } catch {
    return '';
  }
}

describe.skipIf(whyNoOwnCluster !== undefined)('a cluster', () => {
  let first: Cluster;
  beforeAll(async () => {
    first = await ownCluster();
  });
  afterAll(async () => {
    for (const one of [name, killed]) if (traces().includes(one)) await downCluster(one);
  });

  test('stands beside another one with the same addresses, leaves the host alone, and goes without a trace', async () => {
    const before = await hostState();
    const second = await upCluster({
      name,
      cni: 'flannel-host-gw',
      proxy: 'nftables',
      nodes: 2,
      ownerPid: process.pid,
    });
    expect(await hostState()).toEqual(before);
    const attempts = [
      { kind: 'http', host: 'api', port: 80 },
      { kind: 'udp', host: 'api', port: 81 },
      { kind: 'tcp', host: 'ledger.payments', port: 9000 },
    ] as const;
    const [here, there] = await Promise.all([first, second].map((one) => podsOf(one, 'shop', 'web')));
    expect([here?.length, there?.length]).toEqual([3, 2]);
    for (const pod of there ?? []) expect(await tryFrom(second, pod, attempts)).toEqual(['ok', 'ok', 'ok']);
    for (const pod of here ?? []) expect(await tryFrom(first, pod, attempts)).toEqual(['ok', 'ok', 'ok']);
    expect((await second.must('node1', ['nft', 'list', 'tables'])).stdout).toContain('table ip kube-proxy');
    expect((await second.must('node1', ['ip', 'route'])).stdout).toContain('via 10.99.0.12 dev eth0');
    await downCluster(name);
    expect(remains(name)).toEqual(nothing);
    expect(await hostState()).toEqual(before);
    for (const pod of here ?? []) expect(await tryFrom(first, pod, attempts)).toEqual(['ok', 'ok', 'ok']);
  });

  test('whose making is interrupted by Ctrl-C leaves nothing', async () => {
    const maker = spawn(process.execPath, [script, 'up', '--name', killed], {
      stdio: 'ignore',
      detached: true,
    });
    const ended = new Promise((resolve) => maker.once('exit', resolve));
    while (namespacesOf(killed).length === 0 && maker.exitCode === null) await pause(20);
    await pause(3000);
    maker.kill('SIGINT');
    expect(await ended).toBe(130);
    expect(remains(killed)).toEqual(nothing);
  });

  test.each([500, 6000])('whose making is killed after %i ms is swept up', async (delayMs) => {
    const maker = spawn(process.execPath, [script, 'up', '--name', killed], {
      stdio: 'ignore',
      detached: true,
    });
    const ended = new Promise((resolve) => maker.once('exit', resolve));
    while (namespacesOf(killed).length === 0 && maker.exitCode === null) await pause(20);
    await pause(delayMs);
    maker.kill('SIGKILL');
    await ended;
    expect(remains(killed)).not.toEqual(nothing);
    // Another run on this machine may have died too.
    expect(await sweepClusters()).toContain(killed);
    expect(remains(killed)).toEqual(nothing);
    await expect(openCluster(killed)).rejects.toThrow(/there is no cluster/);
  });
});
