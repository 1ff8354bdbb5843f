/** `policy diff -o md`: a table for a merge request. */
import { partyText } from '../model/connectivity.ts';
import { markdownText } from './escape.ts';
import {
  allChanges,
  changeTotal,
  diffHeadline,
  diffPartyText,
  type PolicyDiffReport,
  portsText,
  reasonTexts,
} from './policy-diff.ts';

export function* policyDiffMarkdown(report: PolicyDiffReport): Generator<string> {
  const { a, b, diff, notes } = report;
  yield `**${markdownText(diffHeadline(report))}**\n`;
  if (changeTotal(report) > 0)
    yield '\n| | From | To | Before | After | Because |\n|---|---|---|---|---|---|\n';
  for (const change of allChanges(report)) {
    const { src, dst, before, after } = change;
    const cells = [
      change.change,
      diffPartyText(src, false),
      diffPartyText(dst, false),
      portsText(before),
      portsText(after),
      reasonTexts(change, report.place).join('; '),
    ];
    yield `| ${cells.map(markdownText).join(' | ')} |\n`;
  }
  const remarks = [
    ...diff.onlyInA.map((party) => `${partyText(party)} is only in ${a.name}`),
    ...diff.onlyInB.map((party) => `${partyText(party)} is only in ${b.name}`),
    ...notes,
  ];
  if (remarks.length > 0) yield `\n${remarks.map((remark) => `- ${markdownText(remark)}\n`).join('')}`;
}
