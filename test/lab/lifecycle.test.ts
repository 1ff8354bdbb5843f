/** Labs come whole or not at all, stand side by side, leave the host as it was, and are swept up after a kill. */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { downLab, listLabs, openLab, sweepLabs, upLab } from '../../src/lab/lab.ts';
import { PodpathError } from '../../src/model/errors.ts';
import { bundledEntry } from '../../src/system/entry.ts';
import { exec } from '../../src/system/exec.ts';
import { allOk, labName, ownStateDir, send, type Try, whyNoLab } from './support.ts';

const stateDir = ownStateDir();

/** What is left of a lab, wherever labs leave things. */
function traces(name: string): string[] {
  const inDir = (dir: string, own: (entry: string) => boolean) =>
    existsSync(dir)
      ? readdirSync(dir)
          .filter(own)
          .map((entry) => join(dir, entry))
      : [];
  const isOwn = (entry: string) => entry.startsWith(`pp-${name}-`);
  return [
    ...inDir('/run/netns', isOwn),
    ...inDir('/etc/netns', isOwn),
    ...inDir(join(stateDir, 'labs'), (entry) => entry === name || entry.startsWith('.new-')),
  ];
}

/** Processes that serve a lab of this test's state directory. */
const serverPids = async (): Promise<string[]> => {
  const { stdout } = await exec(['ps', '-eo', 'pid,args']);
  return stdout.split('\n').filter((line) => line.includes(join(stateDir, 'labs')));
};

/** The root namespace's network state, without what changes by itself: counters, lifetimes, conntrack's own numbers. */
async function hostState(): Promise<Record<string, string>> {
  const commands: Record<string, string[]> = {
    addresses: ['ip', '-o', 'addr'],
    devices: ['ip', '-o', 'link'],
    routes: ['ip', 'route', 'show', 'table', 'all'],
    routes6: ['ip', '-6', 'route', 'show', 'table', 'all'],
    rules: ['ip', 'rule'],
    iptables: ['iptables-save'],
    ip6tables: ['ip6tables-save'],
    nft: ['nft', 'list', 'ruleset'],
    sets: ['ipset', 'list', '-n'],
    settings: ['sysctl', '-a', '-r', '^net\\.'],
  };
  const states: Record<string, string> = {};
  for (const [what, argv] of Object.entries(commands)) {
    const { stdout } = await exec(argv);
    states[what] = stdout
      .replace(/\[[0-9]+:[0-9]+\]|(valid|preferred)_lft [0-9]+sec|expires [0-9]+sec|^# .*$/gm, '')
      .replace(/^net\.netfilter\.nf_conntrack_(count|.*_stats).*$/gm, '')
      .replace(/^net\.ipv4\.tcp_(fastopen_key|.*_metrics).*$/gm, '');
  }
  return states;
}

const podpath = (...args: string[]) =>
  spawn(process.execPath, [bundledEntry('podpath'), ...args], { stdio: 'ignore', detached: true });

const exitOf = (child: ReturnType<typeof spawn>): Promise<number | null> =>
  new Promise((resolve) => child.once('exit', (code) => resolve(code)));

/** Waits until the lab's first namespaces exist: the building is under way. */
async function untilBuilding(name: string): Promise<void> {
  for (let waitedMs = 0; waitedMs < 10_000; waitedMs += 2) {
    if (
      existsSync('/run/netns') &&
      readdirSync('/run/netns').some((entry) => entry.startsWith(`pp-${name}-`))
    )
      return;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  throw new Error(`the lab ${name} was never begun`);
}

const complaintOf = async (work: Promise<unknown>): Promise<string> => {
  try {
    await work;
    return 'no error';
  } catch (error) {
    return error instanceof PodpathError ? error.complaint.code : `not for people: ${error}`;
  }
};

describe.skipIf(whyNoLab !== undefined)('a lab', () => {
  const [one, two] = [labName('one'), labName('two')];
  afterAll(async () => {
    for (const { name } of await listLabs()) await downLab(name);
  });

  test('stands beside another with the same addresses, leaves the host alone, and goes without a trace', async () => {
    const before = await hostState();
    const [first, second] = await Promise.all([
      upLab({ name: one, ownerPid: process.pid }),
      upLab({ name: two, cni: 'flannel-host-gw', ownerPid: process.pid }),
    ]);
    expect((await listLabs()).map(({ name }) => name).sort()).toEqual([one, two].sort());
    expect(first.pod('shop/api-2').addresses).toEqual(second.pod('shop/api-2').addresses);
    const tries: Try[] = [{ kind: 'http', host: 'api', port: 80 }];
    const during = await hostState();
    for (const lab of [first, second]) expect(await send(lab, 'shop/web-1', tries)).toEqual(allOk(tries));
    await downLab(one);
    expect(traces(one)).toEqual([]);
    expect(await send(second, 'shop/web-1', tries)).toEqual(allOk(tries));
    await downLab(two);
    expect([traces(two), await serverPids()]).toEqual([[], []]);
    const after = await hostState();
    expect(keptKeys(before, during)).toEqual(before);
    expect(keptKeys(before, after)).toEqual(before);
  });

  test('refuses what cannot be, with a reason, and touches nothing', async () => {
    const lab = await upLab({ name: one, nodes: 1, ownerPid: process.pid });
    expect(await complaintOf(upLab({ name: one }))).toBe('lab/exists');
    expect(await complaintOf(upLab({ name: two, nodes: 0 }))).toBe('lab/bad-option');
    expect(await complaintOf(upLab({ name: two, pods: 3 }))).toBe('lab/bad-option');
    expect(await complaintOf(upLab({ name: two, podCidr: '10.96.0.0/12' }))).toBe('lab/bad-option');
    expect(await complaintOf(upLab({ name: 'Up/../x' }))).toBe('lab/bad-name');
    expect(await complaintOf(openLab('../..'))).toBe('lab/bad-name');
    expect(await complaintOf(openLab(two))).toBe('lab/no-lab');
    expect(() => lab.pod('shop/web1')).toThrow(/nearest names are shop\/web-1/);
    expect(traces(two)).toEqual([]);
    expect(await send(lab, 'shop/web-1', [{ kind: 'http', host: 'api', port: 80 }])).toEqual(
      allOk([{ kind: 'http', host: 'api', port: 80 }]),
    );
    await downLab(one);
    expect(await complaintOf(downLab(one))).toBe('lab/no-lab');
  });

  test('whose building fails midway leaves nothing', async () => {
    // At the last step everything but the servers stands.
    const building = upLab({
      name: one,
      onProgress: (text) => {
        if (text.startsWith('starting')) throw new Error('the test stops here');
      },
    });
    expect(await complaintOf(building)).toContain('the test stops here');
    expect(traces(one)).toEqual([]);
  });

  test('that is aborted while it is built leaves nothing', async () => {
    const stop = new AbortController();
    const building = upLab({
      name: one,
      signal: stop.signal,
      onProgress: (text) => {
        if (text === 'connecting pods') stop.abort();
      },
    });
    expect(await complaintOf(building)).toBe('lab/interrupted');
    expect([traces(one), await serverPids()]).toEqual([[], []]);
  });

  test('interrupted by Ctrl-C leaves nothing', async () => {
    const child = podpath('lab', 'up', one, '--nodes', '6', '--pods', '60');
    await untilBuilding(one);
    child.kill('SIGINT');
    expect(await exitOf(child)).toBe(130);
    expect([traces(one), await serverPids()]).toEqual([[], []]);
  });

  test.each([0, 150, 400])('killed %i ms into its building is swept up', async (delayMs) => {
    const child = podpath('lab', 'up', one, '--nodes', '20', '--pods', '200');
    await untilBuilding(one);
    await new Promise((resolve) => setTimeout(resolve, delayMs));
    child.kill('SIGKILL');
    await exitOf(child);
    expect(traces(one)).not.toEqual([]);
    expect(await complaintOf(openLab(one))).toBe('lab/not-ready');
    expect(await sweepLabs()).toEqual([one]);
    expect([traces(one), await serverPids()]).toEqual([[], []]);
  });

  test('whose owner is gone is swept up, one whose owner lives is not', async () => {
    const owner = spawn('sleep', ['60'], { stdio: 'ignore' });
    await upLab({ name: one, nodes: 1, ownerPid: owner.pid ?? -1 });
    expect(await sweepLabs()).toEqual([]);
    owner.kill('SIGKILL');
    await exitOf(owner);
    expect(await sweepLabs()).toEqual([one]);
    expect([traces(one), await serverPids()]).toEqual([[], []]);
  });

  test('is made, used, broken, healed and removed from the command line', async () => {
    const run = (...args: string[]) => exec([process.execPath, bundledEntry('podpath'), 'lab', ...args]);
    const made = await run('up', one, '--cni', 'calico-vxlan', '-o', 'json');
    expect(JSON.parse(made.stdout)).toMatchObject({ kind: 'Lab', lab: { name: one, cni: 'calico-vxlan' } });
    expect((await run('exec', one, 'shop/web-1', '--', 'sh', '-c', 'exit 7')).code).toBe(7);
    expect((await run('exec', one, 'node1', '--', 'ip', '-br', 'link')).stdout).toContain('vxlan.calico');
    expect((await run('exec', one, 'node4', '--', 'true')).stderr).toContain('did you mean node');
    expect((await run('break', one, 'route-missing')).code).toBe(0);
    expect((await run('list')).stdout).toContain('broken by route-missing');
    expect((await run('heal', one)).code).toBe(0);
    expect((await run('list')).stdout).not.toContain('broken');
    const wrong = await run('break', one, 'route-missin');
    expect([wrong.code, wrong.stdout]).toEqual([3, '']);
    expect(wrong.stderr).toContain('did you mean route-missing?');
    expect((await run('down', one)).code).toBe(0);
    expect([traces(one), await serverPids()]).toEqual([[], []]);
  });

  test('of 20 nodes and 200 pods is up, and its far ends talk', async () => {
    const started = performance.now();
    const lab = await upLab({ name: one, nodes: 20, pods: 200, ownerPid: process.pid });
    const tookMs = performance.now() - started;
    expect(lab.state.pods).toHaveLength(200);
    const tries: Try[] = [
      { kind: 'http', host: 'api', port: 80 },
      ...(lab.pod('load/load-16-1').addresses.map((host) => ({ kind: 'http', host, port: 8080 })) as Try[]),
    ];
    expect(await send(lab, 'shop/web-20', tries)).toEqual(allOk(tries));
    await downLab(one);
    expect(traces(one)).toEqual([]);
    expect(tookMs).toBeLessThan(90_000);
  });
});

/** `now` without the lines that `before` does not have: a lab's first start may load kernel modules, with settings of their own. */
function keptKeys(before: Record<string, string>, now: Record<string, string>): Record<string, string> {
  const known = new Set((before.settings ?? '').split('\n').map((line) => line.split(' = ')[0]));
  const kept = (now.settings ?? '').split('\n').filter((line) => known.has(line.split(' = ')[0]));
  return { ...now, settings: kept.join('\n') };
}
