/** etcd, API server, controllers and scheduler, in the machine `cp`. */
import { join } from 'node:path';
import { execIn, startDaemonIn, stopDaemonIn } from './machine.ts';
import { writeKubeconfig } from './pki.ts';
import { apiServerUrl, type Plan, pkiFolder, podCidr, serviceCidr } from './plan.ts';
import { until } from './wait.ts';

/** Starts all four and waits until the API server serves. */
export async function startControlPlane(plan: Plan, binaries: string): Promise<void> {
  const cp = plan.controlPlane;
  const pki = pkiFolder(plan);
  const program = (name: string) => join(binaries, name);
  const config = (user: string) => join(plan.folder, `${user}.kubeconfig`);
  await Promise.all(
    ['controller-manager', 'scheduler'].map((user) => writeKubeconfig(plan, user, config(user))),
  );
  // In memory: nothing of it has to last, and a disk that others use would slow every write.
  const etcd = [
    ...['etcd', '--data-dir', '/run/etcd', '--name', 'cp', '--logger', 'zap'],
    ...['--listen-client-urls', 'http://127.0.0.1:2379', '--advertise-client-urls', 'http://127.0.0.1:2379'],
    ...[
      '--listen-peer-urls',
      'http://127.0.0.1:2380',
      '--initial-advertise-peer-urls',
      'http://127.0.0.1:2380',
    ],
    ...[
      '--initial-cluster',
      'cp=http://127.0.0.1:2380',
      '--heartbeat-interval',
      '500',
      '--election-timeout',
      '5000',
    ],
  ];
  await startDaemonIn(plan, cp, 'etcd', etcd);
  await startApiServer(plan, binaries);
  const asUser = (user: string) => [
    `--kubeconfig=${config(user)}`,
    `--authentication-kubeconfig=${config(user)}`,
    `--authorization-kubeconfig=${config(user)}`,
    '--leader-elect=false',
  ];
  await startDaemonIn(plan, cp, 'kube-controller-manager', [
    program('kube-controller-manager'),
    ...asUser('controller-manager'),
    '--allocate-node-cidrs=true',
    `--cluster-cidr=${podCidr}`,
    `--service-cluster-ip-range=${serviceCidr}`,
    '--use-service-account-credentials=true',
    `--service-account-private-key-file=${pki}/service-accounts.key`,
    `--root-ca-file=${pki}/ca.crt`,
    // A silent kubelet shows soon; kubelets renew their lease every two seconds (node.ts).
    '--node-monitor-grace-period=16s',
    '--node-monitor-period=1s',
  ]);
  await startDaemonIn(plan, cp, 'kube-scheduler', [
    program('kube-scheduler'),
    ...asUser('scheduler'),
    `--master=${apiServerUrl(plan)}`,
  ]);
}

/** Starts the API server and waits until it serves. */
export async function startApiServer(plan: Plan, binaries: string): Promise<void> {
  const cp = plan.controlPlane;
  const pki = pkiFolder(plan);
  const program = (name: string) => join(binaries, name);
  await startDaemonIn(plan, cp, 'kube-apiserver', [
    program('kube-apiserver'),
    '--etcd-servers=http://127.0.0.1:2379',
    `--advertise-address=${cp.address}`,
    '--secure-port=6443',
    `--service-cluster-ip-range=${serviceCidr}`,
    '--authorization-mode=Node,RBAC',
    '--enable-admission-plugins=NodeRestriction',
    '--allow-privileged=true',
    '--anonymous-auth=false',
    `--client-ca-file=${pki}/ca.crt`,
    `--tls-cert-file=${pki}/apiserver.crt`,
    `--tls-private-key-file=${pki}/apiserver.key`,
    `--kubelet-certificate-authority=${pki}/ca.crt`,
    `--kubelet-client-certificate=${pki}/apiserver-kubelet-client.crt`,
    `--kubelet-client-key=${pki}/apiserver-kubelet-client.key`,
    '--kubelet-preferred-address-types=InternalIP',
    '--service-account-issuer=https://kubernetes.default.svc.cluster.local',
    `--service-account-key-file=${pki}/service-accounts.key`,
    `--service-account-signing-key-file=${pki}/service-accounts.key`,
  ]);
  await until('the API server serves', 120_000, 400, async () => {
    const answer = await execIn(plan, plan.admin, [
      program('kubectl'),
      `--kubeconfig=${join(plan.folder, 'admin.kubeconfig')}`,
      ...['get', '--raw', '/readyz'],
    ]);
    return answer.code === 0 ? true : undefined;
  });
}

/** Ends the API server; etcd and all the others go on. */
export const stopApiServer = (plan: Plan): Promise<void> =>
  stopDaemonIn(plan, plan.controlPlane, 'kube-apiserver');
