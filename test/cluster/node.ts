/** A node: containerd, then the kubelet. What else runs on it are pods. */
import { cp, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { exec } from '../../src/system/exec.ts';
import { nodeCgroup } from './cgroups.ts';
import { imageOf } from './images.ts';
import { execIn, startDaemonIn } from './machine.ts';
import { kubeletUser, writeKubeconfig } from './pki.ts';
import { dnsClusterIp, type Machine, machineFolder, type Plan, pkiFolder } from './plan.ts';
import { until } from './wait.ts';

const containerdSocket = '/run/containerd/containerd.sock';

/** What a containerd of the cluster must be told, wherever it runs. */
export const containerdConfig = (): string => `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs", "io.containerd.internal.v1.opt"]
[grpc]
  address = "${containerdSocket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${imageOf('pause')}"
  # Lower scores than one's own need CAP_SYS_RESOURCE, which a machine inside a container lacks.
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
`;

/** Gives the node its images: links to the prepared store, where layers are never written to; only the databases are copies. */
export async function layImages(plan: Plan, node: Machine, store: string): Promise<void> {
  const target = join(machineFolder(plan, node), 'var/lib/containerd');
  await mkdir(target, { recursive: true });
  const linked = await exec(['cp', '--archive', '--link', '--no-target-directory', store, target]);
  if (linked.code !== 0) {
    // The store lies on another file system.
    await cp(store, target, { recursive: true, verbatimSymlinks: true, force: true });
    return;
  }
  for (const entry of await readdir(store, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith('.db')) continue;
    const file = join(entry.parentPath, entry.name);
    await exec(['cp', '--archive', '--remove-destination', file, join(target, file.slice(store.length))]);
  }
}

export async function startRuntime(plan: Plan, node: Machine): Promise<void> {
  const config = join(machineFolder(plan, node), 'containerd.toml');
  await writeFile(config, containerdConfig());
  await startDaemonIn(plan, node, 'containerd', ['containerd', '--config', config]);
  await until(`containerd of ${node.name} serves`, 60_000, 100, async () =>
    (await execIn(plan, node, ['test', '-S', containerdSocket])).code === 0 ? true : undefined,
  );
}

export async function startKubelet(plan: Plan, node: Machine, binaries: string): Promise<void> {
  const folder = machineFolder(plan, node);
  const pki = pkiFolder(plan);
  const kubeconfig = join(folder, 'kubelet.kubeconfig');
  await writeKubeconfig(plan, kubeletUser(node), kubeconfig);
  const config = {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    failCgroupV1: false,
    cgroupDriver: 'cgroupfs',
    cgroupRoot: `/${nodeCgroup(plan, node)}`,
    enforceNodeAllocatable: ['none'],
    containerRuntimeEndpoint: `unix://${containerdSocket}`,
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: `${pki}/ca.crt` },
    },
    authorization: { mode: 'Webhook' },
    tlsCertFile: `${pki}/${kubeletUser(node)}.crt`,
    tlsPrivateKeyFile: `${pki}/${kubeletUser(node)}.key`,
    clusterDomain: 'cluster.local',
    clusterDNS: [dnsClusterIp],
    resolvConf: '/etc/resolv.conf',
    failSwapOn: false,
    localStorageCapacityIsolation: false,
    // A full disk of the host is not the cluster's affair, and images that are gone could not be fetched again.
    evictionHard: { 'memory.available': '0%', 'nodefs.available': '0%', 'imagefs.available': '0%' },
    imageGCHighThresholdPercent: 100,
    serializeImagePulls: false,
    registryPullQPS: 0,
    nodeLeaseDurationSeconds: 8,
    volumeStatsAggPeriod: '0s',
    shutdownGracePeriod: '0s',
  };
  const file = join(folder, 'kubelet.json');
  await writeFile(file, JSON.stringify(config, null, 2));
  await startDaemonIn(plan, node, 'kubelet', [
    join(binaries, 'kubelet'),
    `--config=${file}`,
    `--kubeconfig=${kubeconfig}`,
    `--hostname-override=${node.name}`,
    `--node-ip=${node.address}`,
  ]);
}
