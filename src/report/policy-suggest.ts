/** `policy suggest`: the manifests, and in comments before them what they change. All of it can be piped into kubectl apply -f -. */
import { stringify } from 'yaml';
import type { ChangedFlows, Manifest, PolicySuggestion } from '../model/policy-suggestion.ts';
import { policyHeadline, type Where } from './policy-explain.ts';
import { columns, type Style, wrap } from './style.ts';

/** Opened flows that the text lists. */
const shownFlows = 20;

export function policySuggestText(suggestion: PolicySuggestion, where: Where, style: Style): string {
  const comments = commentsOf(suggestion, where);
  const lines = comments.flatMap((text) =>
    text === '' ? ['#'] : wrap(text, columns(style) - 2).map((line) => `# ${line}`),
  );
  return `${lines.join('\n')}\n${manifestsYaml(suggestion.objects)}`;
}

/** The manifests alone, as one stream of documents; empty where there is none. */
export const manifestsYaml = (objects: readonly Manifest[]): string =>
  objects.map((object) => stringify(object, { lineWidth: 0 })).join('---\n');

export function suggestHeadline(suggestion: PolicySuggestion, where: Where): string {
  const { state, before } = suggestion;
  return state === 'allowed'
    ? `nothing to do: ${policyHeadline(before, where)}`
    : policyHeadline(before, where);
}

function commentsOf(suggestion: PolicySuggestion, where: Where): string[] {
  const { state, before, after, objects, relies, opened, advice } = suggestion;
  const lines = [suggestHeadline(suggestion, where)];
  if (state === 'allowed') return lines;
  const count = objects.length === 1 ? 'this policy' : `these ${objects.length} policies`;
  if (objects.length > 0) {
    lines.push('', `With ${count}: ${policyHeadline(after, where)}`);
    lines.push(...openedLines(opened));
    for (const text of relies) lines.push(`It relies on ${text}.`);
    const edits = before.groups
      .flatMap(({ explanation }) => explanation.hints)
      .filter(({ code }) => mistakes.has(code));
    for (const text of new Set(edits.map((hint) => hint.text)))
      lines.push(`Perhaps an edit is meant: ${text}`);
  } else lines.push('', 'No policy of this kind can admit it:');
  lines.push(...advice.map((text) => `- ${text}`));
  return lines;
}

/** Hints at a rule that was meant to admit the flow. */
const mistakes: ReadonlySet<string> = new Set(['service-port', 'peers-and-or']);

function openedLines({ flows, more }: ChangedFlows): string[] {
  if (flows.length === 0) return ['Nothing else is opened, and nothing is closed.'];
  const listed = flows.slice(0, shownFlows).map(({ src, dst, ports }) => `  ${src} -> ${dst} ${ports}`);
  const rest = flows.length - listed.length + more;
  return [
    'Nothing is closed. Also opened, because labels cannot tell these ends apart or the rule is about addresses:',
    ...listed,
    ...(rest > 0 ? [`  and ${rest} more`] : []),
  ];
}
