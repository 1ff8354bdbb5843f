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
});
