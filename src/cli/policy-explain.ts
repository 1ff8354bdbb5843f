/** `podpath policy explain`: why the policies let one flow pass or not. */
import { type Command, Option } from 'commander';
import type { FlowProtocol } from '../model/flow.ts';
import type { FlowVerdict, PolicyPlace } from '../model/policy-explanation.ts';
import type { LineOf } from '../report/policy-explain-json.ts';
import { out, verbosity, withOutputOption } from './context.ts';
import { exitCode } from './errors.ts';
import {
  noteProblems,
  openPolicySource,
  type PolicySource,
  type PolicySourceFlags,
  withPolicySource,
} from './policy-source.ts';
import { namespaceOf, style } from './source.ts';

export interface PolicyFlowFlags extends PolicySourceFlags {
  readonly protocol?: FlowProtocol;
  readonly output: string;
}

/** SRC DST:PORT [DIR] and the options that say how they are read. */
export const withPolicyFlow = (command: Command): Command =>
  withPolicySource(
    command
      .argument(
        '<src>',
        '[NS/]POD, [NS/]WORKLOAD, [NS/]KIND/NAME (pod, deploy, ds, sts, job, node) or an address',
      )
      .argument('<dst:port>', 'the same, or [NS/]svc/NAME')
      .argument('[dir]', 'manifests: a directory, one file, or - for standard input'),
  )
    .option('-n, --namespace <ns>', "namespace of ends that name none (default: the context's, or default)")
    .addOption(
      new Option('-p, --protocol <protocol>', 'default: tcp').choices(['tcp', 'udp', 'sctp', 'icmp']),
    );

export function register(parent: Command): void {
  withOutputOption(
    withPolicyFlow(
      parent
        .command('explain')
        .description('may SRC reach DST:PORT, which rule decides, and what is missing'),
    ),
  )
    .addHelpText(
      'after',
      '\nExamples:\n  podpath policy explain shop/web shop/api:8080 manifests/\n  podpath policy explain shop/deploy/web shop/svc/api:80 -s cluster.tar.gz -o json',
    )
    .action(run);
}

const codeOf: Readonly<Record<FlowVerdict, number>> = {
  allow: exitCode.ok,
  deny: exitCode.found,
  conditional: exitCode.unknown,
};

async function run(src: string, dst: string, dir: string | undefined, flags: PolicyFlowFlags): Promise<void> {
  const { answerPolicy } = await import('../policy/explain/answer.ts');
  const { source, asked } = await openPolicyFlow(src, dst, dir, flags);
  const answer = answerPolicy(source.engine, asked);
  if (flags.output === 'json') {
    const { policyExplanationJson } = await import('../report/policy-explain-json.ts');
    out(JSON.stringify(await withLines(source, (lineOf) => policyExplanationJson(answer, lineOf)), null, 1));
  } else {
    const { policyExplainText } = await import('../report/policy-explain.ts');
    const { lineText } = await import('../report/policy-explain-json.ts');
    out(await withLines(source, (lineOf) => policyExplainText(answer, lineText(lineOf), style())));
  }
  process.exitCode = codeOf[answer.groups[0]?.explanation.verdict ?? 'conditional'];
}

/** Opens the source, says on stderr what of it could not be used, and finds the flows that are meant. */
export async function openPolicyFlow(
  src: string,
  dst: string,
  dir: string | undefined,
  flags: PolicyFlowFlags,
) {
  const { splitTarget } = await import('../diagnose/endpoint.ts');
  const { askedPolicyFlows } = await import('../policy/explain/ends.ts');
  const { host, port } = splitTarget(dst);
  const source = await openPolicySource(dir, flags);
  noteProblems(source.problems, verbosity() > 0);
  const asked = askedPolicyFlows(source.cluster, {
    src,
    dst: host,
    namespace: dir === undefined ? await namespaceOf(flags) : (flags.namespace ?? 'default'),
    ...(port === undefined ? {} : { port }),
    ...(flags.protocol === undefined ? {} : { protocol: flags.protocol }),
  });
  return { source, asked };
}

/**
 * The report with the lines of its places. It is made twice: to find a line means reading the manifest again, so only the places that the
 * report names are looked up, file by file.
 */
export async function withLines<T>(
  { locate }: Pick<PolicySource, 'locate'>,
  report: (lineOf: LineOf) => T,
): Promise<T> {
  const wanted = new Map<string, PolicyPlace>();
  report((place) => {
    if (place.origin !== undefined) wanted.set(keyOf(place), place);
    return undefined;
  });
  const found = new Map<string, { readonly file: string; readonly line?: number }>();
  const byFile = [...wanted].sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [key, { origin, field }] of byFile)
    if (origin !== undefined) found.set(key, await locate(origin, field));
  return report((place) => (place.origin === undefined ? undefined : found.get(keyOf(place))));
}

const keyOf = ({ origin, field }: PolicyPlace): string =>
  `${origin?.file} ${origin?.document} ${origin?.path} ${field ?? ''}`;
