/** podpath trace with a capture file and with every backend, over recorded clusters. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { bundledEntry } from '../../src/system/entry.ts';
import { exec } from '../../src/system/exec.ts';

const shared = process.env.PODPATH_SHARED;
const snapshots = join(shared ?? '', 'snapshots');
const missing = shared === undefined || !existsSync(snapshots);
if (missing) console.log('trace: skipped, PODPATH_SHARED names no folder with snapshots');

const dir = mkdtempSync(join(tmpdir(), 'podpath-trace-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const program = bundledEntry('podpath');
const trace = (snapshot: string, args: readonly string[]) =>
  exec(
    [process.execPath, program, 'trace', ...args, '-n', 'shop', '-s', join(snapshots, `${snapshot}.tar.gz`)],
    {
      env: { NO_COLOR: '1' },
      timeoutMs: 20_000,
    },
  );

describe.skipIf(missing)('podpath trace', () => {
  it('--all-backends: one node drops, one of three backends fails and says why', async () => {
    const { code, stdout } = await trace('forward-drop', [
      'web-k74cn',
      'svc/api:80',
      '--all-backends',
      '-o',
      'json',
    ]);
    const report = JSON.parse(stdout);
    expect(report).toMatchObject({ kind: 'TraceBackends', total: 3, failing: 1, unknown: 0 });
    expect(report.summary).toContain('1 of 3 backends fails');
    const failing = report.backends.filter((one: { answer: string }) => one.answer === 'unreachable');
    expect(failing).toMatchObject([
      { reason: expect.stringMatching(/^node3: dropped by the policy of filter FORWARD/) },
    ]);
    expect(code).toBe(1);
    const text = await trace('forward-drop', ['web-k74cn', 'svc/api:80', '--all-backends']);
    expect(text.stdout).toContain('1 of 3 backends fails');
    expect(text.stdout.match(/ {2}answers {2}shop\/api-/g)).toHaveLength(2);
    expect(text.stdout).toContain('33 % of new connections');
  });

  it('--pcap: tcpdump reads it, checksums are right, the Service address and the tunnel are in it', async () => {
    const file = join(dir, 'walk.pcapng');
    const { code } = await trace('healthy-vxlan', ['web-gz2ss', 'svc/api:80', '--pcap', file]);
    expect(code).toBe(0);
    const dump = await exec(['tcpdump', '-nvvr', file]);
    if (dump.startError !== undefined) {
      console.log('trace --pcap: tcpdump is not installed, its reading is skipped');
      return;
    }
    expect(dump.code).toBe(0);
    expect(dump.stdout).toContain('10.244.2.4.40000 > 10.96.73.56.80: Flags [S]');
    expect(dump.stdout).toContain('10.96.73.56.80 > 10.244.2.4.40000: Flags [S.]');
    expect(dump.stdout).toMatch(/> 10\.99\.0\.\d+\.8472/);
    expect(dump.stdout).not.toContain('incorrect');
    expect(dump.stdout).not.toContain('truncated');
  });

  it('--pcap: a file that cannot be written is one clear error', async () => {
    const { code, stderr } = await trace('healthy-vxlan', [
      'web-gz2ss',
      'svc/api:80',
      '--pcap',
      join(dir, 'no', 'where'),
    ]);
    expect(code).toBe(3);
    expect(stderr).toContain('the capture file cannot be written');
  });

  it('a policy drop: the chains, the counter, the kernel, and the policy that comes nearest', async () => {
    const flow = ['ops/toolbox-6q699', 'payments/ledger-flgc8:9000'];
    const { stdout, code } = await trace('policy-denied-ingress', flow);
    expect(code).toBe(1);
    expect(stdout).toContain('chains   FORWARD > KUBE-ROUTER-FORWARD > KUBE-POD-FW-NK42474LPCG75AWW');
    expect(stdout).toContain('counter  4 packets when the dump was taken');
    expect(stdout).toContain('kernel   NETFILTER_DROP; the sender gets ICMP 3/3');
    expect(stdout).toMatch(/nearest {2}NetworkPolicy payments\/ledger-from-shop .* source in set/);
    const json = JSON.parse((await trace('policy-denied-ingress', [...flow, '-o', 'json'])).stdout);
    const [branch] = json.branches;
    expect(branch.broken.step.nearest[0]).toMatchObject({
      how: 'mark',
      needs: [expect.stringMatching(/^source in set KUBE-SRC-\w+; it does not hold 10\.244\.1\.3$/)],
      about: 'NetworkPolicy payments/ledger-from-shop',
    });
    const visits = branch.trace.forward[branch.broken.hop].rules;
    expect(visits.at(-1)).toMatchObject({ hook: 'forward', table: 'filter', verdict: 'reject' });
    expect(visits.at(-1).source).toEqual(branch.broken.step.sources[0]);
  });

  it('-v lists every rule that matched, hop by hop', async () => {
    const { stdout } = await trace('healthy-vxlan', ['web-gz2ss', 'svc/api:80', '-v']);
    expect(stdout).toMatch(/prerouting nat {2}nodes\/node\d\/iptables-save\.txt/);
    expect(stdout).toMatch(/:\d+ -A KUBE-SEP-\w+ /);
    expect(stdout).toMatch(/; dst 10\.96\.73\.56 port 80 -> /);
  });
});
