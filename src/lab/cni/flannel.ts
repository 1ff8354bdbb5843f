/** Flannel: the bridge plugin on every node, and between nodes either VXLAN or routes through the nodes' own addresses. */
import type { LabNode, LabState } from '../state.ts';
import { bridgePodDeviceLines, bridgePodLines, cniBridgeLines } from './bridge.ts';
import { type Cni, nodeIn, otherNodes } from './cni.ts';
import { type VxlanStyle, vtepMac, vxlanFdbLines, vxlanLines, vxlanMtuBytes } from './vxlan.ts';

const style: VxlanStyle = {
  device: (family) => (family === 4 ? 'flannel.1' : 'flannel-v6.1'),
  vni: 1,
  udpPort: 8472,
  routeSuffix: '',
};

// One MTU for the pods: what the tighter of the two tunnels carries.
const overlayMtuBytes = (state: LabState): number =>
  Math.min(...state.families.map((family) => vxlanMtuBytes(state, family)));

export const flannelVxlan: Cni = {
  name: 'flannel-vxlan',
  bridged: true,
  podMtuBytes: overlayMtuBytes,
  nodeLines: (state, node) => [
    ...cniBridgeLines(state, node, overlayMtuBytes(state)),
    ...vxlanLines(state, node, style),
  ],
  fdbLines: (state, node) => vxlanFdbLines(state, node, style),
  podDeviceLines: (state, pod) => bridgePodDeviceLines(pod, overlayMtuBytes(state)),
  podLines: bridgePodLines,
  nodeSysctls: () => [],
  nodeAnnotations: (state, node) =>
    annotations(state, node, 'vxlan', (family) =>
      JSON.stringify({ VNI: style.vni, VtepMAC: vtepMac(state, node, family) }),
    ),
  configMap: (state) => flannelConfig(state, 'vxlan'),
};

export const flannelHostGw: Cni = {
  name: 'flannel-host-gw',
  bridged: true,
  podMtuBytes: (state) => state.underlayMtuBytes,
  nodeLines: (state, node) => [
    ...cniBridgeLines(state, node, state.underlayMtuBytes),
    ...state.families.flatMap((family) =>
      otherNodes(state, node).flatMap((peer) => {
        const far = nodeIn(peer, family);
        return far === undefined ? [] : [`route add ${far.podCidr} via ${far.address} dev eth0`];
      }),
    ),
  ],
  fdbLines: () => [],
  podDeviceLines: (state, pod) => bridgePodDeviceLines(pod, state.underlayMtuBytes),
  podLines: bridgePodLines,
  nodeSysctls: () => [],
  nodeAnnotations: (state, node) => annotations(state, node, 'host-gw', () => 'null'),
  configMap: (state) => flannelConfig(state, 'host-gw'),
};

function annotations(
  state: LabState,
  node: LabNode,
  backend: string,
  backendData: (family: 4 | 6) => string,
): Record<string, string> {
  const prefix = 'flannel.alpha.coreos.com';
  const [address, address6] = node.addresses;
  return {
    [`${prefix}/backend-data`]: backendData(4),
    [`${prefix}/backend-type`]: backend,
    [`${prefix}/kube-subnet-manager`]: 'true',
    ...(address === undefined ? {} : { [`${prefix}/public-ip`]: address }),
    ...(address6 === undefined || !state.families.includes(6)
      ? {}
      : { [`${prefix}/backend-v6-data`]: backendData(6), [`${prefix}/public-ipv6`]: address6 }),
  };
}

function flannelConfig(state: LabState, type: string) {
  const [network, network6] = state.podCidrs;
  const netConf = {
    Network: network,
    ...(network6 === undefined ? {} : { EnableIPv6: true, IPv6Network: network6 }),
    EnableNFTables: false,
    Backend: { Type: type },
  };
  const cniConf = {
    name: 'cbr0',
    cniVersion: '0.3.1',
    plugins: [
      { type: 'flannel', delegate: { hairpinMode: true, isDefaultGateway: true } },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  };
  return {
    namespace: 'kube-flannel',
    name: 'kube-flannel-cfg',
    labels: { app: 'flannel', 'k8s-app': 'flannel', tier: 'node' },
    data: { 'cni-conf.json': JSON.stringify(cniConf), 'net-conf.json': JSON.stringify(netConf) },
  };
}
