/** `podpath policy list`: the whole connectivity. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Connection, Party } from '../model/connectivity.ts';
import { PodpathError } from '../model/errors.ts';
import { type PortSet, portRange } from '../net/port-set.ts';
import type { PolicyProgramNote } from '../policy/ir.ts';
import { type ConnectivityReport, problemText } from '../report/connectivity.ts';
import { verbosity } from './context.ts';
import { exitCode } from './errors.ts';
import {
  noteProblems,
  openPolicySource,
  type PlacedProblem,
  type PolicySource,
  type PolicySourceFlags,
  withPolicySource,
} from './policy-source.ts';
import { style } from './source.ts';

const formats = ['text', 'json', 'csv', 'md', 'dot', 'html'] as const;

interface ListFlags extends PolicySourceFlags {
  readonly from?: string;
  readonly to?: string;
  readonly port?: PortSet;
  readonly by: 'workload' | 'pod';
  readonly output: (typeof formats)[number];
  readonly icmp?: boolean;
}

export function register(parent: Command): void {
  withPolicySource(
    parent
      .command('list')
      .description('who may talk to whom: every pair of workloads, and the addresses outside')
      .argument('[dir]', 'manifests: a directory, one file, or - for standard input'),
  )
    .option('--from <who>', 'only from: NS, NS/NAME, NAME, an address or prefix, or external')
    .option('--to <who>', 'only to: the same')
    .option('--port <port>', 'only what touches 80, 80/udp or 8000-8080/tcp', parsePort)
    .addOption(
      new Option('--by <what>', 'pods of one owner as one, or each pod for itself')
        .choices(['workload', 'pod'])
        .default('workload'),
    )
    .option('--icmp', 'list ICMP too; NetworkPolicy leaves it open')
    .addOption(
      new Option('-o, --output <format>', 'how to print the result').choices([...formats]).default('text'),
    )
    .action(run);
}

/** `80`, `80/udp`, `8000-8080/tcp`. TCP unless it says otherwise. */
function parsePort(text: string): PortSet {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/i.exec(text);
  const [from, to] = [Number(match?.[1]), Number(match?.[2] ?? match?.[1])];
  if (match === null || from < 1 || to > 65535 || to < from)
    throw new InvalidArgumentError('It is a port or a range with a protocol: 80, 53/udp, 8000-8080/tcp.');
  const protocol = (match[3] ?? 'tcp').toUpperCase() as 'TCP' | 'UDP' | 'SCTP';
  return portRange(protocol, from, to);
}

async function run(dir: string | undefined, flags: ListFlags): Promise<void> {
  const source = await openPolicySource(dir, flags);
  const connections = await connectionsOf(source, flags);
  noteProblems(source.problems, verbosity() > 0);
  const { ipBlockNote } = await import('../policy/ip-block-note.ts');
  const { reading, because, program } = source.engine;
  const doubt = ipBlockNote(source.cluster, reading);
  const report: ConnectivityReport = {
    connections,
    reading: { ...reading, because },
    problems: source.problems,
    notes: [
      ...(doubt === undefined ? [] : [doubt]),
      ...source.remarks.map(problemText),
      ...notesOf(program.notes, source.problems),
    ],
  };
  await writeAll(await printed(report, flags.output));
  process.exitCode = source.problems.length > 0 ? exitCode.unknown : exitCode.ok;
}

/** Notes of the engine, without what is said as a problem already. */
function notesOf(notes: readonly PolicyProgramNote[], problems: readonly PlacedProblem[]): string[] {
  return notes.flatMap(({ policy, field, text }) => {
    const name =
      policy === undefined
        ? ''
        : `${policy.kind} ${policy.namespace === undefined ? '' : `${policy.namespace}/`}${policy.name}: `;
    const said = problems.some(
      (problem) => problem.field === field && problem.text.startsWith(name) && problem.text.includes(text),
    );
    const place = field === undefined || text.startsWith(field) ? '' : `${field} `;
    return said ? [] : [`${name}${place}${text}`];
  });
}

async function connectionsOf(source: PolicySource, flags: ListFlags): Promise<Iterable<Connection>> {
  const { connectivity } = await import('../policy/index.ts');
  const { entryConnections } = await import('../policy/entry.ts');
  const { partyFilter } = await import('../policy/party-filter.ts');
  const { cluster, engine, entryPoints, engineOf } = source;
  const filter = (text: string | undefined, option: string): ((party: Party) => boolean) => {
    if (text === undefined) return () => true;
    const found = partyFilter(cluster, text);
    if (found === undefined) throw nobody(text, option);
    return found;
  };
  const [from, to] = [filter(flags.from, '--from'), filter(flags.to, '--to')];
  const entries = entryConnections(cluster, entryPoints, engineOf, flags.by, flags.port);
  const inside = connectivity(engine, {
    by: flags.by,
    from,
    to,
    ...(flags.port === undefined ? {} : { ports: flags.port }),
    icmp: flags.icmp ?? false,
  });
  return (function* () {
    yield* inside;
    for (const entry of entries) if (from(entry.src) && to(entry.dst)) yield entry;
  })();
}

const nobody = (text: string, option: string): PodpathError =>
  new PodpathError({
    code: 'usage/no-such-party',
    what: `${option} ${text} names nobody`,
    why: 'there is no such namespace, workload or pod, and it is no address',
    todo: 'give NS, NS/NAME, NAME, an address, a prefix, external or ingress-controller',
  });

async function printed(report: ConnectivityReport, format: ListFlags['output']): Promise<Iterable<string>> {
  switch (format) {
    case 'text':
      return (await import('../report/connectivity-text.ts')).connectivityText(report, style());
    case 'json':
      return (await import('../report/connectivity-json.ts')).connectivityJson(report);
    case 'csv':
      return (await import('../report/connectivity-csv.ts')).connectivityCsv(report);
    case 'md':
      return (await import('../report/connectivity-md.ts')).connectivityMarkdown(report);
    case 'dot':
      return (await import('../report/connectivity-dot.ts')).connectivityDot(report);
    case 'html':
      return (await import('../report/connectivity-html.ts')).connectivityHtml(report);
  }
}

const chunkBytes = 64 * 1024;

/** In large pieces, and never faster than the reader takes them: the whole connectivity may be larger than the memory. */
export async function writeAll(parts: Iterable<string>): Promise<void> {
  let chunk = '';
  const flush = async () => {
    const text = chunk;
    chunk = '';
    if (!process.stdout.write(text)) await new Promise((resolve) => process.stdout.once('drain', resolve));
  };
  for (const part of parts) {
    chunk += part;
    if (chunk.length >= chunkBytes) await flush();
  }
  await flush();
}
