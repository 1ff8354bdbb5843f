/** PeerAuthentication: which mode a pod's port has, and through which object. */
import type { Pod } from '../../model/cluster.ts';
import type { IstioMtlsMode, IstioPeerAuthentication } from '../../model/policies/istio.ts';
import { groupBy, hasAll } from './lookup.ts';

/** A port that some PeerAuthentication names, or every other one. */
export type PortKey = number | 'other';

/** Every port that some PeerAuthentication sets a mode for, and one word for all others. */
export const portKeys = (peers: readonly IstioPeerAuthentication[]): readonly PortKey[] => [
  ...new Set(peers.flatMap(({ ports }) => ports.map(({ port }) => port))),
  'other',
];

export interface EffectiveMode {
  readonly mode: Exclude<IstioMtlsMode, 'UNSET'>;
  /** `namespace/name` of the object that sets it; empty for the built-in PERMISSIVE. */
  readonly by: string;
}

const anyMode = ['DISABLE', 'PERMISSIVE', 'STRICT'] as const;

/**
 * Every mode that may be in effect: workload before namespace before mesh, the oldest object in each place
 * (pilot/pkg/security/authn/policy_applier.go ComposePeerAuthentication). Objects without a creation time may each be the oldest.
 */
export function peerModes(
  peers: readonly IstioPeerAuthentication[],
  root: string,
): (pod: Pod, key: PortKey) => readonly EffectiveMode[] {
  const byNamespace = groupBy(peers, ({ namespace }) => namespace);
  const isWide = ({ matchLabels }: IstioPeerAuthentication) => Object.keys(matchLabels).length === 0;
  const mesh = mayCount((byNamespace.get(root) ?? []).filter(isWide));
  return (pod, key) => {
    // Selectors have no effect in the root namespace.
    const near = pod.namespace === root ? [] : (byNamespace.get(pod.namespace) ?? []);
    const wide = mayCount(near.filter(isWide));
    const narrow = mayCount(near.filter((peer) => !isWide(peer) && hasAll(pod.labels, peer.matchLabels)));
    const found = new Map<string, EffectiveMode>();
    const add = (set: Setting) => {
      for (const mode of set.mode === 'unknown' ? anyMode : [set.mode])
        if (mode !== 'UNSET') found.set(`${mode} ${set.by}`, { mode, by: set.by });
    };
    for (const own of narrow) {
      const inherited = settingsOf([[own], wide, mesh]);
      const port = key === 'other' ? undefined : own?.ports.find((one) => one.port === key);
      if (own !== undefined && port !== undefined && port.mode !== 'UNSET')
        add({ mode: port.mode, by: `${own.namespace}/${own.name}` });
      else for (const set of inherited) add(set);
    }
    return [...found.values()];
  };
}

interface Setting {
  readonly mode: IstioMtlsMode | 'unknown';
  readonly by: string;
}

type Candidates = readonly (IstioPeerAuthentication | undefined)[];

/** From the nearest place outwards: the first mode that is set. */
function settingsOf(places: readonly Candidates[]): readonly Setting[] {
  const [nearest, ...rest] = places;
  if (nearest === undefined) return [{ mode: 'PERMISSIVE', by: '' }];
  return nearest.flatMap((peer) =>
    peer === undefined || peer.mode === 'UNSET'
      ? settingsOf(rest)
      : [{ mode: peer.mode, by: `${peer.namespace}/${peer.name}` }],
  );
}

function mayCount(list: readonly IstioPeerAuthentication[]): Candidates {
  if (list.length === 0) return [undefined];
  const dated = list.filter(({ created }) => created !== undefined);
  const first = dated.reduce<IstioPeerAuthentication | undefined>((best, one) => {
    if (best === undefined) return one;
    const [a, b] = [one.created ?? '', best.created ?? ''];
    return a < b || (a === b && one.name < best.name) ? one : best;
  }, undefined);
  return [...list.filter(({ created }) => created === undefined), ...(first === undefined ? [] : [first])];
}
