/** The demo's recording, with a rule that drops the flow and others near to it. */
import { describe, expect, it } from 'vitest';
import { edited, recordedLab } from '../../test/support/recorded-lab.ts';
import { snapshotFromFiles } from '../collect/build.ts';
import { diagnose } from './diagnose.ts';
import { askedFlows } from './question.ts';

async function evidenceWith(...rules: readonly string[]): Promise<readonly string[]> {
  const raw = ['*raw', ':PREROUTING ACCEPT [0:0]', ':OUTPUT ACCEPT [0:0]', ...rules, 'COMMIT', ''].join('\n');
  const files = edited(await recordedLab(), {
    'nodes/node1/iptables-save.txt': (text) => `${raw}${text ?? ''}`,
  });
  const snapshot = snapshotFromFiles(files, 'test');
  const { flows } = askedFlows(snapshot, { src: 'web-1', dst: 'api-2:8080', namespace: 'shop' });
  const { causes } = diagnose({ snapshot, flow: flows[0], findings: [], durationMs: 0 });
  return (causes[0]?.evidence ?? []).map(({ statement }) => statement);
}

const drop = '-A PREROUTING -p tcp -m tcp --dport 8080 -j DROP';

describe('the nearest rule under a cause', () => {
  it('stands behind the drop', async () => {
    expect(await evidenceWith(drop, '-A PREROUTING -s 10.0.0.0/8 -j ACCEPT')).toContain(
      'node1: a rule that would accept it stands behind the one that drops it',
    );
  });
  it('wants one thing else', async () => {
    expect(await evidenceWith('-A PREROUTING -p tcp -m tcp --dport 8081 -j ACCEPT', drop)).toContain(
      'node1: a rule lets pass destination port 8081; the packet has 8080',
    );
  });
  it('is not told where it is about marks, or nothing is near', async () => {
    const told = await evidenceWith('-A PREROUTING -m mark --mark 0x7 -j ACCEPT', drop);
    expect(told[0]).toContain('dropped by raw PREROUTING');
    expect(told.join('\n')).not.toMatch(/a rule/);
  });
});
