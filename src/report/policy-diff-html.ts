/** `policy diff -o html`: a table in one file, without scripts and without anything from elsewhere. */
import { partyText } from '../model/connectivity.ts';
import { problemText } from './connectivity.ts';
import { htmlText } from './escape.ts';
import {
  allChanges,
  changeTotal,
  diffHeadline,
  diffPartyText,
  type PolicyDiffReport,
  portsText,
  reasonTexts,
} from './policy-diff.ts';

export function* policyDiffHtml(report: PolicyDiffReport): Generator<string> {
  const { a, b, diff, notes } = report;
  yield `<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">\n<title>What the policies change</title>\n<style>${css}</style>\n</head>\n<body>\n`;
  yield `<h1>${htmlText(diffHeadline(report))}</h1>\n<p>From ${htmlText(a.name)} to ${htmlText(b.name)}</p>\n`;
  if (changeTotal(report) > 0) {
    yield '<table>\n<thead><tr><th>Change</th><th>From</th><th>To</th><th>Before</th><th>After</th><th>Because</th></tr></thead>\n<tbody>\n';
    for (const change of allChanges(report)) {
      const cells = [
        change.change,
        diffPartyText(change.src),
        diffPartyText(change.dst),
        portsText(change.before),
        portsText(change.after),
      ];
      const reasons = reasonTexts(change, report.place).map(htmlText).join('<br>');
      yield `<tr class="${change.change}">${cells.map((text) => `<td>${htmlText(text)}</td>`).join('')}<td>${reasons}</td></tr>\n`;
    }
    yield '</tbody>\n</table>\n';
  }
  const remarks = [
    ...diff.onlyInA.map((party) => `${partyText(party)} is only in ${a.name}`),
    ...diff.onlyInB.map((party) => `${partyText(party)} is only in ${b.name}`),
    ...notes,
    ...[a, b].flatMap((side) =>
      side.problems.map((problem) => `Of ${side.name} the answer is without: ${problemText(problem)}`),
    ),
  ];
  if (remarks.length > 0)
    yield `<ul>\n${remarks.map((text) => `<li>${htmlText(text)}</li>\n`).join('')}</ul>\n`;
  yield '</body>\n</html>\n';
}

const css = `
:root{color-scheme:light dark}
body{font:14px/1.5 system-ui,sans-serif;margin:1.5rem}h1{font-size:1.3rem}
table{border-collapse:collapse}td,th{border:1px solid #8884;padding:.2rem .5rem;text-align:left;vertical-align:top}
.added td:first-child{background:#2e9e5b66}.removed td:first-child{background:#d9534f66}.changed td:first-child{background:#f0c04066}
`;
