/** `policy list -o dot`: a graph for Graphviz, one box for each namespace. */
import { type Party, partyText } from '../model/connectivity.ts';
import { type ConnectivityReport, rowsOf } from './connectivity.ts';
import { dotText } from './escape.ts';

export function* connectivityDot({ connections }: ConnectivityReport): Generator<string> {
  yield 'digraph connectivity {\n  rankdir=LR;\n  node [shape=box, style=rounded, fontname="sans-serif"];\n  edge [fontname="sans-serif", fontsize=10];\n';
  const parties = new Map<string, Party>();
  for (const { src, dst, ports, verdict, why } of rowsOf(connections)) {
    const [from, to] = [partyText(src), partyText(dst)];
    parties.set(from, src);
    parties.set(to, dst);
    const style = verdict === 'allow' ? '' : `, style=dashed, tooltip=${dotText(why)}`;
    yield `  ${dotText(from)} -> ${dotText(to)} [label=${dotText(ports)}${style}];\n`;
  }
  const namespaces = new Map<string, string[]>();
  for (const [name, party] of parties) {
    const namespace = 'cidr' in party ? '' : party.namespace;
    const list = namespaces.get(namespace) ?? [];
    namespaces.set(namespace, list);
    list.push(
      'cidr' in party
        ? `${dotText(name)} [shape=ellipse];`
        : `${dotText(name)} [label=${dotText(`${party.name}\n${party.kind}`)}];`,
    );
  }
  let count = 0;
  for (const [namespace, nodes] of namespaces) {
    if (namespace === '') yield nodes.map((node) => `  ${node}\n`).join('');
    else
      yield `  subgraph cluster_${count++} {\n    label=${dotText(namespace)};\n${nodes.map((node) => `    ${node}\n`).join('')}  }\n`;
  }
  yield '}\n';
}
