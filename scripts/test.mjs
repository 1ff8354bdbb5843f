// npm test: set-up, checks, unit tests, tests on the real kernel. The last line is `N passed, N failed`.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runProgram, seconds, tool } from './run.mjs';
import { missingTools, setupOrExit } from './setup.mjs';

const started = performance.now();
const limitMs = 24 * 60_000;
const ci = (process.env.CI ?? '') !== '' && process.env.CI !== 'false';
const say = (text) => process.stdout.write(`${text}\n`);

setupOrExit();
const reports = mkdtempSync(join(tmpdir(), 'podpath-test-'));
const totals = { passed: 0, failed: 0, skipped: 0 };
/** What failed beside single tests. */
const failures = [];

const fail = (what) => {
  failures.push(what);
  totals.failed++;
};

const check = await runProgram(['scripts/check.mjs'], { inherit: true });
if (check.code !== 0) fail('npm run check');
await suite('unit');
const lack = labLack();
if (lack === undefined) await suite('lab');
else if (ci) fail(`the lab tests must run in CI, but ${lack}`);
else say(`\nlab tests and scenarios are skipped: ${lack}`);
rmSync(reports, { recursive: true, force: true });

if (totals.passed + totals.failed === 0) fail('no test ran');
say('');
for (const failure of failures) say(`failed: ${failure}`);
say(`${totals.skipped} skipped, ${seconds(performance.now() - started)}`);
say(`${totals.passed} passed, ${totals.failed} failed`);
process.exitCode = totals.failed === 0 ? 0 : 1;

/** Why the lab cannot run here; undefined if it can. */
function labLack() {
  if (process.platform !== 'linux') return `this is ${process.platform}, and the lab needs Linux`;
  if (process.getuid() !== 0) return 'the lab needs root (network namespaces)';
  const missing = missingTools().map(([name]) => name);
  return missing.length === 0 ? undefined : `tools are missing: ${missing.join(' ')}`;
}

/** Runs one project of vitest.config.ts and adds its counts to the totals. */
async function suite(project) {
  say(`\n=== ${project} tests ===`);
  const file = join(reports, `${project}.json`);
  const args = [tool.vitest, 'run', '--project', project, '--reporter=default', '--reporter=json'];
  const timeoutMs = limitMs - (performance.now() - started);
  const { code } = await runProgram([...args, `--outputFile.json=${file}`], { inherit: true, timeoutMs });
  if (code === 124) return fail(`${project}: stopped, the tests take more than ${seconds(limitMs)} in all`);
  const report = readReport(file);
  if (report === undefined) return fail(`${project}: vitest ended with code ${code} and without a report`);
  totals.passed += report.numPassedTests;
  totals.failed += report.numFailedTests;
  totals.skipped += report.numPendingTests + report.numTodoTests;
  let explained = report.numFailedTests;
  for (const { name, status, assertionResults, message } of report.testResults) {
    if (status === 'failed' && !assertionResults.some((t) => t.status === 'failed')) {
      explained++;
      fail(`${name}: ${message.split('\n')[0] || 'failed outside of its tests, in a hook or an import'}`);
    }
    // Every test of the file skipped: on a host that can run the lab, that is a test suite gone missing.
    const ran = assertionResults.some((t) => t.status === 'passed' || t.status === 'failed');
    if (ci && project === 'lab' && status !== 'failed' && !ran) fail(`${name}: skipped as a whole, in CI`);
  }
  // An error outside of any test (an unhandled rejection) shows in the exit code only.
  if (code !== 0 && explained === 0) fail(`${project}: vitest ended with code ${code}`);
}

function readReport(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}
