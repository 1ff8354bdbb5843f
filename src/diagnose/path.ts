/** What a flow touches, and which findings can matter to it. */
import type { World } from '../dataplane/world.ts';
import type { Finding, Subject } from '../model/finding.ts';
import type { Investigation } from './investigate.ts';

export interface Path {
  readonly nodes: ReadonlySet<string>;
  readonly pods: ReadonlySet<string>;
  readonly service?: string;
}

export function pathOf(world: World, { flow, shown, verdict }: Investigation): Path {
  const hops = shown === undefined ? [] : [...shown.trace.forward, ...shown.trace.back];
  const ends = [flow.src, flow.dst];
  const pods = new Set(hops.flatMap((hop) => (hop.pod === undefined ? [] : [hop.pod])));
  for (const end of ends) if (end.kind === 'pod') pods.add(`${end.namespace}/${end.name}`);
  for (const branch of verdict.branches) {
    const name = branch.backend?.split(' ')[0];
    if (name?.includes('/') === true) pods.add(name);
  }
  const nodes = new Set(hops.map((hop) => hop.node));
  // A packet that goes astray never meets the node it is for.
  for (const end of ends) {
    const node = world.nodeFor(end.address);
    if (node !== undefined) nodes.add(node);
  }
  const lost = shown?.broken?.hop.packet;
  const meant = lost === undefined ? undefined : world.nodeFor((lost.inner?.packet ?? lost).dst);
  if (meant !== undefined) nodes.add(meant);
  return {
    nodes,
    pods,
    ...(flow.dst.kind === 'service' ? { service: `${flow.dst.namespace}/${flow.dst.name}` } : {}),
  };
}

/**
 * True if the finding lies on the path. What a finding concerns narrows it: all its nodes (the two ends of a broken
 * route), one of its pods (a rule that hits several), and for a Service's own findings that Service.
 */
export function concernsPath({ subject, concerns, cause }: Finding, path: Path): boolean {
  // Two owners of one address or block hurt every flow that meets either.
  if (cause.startsWith('cidr/')) return [subject, ...concerns].some((one) => onPath(one, path));
  if (subject.kind === 'service') return onPath(subject, path);
  const nodes = concerns.filter(({ kind }) => kind === 'node' || kind === 'device');
  if (!nodes.every((one) => onPath(one, path))) return false;
  // An agent is no part of any flow: its node is.
  if (cause.startsWith('cni/agent')) return nodes.length > 0 || onPath(subject, path);
  const pods = concerns.filter(({ kind }) => kind === 'pod');
  const services = cause.startsWith('service/') ? concerns.filter(({ kind }) => kind === 'service') : [];
  return (
    onPath(subject, path) &&
    (pods.length === 0 || pods.some((one) => onPath(one, path))) &&
    (services.length === 0 || services.some((one) => onPath(one, path)))
  );
}

function onPath(subject: Subject, path: Path): boolean {
  switch (subject.kind) {
    case 'node':
      return path.nodes.has(subject.name);
    case 'device':
      return path.nodes.has(subject.name.split('/')[0] ?? '');
    case 'pod':
      return path.pods.has(subject.name);
    case 'service':
      return path.service === subject.name;
    case 'cluster':
      return true;
    // Policies speak through the policy engine, which knows whether they decide this flow.
    case 'policy':
    case 'namespace':
      return false;
  }
}
