/** What kube-proxy and a NetworkPolicy controller do on every node: from the objects to the rules. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PodpathError } from '../model/errors.ts';
import type { Known } from '../model/known.ts';
import { type Prefix, prefix } from '../net/prefix.ts';
import { buildCluster } from '../parse/kubernetes/cluster.ts';
import { mapLimit } from '../system/exec.ts';
import { concurrency } from './build.ts';
import { kubeProxyOwns, renderKubeProxy } from './kubeproxy.ts';
import type { Lab, Plural } from './lab.ts';
import { policyOwnsChain, policyOwnsSet, renderPolicies } from './netpol.ts';
import { applyRules, applySets, dropStaleSets, type Run } from './restore.ts';
import type { LabNode } from './state.ts';
import { isCode } from './store.ts';

export interface SyncOptions {
  /** True where the nodes are known to hold no rules yet. */
  readonly fresh?: boolean;
}

/** Renders and restores the Service rules on the nodes, by default on all. Throws PodpathError. */
export async function syncServices(
  lab: Lab,
  nodes?: readonly string[],
  options: SyncOptions = {},
): Promise<void> {
  const cluster = await readCluster(lab, ['services', 'endpointslices.discovery.k8s.io']);
  const objects = {
    services: value(cluster.services, 'services'),
    endpointSlices: value(cluster.endpointSlices, 'endpointslices'),
  };
  await onNodes(lab, nodes, async (node, run) => {
    const text = renderKubeProxy(objects, {
      node: node.name,
      families: lab.state.families,
      clusterCidrs: prefixes(lab.state.podCidrs),
    });
    const apply = { ...options, owns: kubeProxyOwns };
    await applyRules(run, 4, text.v4, apply);
    if (text.v6 !== undefined) await applyRules(run, 6, text.v6, apply);
  });
}

/** Renders and restores the NetworkPolicy sets and rules on the nodes, by default on all. Throws PodpathError. */
export async function syncPolicies(
  lab: Lab,
  nodes?: readonly string[],
  options: SyncOptions = {},
): Promise<void> {
  const cluster = await readCluster(lab, ['pods', 'namespaces', 'networkpolicies.networking.k8s.io']);
  const objects = {
    pods: value(cluster.pods, 'pods'),
    namespaces: value(cluster.namespaces, 'namespaces'),
    networkPolicies: value(cluster.networkPolicies, 'networkpolicies'),
  };
  await onNodes(lab, nodes, async (node, run) => {
    const text = renderPolicies(objects, {
      node: node.name,
      families: lab.state.families,
      serviceCidrs: prefixes(lab.state.serviceCidrs),
    });
    // Service rules stand already, so "fresh" would be wrong only about chains that policy does not own.
    const apply = { ...options, owns: policyOwnsChain };
    await applySets(run, text.ipset);
    await applyRules(run, 4, text.v4, apply);
    if (text.v6 !== undefined) await applyRules(run, 6, text.v6, apply);
    if (options.fresh !== true) await dropStaleSets(run, text.ipset, policyOwnsSet);
  });
}

async function onNodes(
  lab: Lab,
  names: readonly string[] | undefined,
  work: (node: LabNode, run: Run) => Promise<void>,
): Promise<void> {
  const nodes = names === undefined ? lab.state.nodes : names.map((name) => lab.node(name));
  await mapLimit(nodes, concurrency, (node) =>
    work(node, (argv, options) => lab.exec(node.netns, argv, options)),
  );
}

async function readCluster(lab: Lab, plurals: readonly Plural[]) {
  const files = new Map<string, string>();
  for (const plural of plurals) {
    try {
      files.set(plural, await readFile(join(lab.dir, 'cluster', `${plural}.json`), 'utf8'));
    } catch (error) {
      if (!isCode(error, 'ENOENT')) throw error;
      // A kind that nobody wrote has no objects: the lab's directory is the whole API.
      files.set(plural, '{"apiVersion":"v1","kind":"List","items":[]}');
    }
  }
  return buildCluster(files);
}

function value<T>(fact: Known<T>, plural: string): T {
  if (fact.state === 'known') return fact.value;
  throw new PodpathError({
    code: 'lab/bad-objects',
    what: `the lab's ${plural} cannot be read`,
    why: fact.why,
    todo: 'write the objects again, or make the lab anew',
  });
}

const prefixes = (texts: readonly string[]): Prefix[] => texts.map(prefix);
