/** `policy diff -o csv`: one line for each pair. */

import { csvCell } from './escape.ts';
import { allChanges, diffPartyText, type PolicyDiffReport, portsText, reasonTexts } from './policy-diff.ts';

export function* policyDiffCsv(report: PolicyDiffReport): Generator<string> {
  yield 'change,source,destination,before,after,because\r\n';
  for (const change of allChanges(report)) {
    const { src, dst, before, after } = change;
    const cells = [
      change.change,
      diffPartyText(src),
      diffPartyText(dst),
      portsText(before),
      portsText(after),
      reasonTexts(change, report.place).join('; '),
    ];
    yield `${cells.map(csvCell).join(',')}\r\n`;
  }
}
