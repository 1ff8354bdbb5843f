/** `snapshot show` as text. */
import type { Known } from '../model/known.ts';
import { hang, heading, type Style } from '../report/style.ts';
import type { SnapshotSummary } from './summary.ts';

export function summaryText(summary: SnapshotSummary, style: Style): string {
  const { source, takenAt, sizeBytes } = summary;
  const files = summary.netns.reduce((sum, netns) => sum + netns.files, 0);
  return [
    heading(
      style,
      `${source.name}: ${sourceWords[source.kind]}, taken ${takenAt === '' ? 'at an unknown time' : takenAt}`,
    ),
    `${sizeText(sizeBytes)}: ${summary.kinds.length} Kubernetes kinds, ${files} files of ${summary.netns.length} network namespaces`,
    `CNI: ${factText(summary.cni, (cni) => cni)}`,
    `Probes: ${factText(summary.probes, ({ all, ok }) => `${all}, of which ${ok} got through`)}`,
    ...section(style, 'Nodes', summary.nodes, nodeRows(summary)),
    ...section(style, 'Pods', summary.pods, podRows(summary)),
    ...section(style, 'Services', summary.services, (services) =>
      table(
        services.map(({ name, type, addresses, ports }) => [
          name,
          type,
          addresses.join(','),
          ports.join(','),
        ]),
      ),
    ),
    ...section(style, 'NetworkPolicies', summary.policies, (policies) =>
      table(policies.map(({ name, directions }) => [name, directions.join(', ')])),
    ),
    ...problemLines(summary, style),
    ...gapSection(summary, style),
  ].join('\n');
}

const sourceWords = { recorded: 'a recorded cluster', lab: 'a lab', cluster: 'a live cluster' } as const;

const factText = <T>(fact: Known<T>, text: (value: T) => string): string =>
  fact.state === 'known' ? text(fact.value) : `unknown (${fact.why})`;

function section<T>(
  style: Style,
  title: string,
  fact: Known<readonly T[]>,
  rows: (values: readonly T[]) => string[],
): string[] {
  if (fact.state === 'unknown') return ['', heading(style, title), `  unknown: ${fact.why}`];
  const { length } = fact.value;
  return ['', heading(style, `${title} (${length})`), ...rows(fact.value)];
}

const nodeRows = (summary: SnapshotSummary) => (nodes: readonly NodeRow[]) => {
  const filesOf = new Map(summary.netns.map(({ id, files }) => [id, files]));
  return table([
    ['NAME', 'ADDRESSES', 'POD CIDRS', 'READY', 'PODS', 'FILES'],
    ...nodes.map((node) => [
      node.name,
      node.addresses.join(','),
      node.podCidrs.join(','),
      node.ready,
      String(node.pods),
      node.collected ? String(filesOf.get(node.name) ?? 0) : 'none',
    ]),
  ]);
};
type NodeRow = (SnapshotSummary['nodes'] & { state: 'known' })['value'][number];

const podRows = (summary: SnapshotSummary) => (pods: readonly PodRow[]) => {
  const filesOf = new Map(summary.netns.map(({ id, files }) => [id, files]));
  const sorted = [...pods].sort((a, b) =>
    a.node < b.node ? -1 : a.node > b.node ? 1 : a.name < b.name ? -1 : 1,
  );
  return table([
    ['NODE', 'NAME', 'ADDRESSES', 'PHASE', 'FILES'],
    ...sorted.map((pod) => {
      const files = filesOf.get(`${pod.node}/${pod.name.replace('/', '_')}`);
      return [
        pod.node === '' ? '-' : pod.node,
        pod.name,
        pod.addresses.join(','),
        pod.phase,
        pod.hostNetwork ? "its node's" : files === undefined ? 'none' : String(files),
      ];
    }),
  ]);
};
type PodRow = (SnapshotSummary['pods'] & { state: 'known' })['value'][number];

function problemLines({ problems }: SnapshotSummary, style: Style): string[] {
  if (problems.length === 0) return [];
  const lines = problems.flatMap((problem) => hang('  ', problem, style));
  return ['', heading(style, `Objects that were skipped (${problems.length})`), ...lines];
}

function gapSection({ gaps }: SnapshotSummary, style: Style): string[] {
  if (gaps.length === 0) return ['', heading(style, 'Gaps: none')];
  const lines = gaps.flatMap(({ what, where, why, todo }) => [
    ...hang('  ', `${what} (${where})`, style),
    ...hang('    why: ', why, style),
    ...hang('    do:  ', todo, style),
  ]);
  return ['', heading(style, `Gaps (${gaps.length})`), ...lines];
}

/** Columns as wide as their widest cell, indented by two. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows)
    for (const [i, text] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, text.length);
  return rows.map((row) => `  ${row.map((text, i) => text.padEnd(widths[i] ?? 0)).join('  ')}`.trimEnd());
}

function sizeText(bytes: number): string {
  if (bytes < 1024) return `${bytes} bytes`;
  const units = ['KiB', 'MiB', 'GiB'];
  let value = bytes / 1024;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value.toFixed(1)} ${units[unit]}`;
}
