/** Chains of kube-proxy and CNIs that their writer never finished, or that somebody cut off. */
import type { NetfilterFinding } from '../../../../model/netfilter-report.ts';
import { ownerOf } from '../../owner.ts';
import type { Program } from '../program.ts';
import { finding, type LintRule } from '../rule.ts';

const id = 'incomplete-rules';

/** The built-in chain that each entry chain is called from. */
const entries: readonly { readonly table: string; readonly from: string; readonly to: string }[] = [
  ...['PREROUTING', 'OUTPUT'].map((from) => ({ table: 'nat', from, to: 'KUBE-SERVICES' })),
  { table: 'nat', from: 'POSTROUTING', to: 'KUBE-POSTROUTING' },
  { table: 'filter', from: 'FORWARD', to: 'KUBE-FORWARD' },
  { table: 'nat', from: 'POSTROUTING', to: 'FLANNEL-POSTRTG' },
  { table: 'filter', from: 'FORWARD', to: 'FLANNEL-FWD' },
  ...['INPUT', 'FORWARD', 'OUTPUT'].flatMap((from) => [
    { table: 'filter', from, to: `cali-${from}` },
    { table: 'filter', from, to: `KUBE-ROUTER-${from}` },
    { table: 'filter', from, to: `CILIUM_${from}` },
  ]),
  ...['PREROUTING', 'OUTPUT', 'POSTROUTING'].map((from) => ({ table: 'nat', from, to: `cali-${from}` })),
  { table: 'filter', from: 'FORWARD', to: 'AZURE-NPM' },
];

export const incomplete: LintRule = {
  id,
  run: ({ programs }) =>
    programs.flatMap(({ program, graph }) =>
      program.backend === 'nftables' ? [] : [...cutOff(program, graph.callers), ...unfinished(program)],
    ),
};

function cutOff(
  program: Program,
  callers: ReadonlyMap<string, readonly { readonly from: { readonly name: string } }[]>,
): readonly NetfilterFinding[] {
  return entries.flatMap(({ table, from, to }) => {
    const chain = program.chains.get(to);
    const base = program.chains.get(from);
    if (program.table !== table || chain === undefined || base === undefined) return [];
    if (!chain.declared || !base.declared || chain.rules.length === 0) return [];
    if ((callers.get(to) ?? []).some((call) => call.from.name === from)) return [];
    return [
      finding(program, chain, undefined, {
        rule: id,
        severity: 'error',
        text: `${from} does not jump to ${to}: what ${ownerOf(to)} wrote there has no effect on packets at ${from}`,
        todo: `restart ${ownerOf(to)}, which writes the jump, and find out who flushed ${from}`,
        because: [base.source],
      }),
    ];
  });
}

function unfinished(program: Program): readonly NetfilterFinding[] {
  if (program.table !== 'nat') return [];
  const found: NetfilterFinding[] = [];
  const services = program.chains.get('KUBE-SERVICES');
  if (services?.declared === true && services.rules.length === 0 && program.chains.has('KUBE-POSTROUTING'))
    found.push(
      finding(program, services, undefined, {
        rule: id,
        severity: 'error',
        text: 'KUBE-SERVICES has no rules: no Service address is translated by them',
        todo: "look into kube-proxy's log: it has not written its rules; if another program serves Services, remove what kube-proxy left",
      }),
    );
  for (const chain of program.chains.values()) {
    if (!chain.declared || chain.rules.length > 0) continue;
    const what = /^KUBE-SEP-/.test(chain.name)
      ? 'an endpoint'
      : /^KUBE-SVC-/.test(chain.name)
        ? 'a Service'
        : undefined;
    if (what === undefined) continue;
    found.push(
      finding(program, chain, undefined, {
        rule: id,
        severity: 'warning',
        text: `the chain of ${what} has no rules: packets that are led there keep the Service address and are lost`,
        todo: "look into kube-proxy's log: it writes the whole chain at once",
      }),
    );
  }
  return found;
}
