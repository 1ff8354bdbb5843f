/** `podpath policy suggest`: the smallest policy that admits one flow, proved by judging the cluster again. */
import { type Command, Option } from 'commander';
import type { PolicySuggestion, SuggestedKind } from '../model/policy-suggestion.ts';
import type { JsonObject } from '../parse/json.ts';
import { note, out } from './context.ts';
import { exitCode } from './errors.ts';
import { openPolicyFlow, type PolicyFlowFlags, withLines, withPolicyFlow } from './policy-explain.ts';
import { style } from './source.ts';

interface SuggestFlags extends PolicyFlowFlags {
  readonly kind: SuggestedKind;
}

export function register(parent: Command): void {
  withPolicyFlow(
    parent
      .command('suggest')
      .description('the smallest policy that lets SRC reach DST:PORT and opens nothing else'),
  )
    .addOption(
      new Option('--kind <kind>', 'what kind of policy to write')
        .choices(['network-policy', 'admin', 'calico', 'cilium', 'istio'])
        .default('network-policy'),
    )
    .addOption(
      new Option('-o, --output <format>', 'text is YAML with comments')
        .choices(['text', 'yaml', 'json'])
        .default('text'),
    )
    .addHelpText(
      'after',
      '\nExamples:\n  podpath policy suggest shop/web shop/api:8080 manifests/\n  podpath policy suggest shop/web shop/svc/api:80 -s cluster.tar.gz | kubectl apply -f -',
    )
    .action(run);
}

const codeOf: Readonly<Record<PolicySuggestion['state'], number>> = {
  allowed: exitCode.ok,
  suggested: exitCode.ok,
  partly: exitCode.unknown,
  none: exitCode.found,
};

async function run(src: string, dst: string, dir: string | undefined, flags: SuggestFlags): Promise<void> {
  const { suggestPolicy } = await import('../policy/suggest/suggest.ts');
  const { withPolicies } = await import('../parse/kubernetes/overlay.ts');
  const { source, asked } = await openPolicyFlow(src, dst, dir, flags);
  const suggestion = suggestPolicy(source.engine, asked, {
    kind: flags.kind,
    apply: (cluster, objects) => withPolicies(cluster, objects as readonly JsonObject[]),
    engineOf: source.engineOf,
  });
  out(await printed(source, suggestion, flags.output));
  process.exitCode = codeOf[suggestion.state];
}

type Source = Parameters<typeof withLines>[0];

async function printed(source: Source, suggestion: PolicySuggestion, output: string): Promise<string> {
  const { lineText } = await import('../report/policy-explain-json.ts');
  if (output === 'json') {
    const { policySuggestionJson } = await import('../report/policy-suggest-json.ts');
    const report = await withLines(source, (lineOf) => policySuggestionJson(suggestion, lineText(lineOf)));
    return JSON.stringify(report, null, 1);
  }
  const { manifestsYaml, policySuggestText } = await import('../report/policy-suggest.ts');
  const text = await withLines(source, (lineOf) => policySuggestText(suggestion, lineText(lineOf), style()));
  if (output === 'text') return text;
  // The manifests go to the pipe, what they mean to the person.
  note(text.slice(0, text.length - manifestsYaml(suggestion.objects).length).trimEnd());
  return manifestsYaml(suggestion.objects);
}
