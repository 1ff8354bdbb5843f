/** Collects from namespaces of this kernel that the test makes itself: a node with a tunnel and rules, and a pod. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Lab } from '../lab/lab.ts';
import { exec } from '../system/exec.ts';
import { collectLab, snapshotOfLab } from './lab.ts';
import { readSnapshot } from './read.ts';
import { writeSnapshot } from './write.ts';

const able = process.platform === 'linux' && process.getuid?.() === 0;
if (!able) console.log('skipped: collecting from namespaces needs Linux and root');

const node = `pp-collect${process.pid}-n1`;
const pod = `pp-collect${process.pid}-p1`;
const list = (items: unknown[]) => JSON.stringify({ apiVersion: 'v1', kind: 'List', items });

describe.skipIf(!able)('a lab of two namespaces', () => {
  let dir = '';
  const run = async (...argv: string[]) => {
    const result = await exec(argv);
    if (result.code !== 0) throw new Error(`${argv.join(' ')}: ${result.stderr}`);
  };
  const inside = (netns: string, ...argv: string[]) => run('ip', 'netns', 'exec', netns, ...argv);

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'podpath-collect-'));
    await mkdir(join(dir, 'cluster'));
    await writeFile(
      join(dir, 'cluster/nodes.json'),
      list([{ metadata: { name: 'n1' }, spec: {}, status: { addresses: [] } }]),
    );
    await writeFile(join(dir, 'cluster/pods.json'), list([]));
    await run('ip', 'netns', 'add', node);
    await run('ip', 'netns', 'add', pod);
    const veth = ['link', 'add', 'veth1', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', pod];
    await run('ip', '-n', node, ...veth);
    const vxlan = ['link', 'add', 'flannel.1', 'type', 'vxlan', 'id', '1', 'dstport', '8472', 'nolearning'];
    await run('ip', '-n', node, ...vxlan);
    await run('ip', '-n', node, 'link', 'set', 'veth1', 'up');
    await run('ip', '-n', node, 'route', 'add', 'blackhole', '10.9.0.0/16');
    const drop = ['-A', 'FORWARD', '-s', '10.1.2.3', '-m', 'comment', '--comment', 'pod "x"', '-j', 'DROP'];
    await inside(node, 'iptables-nft', ...drop);
    await inside(node, 'ipset', 'create', 'S', 'hash:ip');
  });
  afterAll(async () => {
    await exec(['ip', 'netns', 'del', pod]);
    await exec(['ip', 'netns', 'del', node]);
    await rm(dir, { recursive: true, force: true });
  });

  const lab = (): Lab =>
    ({
      dir,
      state: {
        name: 'two',
        nodes: [{ name: 'n1', netns: node, addresses: [], podCidrs: [] }],
        pods: [
          { namespace: 'shop', name: 'web-1', node: 'n1', netns: pod, addresses: [], hostDevice: 'veth1' },
        ],
      },
      exec: (netns: string, argv: readonly string[], options: object) =>
        exec(['ip', 'netns', 'exec', netns, ...argv], options),
    }) as unknown as Lab;

  test('every file is there, without a gap', async () => {
    const { files, gaps } = await collectLab(lab());
    expect(gaps).toEqual([]);
    expect(files.get('nodes/n1/iptables-save.txt')).toContain(
      '-s 10.1.2.3/32 -m comment --comment "pod \\"x\\"" -j DROP',
    );
    expect(files.get('nodes/n1/ipset.txt')).toMatch(/^create S hash:ip /);
    expect(files.get('nodes/n1/ethtool-flannel.1.txt')).toMatch(/tx-checksum/);
    expect(files.get('nodes/n1/pods/shop_web-1/ip-link.json')).toContain('"eth0"');
    expect(files.get('nodes/n1/sysctl.txt')).toMatch(/^net\.ipv4\.conf\.flannel\/1\.forwarding = /m);
    expect(files.has('nodes/n1/pods/shop_web-1/ethtool-flannel.1.txt')).toBe(false);
  });

  test('collecting makes no legacy table', async () => {
    await collectLab(lab());
    const names = await exec(['ip', 'netns', 'exec', node, 'cat', '/proc/net/ip_tables_names']);
    expect(names.stdout).toBe('');
  });

  test('the snapshot in memory equals the one written and read', async () => {
    const { files } = await collectLab(lab());
    const path = join(dir, 'snap.zip');
    await writeSnapshot(path, files);
    const snapshot = await readSnapshot(path);
    expect(snapshot.source).toEqual({ kind: 'lab', name: 'two' });
    expect([...snapshot.netns.keys()]).toEqual(['n1', 'n1/shop_web-1']);
    const live = await snapshotOfLab(lab());
    const routes = live.netns.get('n1')?.routes;
    expect(routes).toMatchObject({ state: 'known' });
    expect(snapshot.netns.get('n1')?.routes).toEqual(routes);
    expect(JSON.stringify(routes, (_, v) => (typeof v === 'bigint' ? String(v) : v))).toContain('blackhole');
  });

  test('some namespaces only: the others are gaps with that reason', async () => {
    const { files, gaps } = await collectLab(lab(), { netns: ['n1'] });
    expect([...files.keys()].some((path) => path.includes('/pods/'))).toBe(false);
    expect(gaps).toEqual([
      expect.objectContaining({ where: 'nodes/n1/pods/', why: 'only some namespaces were asked for' }),
    ]);
  });

  test('no namespace can be entered: an error that says why', async () => {
    const barred = { ...lab(), exec: () => exec(['false']) } as unknown as Lab;
    await expect(collectLab(barred)).rejects.toMatchObject({ complaint: { code: 'collect/no-access' } });
  });

  test('a namespace that is gone is a gap', async () => {
    const gone = lab();
    const state = {
      ...gone.state,
      nodes: [{ name: 'n1', netns: 'pp-collect-gone', addresses: [], podCidrs: [] }],
    };
    const { gaps } = await collectLab({ ...gone, state } as Lab);
    expect(gaps[0]).toMatchObject({
      where: 'nodes/n1/',
      why: expect.stringContaining('could not be entered'),
    });
  });
});
