/** The demo's acts. Each is done for real; the diagnosis is the very command that a user would type. */
import type { Fault, FaultFlow } from '../lab/faults/fault.ts';
import { downLab, type Lab, upLab } from '../lab/lab.ts';
import { PodpathError } from '../model/errors.ts';
import { probeFromLab } from '../probe/lab.ts';
import { bundledEntry, bundledFile } from '../system/entry.ts';
import { exec } from '../system/exec.ts';
import { colorOn, type Progress, tint, unicodeOn, widthColumns } from './context.ts';

export interface DemoOptions {
  readonly fault: string;
  readonly replay: boolean;
  readonly signal: AbortSignal;
  readonly show: (text: string) => void;
  readonly progress: (text: string) => Progress;
}

/** What scripts/record-demo.mjs recorded, and the flow that is broken in it. */
const recording = {
  file: 'demo.tar.gz',
  src: 'shop/web-1',
  dst: 'shop/api-2:8080',
  cause: 'overlay/port-blocked',
};

/** Codes of src/lab/requirements.ts: the host cannot have a lab, which is no failure of the demo. */
const hostLacks = new Set(['lab/no-linux', 'lab/no-root', 'lab/missing-tools', 'lab/no-br-netfilter']);

/** Resolves to whether every act went as it must. Leaves nothing behind, also when it throws. */
export async function playDemo(options: DemoOptions): Promise<boolean> {
  const { show } = options;
  if (options.replay) return replay(options, 'as you asked');
  const fault = await findFault(options.fault);
  const lab = await up(options, fault);
  if (lab instanceof PodpathError) {
    const { why, todo } = lab.complaint;
    return replay(options, `${why}; to see it live: ${todo.split(',')[0] ?? todo}`);
  }
  try {
    return await acts(options, lab, fault);
  } finally {
    await downLab(lab.state.name);
    const left = await leftovers(lab.state.name);
    show(left === '' ? '\nThe lab is removed. Nothing of it is left.' : `\nLeft behind: ${left}`);
  }
}

async function findFault(name: string): Promise<Fault> {
  const { faults } = await import('../lab/faults/registry.ts');
  const fault = faults.find((candidate) => candidate.name === name);
  if (fault !== undefined) return fault;
  throw new PodpathError({
    code: 'demo/no-fault',
    what: `there is no fault ${name}`,
    where: '--fault',
    why: `the faults are ${faults.map((candidate) => candidate.name).join(', ')}`,
    todo: 'choose one of them, or leave the option out',
  });
}

/** The lab, or the reason why this host cannot have one. */
async function up(options: DemoOptions, fault: Fault): Promise<Lab | PodpathError> {
  const name = `demo-${process.pid}`;
  const started = performance.now();
  const shown = options.progress('building a lab: three nodes on this kernel');
  try {
    const lab = await upLab({
      name,
      ownerPid: process.pid,
      signal: options.signal,
      onProgress: (text) => shown.update(`building a lab: ${text}`),
      ...(fault.cnis[0] === undefined ? {} : { cni: fault.cnis[0] }),
    });
    shown.done();
    const { nodes, pods, cni } = lab.state;
    title(
      options,
      '1',
      `A lab: ${nodes.length} nodes, ${pods.length} pods, ${cni} (${secondsSince(started)})`,
    );
    options.show('Each is a network namespace of this kernel: real routes, VXLAN, iptables, sockets.');
    return lab;
  } catch (error) {
    shown.done();
    if (error instanceof PodpathError && hostLacks.has(error.complaint.code)) return error;
    throw error;
  }
}

async function acts(options: DemoOptions, lab: Lab, fault: Fault): Promise<boolean> {
  const { signal, show } = options;
  const flow = fault.flow(lab);
  const flows = [flow, ...fault.works(lab).slice(0, 2)];
  const outcomes: boolean[] = [];
  const act = async (number: string, text: string, body: () => Promise<boolean>) => {
    signal.throwIfAborted();
    title(options, number, text);
    outcomes.push(await body());
  };
  await act('2', 'Traffic passes', () => traffic(options, lab, flows, 'all'));
  await act('3', `Something breaks: ${fault.title}`, async () => {
    await fault.apply(lab);
    return traffic(options, lab, flows, 'all but the first');
  });
  await act('4', 'Why?', () => ask(options, lab, flow, fault.cause));
  await act('5', 'The repair', async () => {
    show(`  ${fault.repair}`);
    await fault.heal(lab);
    return traffic(options, lab, flows, 'all');
  });
  await act('6', 'Is it whole again?', () => ask(options, lab, flow, undefined));
  return outcomes.every((good) => good);
}

function title({ show }: DemoOptions, number: string, text: string): void {
  show(`\n${tint('bold', tint('cyan', `${number}. ${text}`))}`);
}

const secondsSince = (started: number): string => `${((performance.now() - started) / 1000).toFixed(1)} s`;

/** Sends each flow from its pod and shows what came of it. True if it is as expected. */
async function traffic(
  { show }: DemoOptions,
  lab: Lab,
  flows: readonly FaultFlow[],
  expected: 'all' | 'all but the first',
): Promise<boolean> {
  const passed = await Promise.all(flows.map((flow) => send(lab, flow)));
  for (const [i, flow] of flows.entries()) {
    const { ok, text } = passed[i] ?? { ok: false, text: 'not sent' };
    const mark = ok ? tint('green', unicodeOn() ? '✓' : 'ok') : tint('red', unicodeOn() ? '✗' : 'x ');
    show(`  ${mark} ${flow.src} -> ${target(flow)}/${flow.protocol.toUpperCase()}${sizeOf(flow)}: ${text}`);
  }
  return passed.every(({ ok }, i) => ok === (expected === 'all' || i > 0));
}

const target = (flow: FaultFlow): string =>
  `${flow.hostName ?? flow.dst}${flow.port === 0 ? '' : `:${flow.port}`}`;
const sizeOf = (flow: FaultFlow): string => (flow.sizeBytes === undefined ? '' : `, ${flow.sizeBytes} bytes`);

async function send(lab: Lab, flow: FaultFlow): Promise<{ ok: boolean; text: string }> {
  const src = lab.pod(flow.src);
  const dst = await addressOf(lab, flow.dst);
  const common = { src: flow.src, dst, timeoutMs: 1500 };
  const bulk = { direction: 'from-src', sizeBytes: flow.sizeBytes ?? 0 } as const;
  if (flow.hostName !== undefined) {
    const server = await addressOf(lab, 'kube-system/svc/kube-dns');
    const family = dst.includes(':') ? 6 : 4;
    const [resolved] = await probeFromLab(lab, src.netns, [
      { src: flow.src, kind: 'dns', name: flow.hostName, family, server, transport: 'udp', timeoutMs: 1500 },
    ]);
    if (resolved?.outcome !== 'ok') {
      return { ok: false, text: `the name does not resolve (${resolved?.outcome ?? 'not asked'})` };
    }
  }
  const [result] = await probeFromLab(lab, src.netns, [
    flow.protocol === 'icmp'
      ? { ...common, kind: 'icmp' }
      : flow.protocol === 'udp'
        ? { ...common, kind: 'udp', port: flow.port }
        : { ...common, kind: 'tcp', port: flow.port, ...(flow.sizeBytes === undefined ? {} : { bulk }) },
  ]);
  if (result === undefined) return { ok: false, text: 'not sent' };
  const ok = result.outcome === 'ok';
  return { ok, text: ok ? `passes (${result.ms.toFixed(1)} ms)` : result.outcome };
}

/** First address of `ns/pod` or of `ns/svc/name`. */
async function addressOf(lab: Lab, dst: string): Promise<string> {
  const [namespace, kind, name] = dst.split('/');
  if (name === undefined || kind !== 'svc') return lab.pod(dst).addresses[0] ?? '';
  const services = await lab.objects<{
    metadata: { namespace: string; name: string };
    spec: { clusterIP: string };
  }>('services');
  return (
    services.find((s) => s.metadata.namespace === namespace && s.metadata.name === name)?.spec.clusterIP ?? ''
  );
}

/** Runs `podpath diagnose` as a user would. With a cause, it must be named and the flow be broken; without, all must be well. */
async function ask(
  options: DemoOptions,
  lab: Lab,
  flow: FaultFlow,
  cause: string | undefined,
): Promise<boolean> {
  return diagnose(options, [flow.src, `${flow.hostName ?? flow.dst}:${flow.port}`, '--lab', lab.state.name], {
    cause,
    protocol: flow.protocol,
  });
}

async function diagnose(
  { show, signal }: DemoOptions,
  words: readonly string[],
  { cause, protocol }: { readonly cause: string | undefined; readonly protocol: string },
): Promise<boolean> {
  const args = ['diagnose', ...words, ...(protocol === 'tcp' ? [] : ['--protocol', protocol])];
  show(`${tint('dim', `$ podpath ${args.join(' ')}`)}`);
  const started = performance.now();
  const result = await exec(
    [process.execPath, bundledEntry('podpath'), '--color', colorOn() ? 'always' : 'never', ...args],
    // exec sets the C locale for the tools that podpath reads; this output is for people.
    { signal, env: { LC_ALL: unicodeOn() ? 'C.UTF-8' : 'C', COLUMNS: String(widthColumns()) } },
  );
  // Progress is on stderr; it is of interest only where there is no result. A healthy flow's whole path says nothing new.
  const answer = cause === undefined ? (result.stdout.split('\n')[0] ?? '') : result.stdout;
  show((result.code === 0 || result.code === 1 ? answer : `${result.stdout}${result.stderr}`).trimEnd());
  show(tint('dim', `(${secondsSince(started)}, exit code ${result.code})`));
  return cause === undefined ? result.code === 0 : result.code === 1 && result.stdout.includes(cause);
}

/** Namespaces of the lab that are still there, by name. */
async function leftovers(name: string): Promise<string> {
  const { stdout } = await exec(['ip', 'netns', 'list']);
  return stdout
    .split('\n')
    .map((line) => line.split(' ')[0] ?? '')
    .filter((netns) => netns.startsWith(`pp-${name}-`))
    .join(' ');
}

async function replay(options: DemoOptions, why: string): Promise<boolean> {
  options.show(`No lab is built (${why}). This is a recording of one, made by podpath itself.`);
  const { file, src, dst, cause } = recording;
  return diagnose(options, [src, dst, '--snapshot', bundledFile(file)], { cause, protocol: 'tcp' });
}
