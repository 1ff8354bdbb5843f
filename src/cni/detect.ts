/** Which pod network a snapshot shows. */
import { type Known, known, unknown } from '../model/known.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { bridge } from './bridge.ts';
import { calico } from './calico.ts';
import { cilium } from './cilium.ts';
import type { Cni, Tunnel } from './cni.ts';
import { flannel } from './flannel.ts';
import { kubeRouter } from './kube-router.ts';
import { weave } from './weave.ts';

/** In order: systems that leave unmistakable marks first, the plain bridge last. */
const cnis: readonly Cni[] = [cilium, calico, flannel, weave, kubeRouter, bridge];

export interface DetectedCni {
  readonly cni: Cni;
  /** `node1 has the device flannel.1` */
  readonly because: string;
  readonly tunnel?: Tunnel;
}

/** Unknown where nothing recorded tells them apart: the checks that depend on it then do not run. */
export function detectCni(snapshot: Snapshot): Known<DetectedCni> {
  for (const cni of cnis) {
    const because = cni.detect(snapshot);
    if (because === undefined) continue;
    const tunnel = cni.tunnel(snapshot);
    return known({ cni, because, ...(tunnel === undefined ? {} : { tunnel }) });
  }
  return unknown('no device, annotation or DaemonSet of a known pod network was recorded');
}
