import { describe, expect, it } from 'vitest';
import type { Flow } from '../model/flow.ts';
import { address } from '../net/address.ts';
import { probeLines } from './probes.ts';
import {
  apiService,
  blocked,
  clean,
  explained,
  flow,
  gap,
  healthy,
  scanned,
  stalled,
  unsure,
  web1,
} from './samples.ts';
import { scanText } from './scan.ts';
import { cell, plainStyle, type Style, wrap } from './style.ts';
import { diagnosisText, traceText } from './text.ts';
import { destinationText, headline } from './words.ts';

const golden = (name: string) => `./fixtures/${name}.txt`;
const terminal: Style = { ...plainStyle, unicode: true, widthColumns: 100 };
const coloured: Style = { ...terminal, tint: (how, text) => `<${how}>${text}</${how}>` };

describe('golden reports', () => {
  it.each<[string, string]>([
    ['blocked', diagnosisText(blocked, terminal)],
    ['blocked-ascii-80', diagnosisText(blocked, { ...plainStyle, widthColumns: 80 })],
    ['blocked-narrow-verbose', diagnosisText(blocked, { ...terminal, widthColumns: 60, verbose: true })],
    ['blocked-coloured', diagnosisText(blocked, coloured)],
    ['healthy', diagnosisText(healthy, terminal)],
    ['unsure', diagnosisText(unsure, terminal)],
    ['stalled', diagnosisText(stalled, terminal)],
    ['trace-healthy', traceText(healthy.verdict, terminal)],
    ['trace-stalled-verbose', traceText(stalled.verdict, { ...terminal, verbose: true })],
    ['trace-explained', traceText(explained.verdict, terminal)],
    [
      'trace-explained-verbose',
      traceText(explained.verdict, { ...terminal, widthColumns: 110, verbose: true }),
    ],
    ['scan', scanText(scanned, terminal)],
    ['scan-verbose', scanText(scanned, { ...terminal, verbose: true })],
    ['scan-clean', scanText(clean, terminal)],
  ])('%s', async (name, text) => {
    await expect(`${text}\n`).toMatchFileSnapshot(golden(name));
  });
});

describe('the first line', () => {
  it.each<[string, Flow, string]>([
    ['a pod', flow, 'shop/api-2:8080/TCP'],
    ['a Service', { ...flow, dst: apiService, dstPort: 80 }, 'shop/svc/api:80/TCP'],
    ['a host name', { ...flow, dst: apiService, dstPort: 80, hostName: 'api' }, 'api:80/TCP (shop/svc/api)'],
    ['no port', { ...flow, protocol: 'icmp', dstPort: 0 }, 'shop/api-2 (ICMP)'],
    [
      'an IPv6 address',
      { ...flow, protocol: 'udp', dstPort: 53, dst: { kind: 'external', address: address('fd00::1') } },
      '[fd00::1]:53/UDP',
    ],
    [
      'a node and a size',
      { ...flow, dst: { kind: 'node', name: 'node2', address: web1.address }, sizeBytes: 1400 },
      'node/node2:8080/TCP with packets of 1400 bytes',
    ],
  ])('names %s', (_, asked, text) => {
    expect(destinationText(asked)).toBe(text);
  });

  it('calls a guess a guess, and says what is missing where nothing decides', () => {
    const guess = blocked.causes.slice(1);
    expect(headline(blocked.verdict, guess, [])).toContain(': a guess: the forwarding entry');
    expect(headline(blocked.verdict, [], [])).toContain(': node2: dropped by iptables filter INPUT');
    const undecided = { ...healthy.verdict, answer: 'unknown' as const };
    expect(headline(undecided, [], [gap])).toBe(
      'cannot tell whether shop/web-1 reaches shop/api-2:8080/TCP: iptables rules of node2: the file is not in the snapshot',
    );
  });
});

it('no colours change the text, and ASCII is ASCII', () => {
  const stripped = diagnosisText(blocked, coloured).replace(/<\/?(bold|dim|red|green|yellow|cyan)>/g, '');
  expect(stripped).toBe(diagnosisText(blocked, terminal));
  for (const text of [diagnosisText(blocked, plainStyle), scanText(scanned, plainStyle)])
    expect(text).toMatch(/^[\x20-\x7e\n]*$/);
});

it('keeps lines within the width, but for the answer and for commands', () => {
  for (const widthColumns of [60, 80, 120]) {
    const lines = diagnosisText(blocked, { ...terminal, widthColumns, verbose: true })
      .split('\n')
      .slice(1);
    const long = lines.filter((line) => line.length > widthColumns && !/repair|\$ |^ {2}ip netns/.test(line));
    expect(long).toEqual([]);
    const trace = traceText(explained.verdict, { ...terminal, widthColumns, verbose: true });
    expect(
      trace
        .split('\n')
        .slice(1)
        .filter((line) => line.length > widthColumns),
    ).toEqual([]);
  }
});

it('shows failing probes first where there are many, and no misses of the search list', () => {
  const [tcp] = blocked.probes;
  if (tcp === undefined) throw new TypeError('the sample has probes');
  const passing = Array.from({ length: 14 }, (_, n) => ({
    ...tcp,
    dst: `10.0.0.${n}`,
    outcome: 'ok' as const,
  }));
  const dns = (answers: string[]) => ({
    ...tcp,
    kind: 'dns' as const,
    dst: answers[0] ?? 'miss',
    outcome: 'ok' as const,
    dns: { server: '10.96.0.10', transport: 'udp' as const, rcode: 'NOERROR', answers },
  });
  const lines = probeLines([...passing, dns([]), dns(['10.96.1.2']), tcp], plainStyle, 'unreachable');
  expect(lines[0]).toBe('Probes  15 of 16 passed');
  expect(lines[1]).toMatch(/^ {2}x tcp .* no answer$/);
  expect(lines).toHaveLength(1 + 12 + 1);
  expect(lines.at(-1)).toBe('  4 more with -v');
  expect(lines.join()).not.toContain('miss');
});

it('wraps and cuts', () => {
  expect(wrap('one two three', 7)).toEqual(['one two', 'three']);
  expect(wrap('incomprehensibilities x', 5)).toEqual(['incomprehensibilities', 'x']);
  expect(cell('api', 5, terminal)).toBe('api  ');
  expect(cell('frontend-7f9c5d-abcde', 11, terminal)).toBe('front…abcde');
});
