/** The pod networks that a lab can have. */
import type { LabCni } from '../state.ts';
import { calicoBgp, calicoVxlan } from './calico.ts';
import type { Cni } from './cni.ts';
import { flannelHostGw, flannelVxlan } from './flannel.ts';

export const cnis: Readonly<Record<LabCni, Cni>> = {
  'flannel-vxlan': flannelVxlan,
  'flannel-host-gw': flannelHostGw,
  'calico-vxlan': calicoVxlan,
  'calico-bgp': calicoBgp,
};
