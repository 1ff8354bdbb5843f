/** Certificates and kubeconfigs, made by the `tool` program of programs/. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { must } from '../../src/lab/run.ts';
import { apiServerClusterIp, apiServerUrl, type Machine, type Plan, pkiFolder } from './plan.ts';

export interface CertificateRequest {
  /** Of the files NAME.crt and NAME.key in the cluster's pki folder. */
  readonly name: string;
  /** The user. */
  readonly commonName: string;
  /** The groups. */
  readonly organizations?: readonly string[];
  /** Names and addresses of a server. */
  readonly hosts?: readonly string[];
  /** From now; negative: it ended so long ago. Default ten days. */
  readonly validSeconds?: number;
}

/** Makes certificates signed by the cluster's own authority, which is made with the first. */
export async function makeCertificates(
  plan: Plan,
  binaries: string,
  requests: readonly CertificateRequest[],
): Promise<void> {
  const folder = pkiFolder(plan);
  await mkdir(folder, { recursive: true });
  await must([join(binaries, 'tool'), 'certificates', folder], { input: JSON.stringify(requests) });
}

export const kubeletUser = (node: Machine): string => `kubelet-${node.name}`;

/** What the cluster itself needs. */
export const clusterCertificates = (plan: Plan): CertificateRequest[] => [
  {
    name: 'apiserver',
    commonName: 'kube-apiserver',
    hosts: [
      'kubernetes',
      'kubernetes.default',
      'kubernetes.default.svc',
      'kubernetes.default.svc.cluster.local',
      'localhost',
      '127.0.0.1',
      apiServerClusterIp,
      plan.controlPlane.address,
    ],
  },
  {
    name: 'apiserver-kubelet-client',
    commonName: 'kube-apiserver-kubelet-client',
    organizations: ['system:masters'],
  },
  { name: 'controller-manager', commonName: 'system:kube-controller-manager' },
  { name: 'scheduler', commonName: 'system:kube-scheduler' },
  { name: 'admin', commonName: 'kubernetes-admin', organizations: ['system:masters'] },
  ...plan.nodes.map((node) => ({
    name: kubeletUser(node),
    commonName: `system:node:${node.name}`,
    organizations: ['system:nodes'],
    hosts: [node.name, node.address],
  })),
];

/** A kubeconfig with everything in it, that works wherever the API server can be reached. */
export async function writeKubeconfig(plan: Plan, certificate: string, file: string): Promise<void> {
  const data = async (name: string) => (await readFile(join(pkiFolder(plan), name))).toString('base64');
  await writeConfig(plan, file, {
    'client-certificate-data': await data(`${certificate}.crt`),
    'client-key-data': await data(`${certificate}.key`),
  });
}

/** One for a bearer token, as `kubectl create token` prints it. */
export const writeTokenKubeconfig = (plan: Plan, token: string, file: string): Promise<void> =>
  writeConfig(plan, file, { token });

async function writeConfig(plan: Plan, file: string, user: object): Promise<void> {
  const authority = await readFile(join(pkiFolder(plan), 'ca.crt'));
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: plan.name,
        cluster: {
          server: apiServerUrl(plan),
          'certificate-authority-data': authority.toString('base64'),
        },
      },
    ],
    users: [{ name: 'user', user }],
    contexts: [{ name: plan.name, context: { cluster: plan.name, user: 'user' } }],
    'current-context': plan.name,
  };
  await writeFile(file, JSON.stringify(config, null, 2), { mode: 0o600 });
}
