/** What the tests of live collection share. */
import { mkdtempSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Gap } from '../../src/model/gap.ts';
import type { ExecOptions } from '../../src/system/exec.ts';
import { apiServerLack, type TestApiServer } from './apiserver.ts';

/** Prints why the tests are skipped, where they are. */
export function skipReason(): string | undefined {
  const lack = apiServerLack();
  if (lack !== undefined) process.stderr.write(`tests on a real API server are skipped: ${lack}\n`);
  return lack;
}

export interface Collected {
  readonly code: number;
  readonly stderr: string;
  readonly stdout: string;
  readonly gaps: readonly Gap[];
  /** Path in the snapshot -> text. */
  readonly files: ReadonlyMap<string, string>;
  readonly ms: number;
  readonly path: string;
}

/** `podpath snapshot collect` into a fresh directory. */
export async function collect(
  server: TestApiServer,
  args: readonly string[] = [],
  options: ExecOptions = {},
): Promise<Collected> {
  const path = join(mkdtempSync(join(server.dir, 'out-')), 'snapshot');
  const result = await server.podpath(['snapshot', 'collect', '--out', path, '-o', 'json', ...args], options);
  const parsed = result.code === 0 ? (JSON.parse(result.stdout) as { gaps: readonly Gap[] }) : { gaps: [] };
  return { ...result, gaps: parsed.gaps, files: result.code === 0 ? filesOf(path) : new Map(), path };
}

function filesOf(root: string, at = ''): Map<string, string> {
  const found = new Map<string, string>();
  for (const name of readdirSync(join(root, at))) {
    const path = join(at, name);
    if (statSync(join(root, path)).isDirectory())
      for (const [inner, text] of filesOf(root, path)) found.set(inner, text);
    else found.set(path, readFileSync(join(root, path), 'utf8'));
  }
  return found;
}

export function itemsOf(collected: Collected, file: string): readonly { metadata: { name: string } }[] {
  const list = JSON.parse(collected.files.get(`cluster/${file}.json`) ?? '{}') as {
    items?: readonly { metadata: { name: string } }[];
  };
  return list.items ?? [];
}

/** A small cluster's worth of objects, with credentials wherever people put them; each holds the word planted. */
const objects = `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Namespace
metadata: {name: other}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: default, namespace: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: default, namespace: other}
---
apiVersion: v1
kind: Node
metadata: {name: node1, annotations: {flannel.alpha.coreos.com/public-ip: 10.0.0.1}}
---
apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: shop
  labels: {app: web}
  annotations:
    vault.example/token: s.planted-annotation
    linkerd.io/inject: disabled
    sidecar.istio.io/proxyConfig: '{"password": "planted-in-istio"}'
spec:
  nodeName: node1
  containers:
  - name: c
    image: registry.local/web
    args: ["--password=planted-argument"]
    command: ["sh", "-c", "export TOKEN=planted-command"]
    env: [{name: DB_PASSWORD, value: planted-environment}]
    ports: [{containerPort: 8080, name: http}]
---
apiVersion: v1
kind: Pod
metadata: {name: api, namespace: other, labels: {app: api}}
spec: {nodeName: node1, containers: [{name: c, image: x}]}
---
apiVersion: v1
kind: Secret
metadata: {name: credentials, namespace: shop}
stringData: {key: planted-secret}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: application, namespace: shop}
data: {config: planted-application}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: coredns, namespace: kube-system}
data:
  Corefile: |
    .:53 {
      forward . 10.0.0.53
      etcd { credentials admin }
      tsig { secret: planted-corefile }
    }
---
apiVersion: v1
kind: ConfigMap
metadata: {name: calico-config, namespace: kube-system}
data: {etcd_key: planted-calico, veth_mtu: "1440"}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{podSelector: {matchLabels: {token: planted-label}}}]}]
---
apiVersion: v1
kind: Event
metadata: {name: e1, namespace: shop}
type: Warning
reason: Failed
message: 'pull from https://user:planted-url@registry.local failed: Authorization: Bearer planted-bearer-token'
involvedObject: {kind: Pod, name: web, namespace: shop}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: bgppeers.crd.projectcalico.org}
spec:
  group: crd.projectcalico.org
  scope: Cluster
  names: {plural: bgppeers, singular: bgppeer, kind: BGPPeer}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ciliumnetworkpolicies.cilium.io}
spec:
  group: cilium.io
  scope: Namespaced
  names: {plural: ciliumnetworkpolicies, singular: ciliumnetworkpolicy, kind: CiliumNetworkPolicy}
  versions:
  - name: v2
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`;

const customObjects = `
apiVersion: crd.projectcalico.org/v1
kind: BGPPeer
metadata: {name: rack}
spec: {peerIP: 10.0.0.254, password: planted-bgp, extra: {name: api-key, value: planted-pair}}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: cnp, namespace: shop}
spec: {endpointSelector: {}, ingress: [{}]}
`;

/** Objects, then those of the kinds that the first ones define. */
export async function fill(server: TestApiServer): Promise<void> {
  await server.kubectl(['apply', '--server-side', '-f', '-'], objects);
  // No kubelet is here to say it.
  for (const [namespace, name, ip] of [
    ['shop', 'web', '10.244.0.2'],
    ['other', 'api', '10.244.0.3'],
  ] as const) {
    const status = { phase: 'Running', podIP: ip, podIPs: [{ ip }] };
    const patch = JSON.stringify({ status });
    await server.kubectl(['patch', 'pod', name, '-n', namespace, '--subresource=status', '-p', patch]);
  }
  // The other way writes all of the object into an annotation.
  await server.kubectl(
    ['apply', '-f', '-'],
    `apiVersion: v1
kind: Service
metadata: {name: applied, namespace: shop, annotations: {example/secret: planted-last-applied}}
spec: {selector: {app: web}, ports: [{port: 81}]}
`,
  );
  await server.kubectl(['wait', '--for=condition=Established', 'crd', '--all', '--timeout=30s']);
  await server.kubectl(['apply', '--server-side', '-f', '-'], customObjects);
}
