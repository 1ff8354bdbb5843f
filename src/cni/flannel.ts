/** flannel: vxlan (flannel.1, VNI 1, UDP 8472), host-gw (plain routes) or wireguard (UDP 51820). */
import type { Snapshot } from '../model/snapshot.ts';
import { vxlanOf } from '../model/tunnel.ts';
import { parseMac } from '../net/mac.ts';
import { defineCni, type Tunnel } from './cni.ts';
import { configMapValue, findAnnotation, findDaemonSet, findNodeDevice, readJsonObject } from './look.ts';

const annotation = (key: string): string => `flannel.alpha.coreos.com/${key}`;

function tunnel(snapshot: Snapshot): Tunnel | undefined {
  const backend = backendOf(snapshot);
  const type = findAnnotation(snapshot, annotation('backend-type'))?.value ?? backend?.Type;
  const device = findNodeDevice(
    snapshot,
    (d) => d.name.startsWith('flannel.') && d.tunnel?.kind === 'vxlan',
  )?.device;
  if (type === 'wireguard') return { kind: 'wireguard', device: 'flannel-wg', port: 51_820 };
  if (type !== 'vxlan' && (type !== undefined || device === undefined)) return undefined;
  const data = readJsonObject(findAnnotation(snapshot, annotation('backend-data'))?.value);
  const own = device === undefined ? undefined : vxlanOf(device);
  const vni = numberOr(data?.VNI, numberOr(backend?.VNI, own?.vni ?? 1));
  // The kernel's historic VXLAN port, which flannel keeps unless net-conf.json names another.
  return { kind: 'vxlan', device: `flannel.${vni}`, port: numberOr(backend?.Port, 8472), vni };
}

function backendOf(snapshot: Snapshot): Readonly<Record<string, unknown>> | undefined {
  const conf = readJsonObject(configMapValue(snapshot, 'kube-flannel-cfg', 'net-conf.json'));
  const backend = conf?.Backend;
  return typeof backend === 'object' && backend !== null ? (backend as Record<string, unknown>) : undefined;
}

const numberOr = (value: unknown, fallback: number): number => (typeof value === 'number' ? value : fallback);

export const flannel = defineCni({
  name: 'flannel',
  detect: (snapshot) => {
    const announced = findAnnotation(snapshot, annotation('backend-type'));
    if (announced !== undefined) return `node ${announced.node} announces the backend ${announced.value}`;
    const found = findNodeDevice(snapshot, (device) => /^flannel[.-]/.test(device.name));
    if (found !== undefined) return `${found.node} has the device ${found.device.name}`;
    return findDaemonSet(snapshot, /^kube-flannel/);
  },
  tunnel,
  isAgent: (pod) => pod.hostNetwork && (pod.labels.app === 'flannel' || pod.labels['k8s-app'] === 'flannel'),
  usesNodePodCidrs: true,
  bypassesKernelRoutes: false,
  announcedAddress: (annotations) => annotations[annotation('public-ip')],
  announcedMac: (annotations) => {
    const mac = readJsonObject(annotations[annotation('backend-data')])?.VtepMAC;
    return typeof mac === 'string' ? parseMac(mac) : undefined;
  },
});
