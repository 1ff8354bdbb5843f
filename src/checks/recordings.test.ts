/** The checks on clusters recorded from real Kubernetes: healthy ones give nothing, broken ones what broke them. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readSnapshot } from '../collect/read.ts';
import { runChecks } from './run.ts';

const shared = process.env.PODPATH_SHARED;
const recordings = shared === undefined ? undefined : join(shared, 'snapshots');
const available = recordings !== undefined && existsSync(recordings);
if (!available) console.log('skipped: recorded clusters (PODPATH_SHARED names no directory with snapshots/)');

/** Name of the recording, and every [cause, subject] that the checks must find. */
const expected: readonly [name: string, findings: readonly (readonly [cause: string, subject: string])[]][] =
  [
    ['healthy-hostgw-iptables', []],
    ['healthy-hostgw-kubeproxy-nftables', []],
    ['healthy-vxlan', []],
    // A policy that denies on purpose is no finding, nor is a port that no object mentions.
    ['policy-denied-ingress', []],
    ['loopback-only', []],
    ['route-missing', [['route/missing', 'node1']]],
    ['ip-forward-off', [['route/ip-forward-off', 'node3']]],
    ['forward-drop', [['netfilter/forward-drop', 'node3']]],
    ['foreign-iptables-drop', [['netfilter/foreign-rule', 'node3']]],
    ['vxlan-port-blocked', [['overlay/port-blocked', 'node3']]],
    ['service-selector-mismatch', [['service/selector-mismatch', 'shop/api']]],
  ];

describe.skipIf(!available)('recorded clusters', () => {
  it.each(expected)('%s', async (name, findings) => {
    const report = runChecks(await readSnapshot(join(recordings ?? '', `${name}.tar.gz`)));
    expect(report.findings.map((f) => [f.cause, f.subject.name])).toEqual(findings);
    expect(report.notRun).toEqual([]);
  });
});
