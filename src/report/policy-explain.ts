/** The text of `policy explain`: the answer first, then what was missing, then everything that was asked, in order. */
import type {
  ConsultedPolicy,
  DirectionExplanation,
  ExplainedGroup,
  FlowVerdict,
  LayerExplanation,
  NearestMiss,
  PolicyAnswer,
  PolicyExplanation,
  PolicyPlace,
  TierExplanation,
} from '../model/policy-explanation.ts';
import { placeTitle } from '../model/policy-explanation.ts';
import { hang, heading, marks, type Style } from './style.ts';

/** `shop/api.yaml:14`; undefined for a place that stands in no file. */
export type Where = (place: PolicyPlace) => string | undefined;

/** Groups that are shown in full unless asked for more. */
const shownGroups = 5;

export function policyExplainText(answer: PolicyAnswer, where: Where, style: Style): string {
  const [first] = answer.groups;
  if (first === undefined) throw new RangeError('an answer has at least one group');
  const { verdict } = first.explanation;
  const tint = { allow: 'green', deny: 'red', conditional: 'yellow' } as const;
  const lines = [style.tint('bold', style.tint(tint[verdict], policyHeadline(answer, where)))];
  for (const remark of answer.remarks) lines.push(...hang(`${marks(style).bullet} `, remark, style));
  const several = answer.groups.length > 1;
  if (several) lines.push('', ...answer.groups.flatMap((group) => groupLine(group, where, style)));
  const shown = style.verbose ? answer.groups : answer.groups.slice(0, several ? shownGroups : 1);
  for (const group of shown)
    lines.push('', ...(several ? [heading(style, pairText(group))] : []), ...groupLines(group, where, style));
  if (answer.groups.length > shown.length)
    lines.push('', `and ${answer.groups.length - shown.length} more groups (-v shows all)`);
  if (answer.leftOut > 0) lines.push('', `${answer.leftOut} more pairs were not looked at`);
  lines.push('', ...readingLines(first.explanation, style));
  return `${lines.join('\n')}\n`;
}

/** `shop/web may not reach shop/api:8080/TCP: NetworkPolicy shop/api-allow admits app=frontend only (shop/api.yaml:14)` */
export function policyHeadline({ src, dst, groups }: PolicyAnswer, where: Where): string {
  const [first] = groups as readonly [ExplainedGroup];
  const { explanation } = first;
  const verdicts = new Set(groups.map((group) => group.explanation.verdict));
  const [from, to] = verdicts.size === 1 ? [src, dst] : pair(first, dst);
  return `${claim(from, to, explanation.verdict)}: ${explanation.reason.text}${placeNote(explanation.reason.place, where)}`;
}

/** The pair that the first group is about, with the port as it was asked for. */
function pair({ sources, destinations }: ExplainedGroup, asked: string): [string, string] {
  const port = /(:\d+\/\w+| \(\w+\))$/.exec(asked)?.[1] ?? '';
  return [some(sources), `${some(destinations)}${port}`];
}

function claim(src: string, dst: string, verdict: FlowVerdict): string {
  switch (verdict) {
    case 'allow':
      return `${src} may reach ${dst}`;
    case 'deny':
      return `${src} may not reach ${dst}`;
    case 'conditional':
      return `it depends whether ${src} may reach ${dst}`;
  }
}

const placeNote = (place: PolicyPlace | undefined, where: Where): string => {
  if (place === undefined) return '';
  const at = where(place) ?? place.field;
  return at === undefined ? '' : ` (${at})`;
};

const some = (names: readonly string[]): string =>
  names.length <= 3 ? names.join(', ') : `${names.slice(0, 3).join(', ')} and ${names.length - 3} more`;

const pairText = ({ sources, destinations }: ExplainedGroup): string =>
  `${some(sources)} -> ${some(destinations)}`;

function groupLine(group: ExplainedGroup, where: Where, style: Style): string[] {
  const { verdict, reason } = group.explanation;
  const text = `${pairText(group)}: ${reason.text}${placeNote(reason.place, where)}`;
  return hang(`  ${verdictWord[verdict].padEnd(12)}`, text, style);
}

const verdictWord: Readonly<Record<FlowVerdict, string>> = {
  allow: 'allowed',
  deny: 'denied',
  conditional: 'conditional',
};

function groupLines({ explanation }: ExplainedGroup, where: Where, style: Style): string[] {
  const { hints, conditions, layers, verdict } = explanation;
  const lines: string[] = [];
  // Of every direction that denies: with one of them mended the other still denies.
  const missed = layers
    .filter((layer) => layer.verdict === 'deny')
    .flatMap(({ ways }) =>
      ways.flatMap(({ directions }) => directions.flatMap(({ nearest }) => nearest ?? [])),
    );
  if (missed.length > 0) {
    lines.push(heading(style, missed.length === 1 ? 'Nearest rule' : 'Nearest rules'));
    lines.push(...missed.flatMap((nearest) => nearestLines(nearest, where, style)), '');
  }
  if (verdict === 'conditional')
    lines.push(
      heading(style, 'Depends on'),
      ...conditions.flatMap((text) => hang(`  ${marks(style).unsure} `, text, style)),
      '',
    );
  if (hints.length > 0)
    lines.push(
      heading(style, 'Mind'),
      ...hints.flatMap(({ text, place }) =>
        hang(
          `  ${marks(style).bullet} `,
          `${text}${place === undefined ? '' : located(place, where)}`,
          style,
        ),
      ),
      '',
    );
  lines.push(...layers.flatMap((layer) => layerLines(layer, layers.length > 1, where, style)));
  while (lines[lines.length - 1] === '') lines.pop();
  return lines;
}

function nearestLines({ place, text, more }: NearestMiss, where: Where, style: Style): string[] {
  const others = more === 0 ? '' : `; ${more} more of its requirements ${more === 1 ? 'fails' : 'fail'}`;
  return hang('  ', `${placeTitle(place)} ${text}${others}${located(place, where)}`, style);
}

const located = (place: PolicyPlace, where: Where): string => {
  const at = where(place);
  return at === undefined ? '' : ` (${at})`;
};

function layerLines(layer: LayerExplanation, named: boolean, where: Where, style: Style): string[] {
  const { name, exempt, ways, verdict } = layer;
  const lines = named ? [heading(style, `Layer ${name}: ${verdictWord[verdict]}`)] : [];
  if (exempt !== undefined)
    lines.push(
      exempt === 'self'
        ? 'a pod may always reach itself'
        : 'a pod and its own node may always reach each other',
    );
  for (const { rewrite, directions } of ways) {
    if (rewrite !== undefined)
      lines.push(
        `arrives as ${rewrite.port}/${rewrite.protocol}${rewrite.condition === undefined ? '' : ` if ${rewrite.condition}`}`,
      );
    for (const direction of directions) lines.push(...directionLines(direction, where, style));
  }
  return lines;
}

function directionLines(direction: DirectionExplanation, where: Where, style: Style): string[] {
  const { broken, ok, unsure } = marks(style);
  const mark = { allow: ok, deny: broken, conditional: unsure }[direction.verdict];
  const head = `${direction.direction} of ${direction.subject}: ${verdictWord[direction.verdict]}`;
  return [
    ...hang(`${mark} `, `${head}: ${direction.reason.text}`, style),
    ...direction.tiers
      .filter((tier) => tier.policies.length > 0)
      .flatMap((tier) => tierLines(tier, direction, where, style)),
  ];
}

function tierLines(
  tier: TierExplanation,
  { subject }: DirectionExplanation,
  where: Where,
  style: Style,
): string[] {
  const { policies, others } = tier;
  const total = policies.length + others;
  const shown = style.verbose
    ? policies
    : policies.slice(0, shownPolicies).concat(policies.slice(shownPolicies).filter(decides));
  const left = policies.length - shown.length;
  const lines = hang(
    '    ',
    `${tier.name}: ${policies.length} of ${total} ${total === 1 ? 'policy' : 'policies'} ${policies.length === 1 ? 'selects' : 'select'} ${subject}${tier.reached ? '' : ' (not reached: decided before)'}`,
    style,
  );
  lines.push(...shown.flatMap((policy) => policyLines(policy, where, style)));
  if (left > 0) lines.push(`      and ${left} more of which no rule matches (-v shows all)`);
  if (tier.ends) {
    const end = {
      deny: 'what no rule matched is denied',
      pass: 'what no rule matched goes on',
      unsure: 'what no rule matched may be denied',
    };
    lines.push(`      end: ${end[tier.end]}`);
  }
  return lines;
}

/** Policies of one tier and subject that are listed although no rule of theirs matches. */
const shownPolicies = 8;
const decides = ({ matches }: ConsultedPolicy): boolean => matches.length > 0;

function policyLines(policy: ConsultedPolicy, where: Where, style: Style): string[] {
  const { place, matches, rules, isolates, condition } = policy;
  const at = where(place);
  const head = `${placeTitle(place)}${at === undefined ? '' : ` (${at})`}`;
  const doubt = condition === undefined ? '' : `; only if: ${condition}`;
  if (matches.length === 0) {
    const none =
      rules === 0
        ? 'it has no rule'
        : rules === 1
          ? 'its rule does not match'
          : `none of its ${rules} rules matches`;
    return hang('      ', `${head}: ${none}${isolates ? ', and it isolates' : ''}${doubt}`, style);
  }
  return [
    ...hang('      ', `${head}${doubt === '' ? '' : `:${doubt.slice(1)}`}`, style),
    ...matches.flatMap((match) => {
      const rule = where(match.place);
      const only = match.condition === undefined ? '' : `, if: ${match.condition}`;
      const late = match.asked ? '' : ', but it was decided before';
      const field = match.place.field === undefined ? 'the rule' : match.place.field;
      return hang(
        '        ',
        `${field} ${matchWord[match.action]}${only}${late}${rule === undefined ? '' : ` (${rule})`}`,
        style,
      );
    }),
  ];
}

const matchWord = { allow: 'allows it', deny: 'denies it', pass: 'passes it to the next tier' } as const;

function readingLines({ reading }: PolicyExplanation, style: Style): string[] {
  const { dialect, ipBlockMatchesPods, because } = reading;
  const why = because.length === 0 ? '' : ` (${because.join('; ')})`;
  const text = `read as ${dialect}${why}; an ipBlock ${ipBlockMatchesPods ? 'matches pods too' : 'means addresses outside the cluster'}`;
  return hang('', text, style).map((line) => style.tint('dim', line));
}
