// node bench-collect-api.mjs NODES PODS: an HTTP server that pages like the API server, with objects as large as real ones. Prints its URL.
// It knows lists, limit and continue, and nothing else: what the collection costs on the client's side is measured with it.
import { createServer } from 'node:http';
import { gzipSync } from 'node:zlib';

const [nodes = 5_000, pods = 150_000] = process.argv.slice(2).map(Number);
const services = Math.ceil(pods / 20);
const managed = Array.from(
  { length: 60 },
  (_, i) => `"f:field-${i}":{".":{},"f:inner":{},"k:{\\"name\\":\\"x\\"}":{}}`,
);
/** 3 kB of what the API server adds and nobody reads. */
const managedFields = `[{"manager":"kube-controller-manager","operation":"Update","apiVersion":"v1","fieldsV1":{${managed.join(',')}}}]`;
const environment = Array.from(
  { length: 25 },
  (_, i) => `{"name":"SETTING_${i}","value":"value-${i}-of-some-length"}`,
);
const node = (i) => `node-${i % nodes}`;
const ip = (i) => `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`;
const meta = (name, more = '') =>
  `"metadata":{"name":"${name}","namespace":"ns-${Math.floor(Math.abs(Number(/\d+$/.exec(name)?.[0] ?? 0)) / 100)}","uid":"00000000-0000-4000-8000-${name.padStart(12, '0').slice(-12)}","resourceVersion":"12345","creationTimestamp":"2026-01-01T00:00:00Z",${more}"managedFields":${managedFields}}`;

const makers = {
  '/api/v1/namespaces': [
    Math.ceil(pods / 100),
    (i) => `{"metadata":{"name":"ns-${i}","labels":{"kubernetes.io/metadata.name":"ns-${i}"}}}`,
  ],
  '/api/v1/nodes': [
    nodes,
    (i) =>
      `{"metadata":{"name":"node-${i}","labels":{"kubernetes.io/hostname":"node-${i}"},"managedFields":${managedFields}},"spec":{"podCIDR":"${ip(i * 256)}/24","podCIDRs":["${ip(i * 256)}/24"]},"status":{"addresses":[{"type":"InternalIP","address":"172.${16 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}"}],"conditions":[{"type":"Ready","status":"True","reason":"KubeletReady","message":"kubelet is posting ready status"}],"images":[${Array.from({ length: 50 }, (_, n) => `{"names":["registry.example/team/image-${n}@sha256:${'0'.repeat(64)}"],"sizeBytes":123456}`).join(',')}],"nodeInfo":{"kernelVersion":"6.1.0","kubeletVersion":"v1.36.2"}}}`,
  ],
  '/api/v1/pods': [
    pods,
    (i) =>
      `{${meta(`pod-${i}`, `"labels":{"app":"app-${i % 3000}","pod-template-hash":"abcdef1234"},"annotations":{"example.com/checksum":"${'a'.repeat(64)}"},"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"app-${i % 3000}-abcdef1234","uid":"u","controller":true}],`)},"spec":{"nodeName":"${node(i)}","serviceAccountName":"default","dnsPolicy":"ClusterFirst","containers":[{"name":"main","image":"registry.example/app:1","env":[${environment.join(',')}],"ports":[{"name":"http","containerPort":8080,"protocol":"TCP"}],"resources":{"limits":{"cpu":"1"}},"volumeMounts":[{"name":"kube-api-access","mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}]}],"tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists"}],"volumes":[{"name":"kube-api-access","projected":{"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}}]}}]},"status":{"phase":"Running","podIP":"${ip(i)}","podIPs":[{"ip":"${ip(i)}"}],"hostIP":"172.16.0.1","conditions":[${['PodReadyToStartContainers', 'Initialized', 'Ready', 'ContainersReady', 'PodScheduled'].map((type) => `{"type":"${type}","status":"True","lastProbeTime":null,"lastTransitionTime":"2026-01-01T00:00:00Z"}`).join(',')}],"containerStatuses":[{"name":"main","state":{"running":{"startedAt":"2026-01-01T00:00:00Z"}},"lastState":{},"ready":true,"restartCount":0,"image":"registry.example/app:1","imageID":"registry.example/app@sha256:${'1'.repeat(64)}","containerID":"containerd://${'2'.repeat(64)}","started":true}]}}`,
  ],
  '/api/v1/services': [
    services,
    (i) =>
      `{${meta(`svc-${i}`)},"spec":{"clusterIP":"${ip(i)}","clusterIPs":["${ip(i)}"],"selector":{"app":"app-${i % 3000}"},"ports":[{"name":"http","port":80,"protocol":"TCP","targetPort":"http"}],"type":"ClusterIP"},"status":{"loadBalancer":{}}}`,
  ],
  '/apis/discovery.k8s.io/v1/endpointslices': [
    services,
    (i) =>
      `{${meta(`svc-${i}`, `"labels":{"kubernetes.io/service-name":"svc-${i}"},`)},"addressType":"IPv4","endpoints":[${Array.from({ length: 20 }, (_, n) => `{"addresses":["${ip(i * 20 + n)}"],"conditions":{"ready":true,"serving":true,"terminating":false},"nodeName":"${node(i * 20 + n)}","targetRef":{"kind":"Pod","namespace":"ns-1","name":"pod-${i * 20 + n}","uid":"u"}}`).join(',')}],"ports":[{"name":"http","port":8080,"protocol":"TCP"}]}`,
  ],
  '/apis/networking.k8s.io/v1/networkpolicies': [
    Math.ceil(pods / 100),
    (i) =>
      `{${meta(`policy-${i}`)},"spec":{"podSelector":{"matchLabels":{"app":"app-${i}"}},"ingress":[{"from":[{"podSelector":{}}]}],"policyTypes":["Ingress"]}}`,
  ],
};
const resources = (names) => ({
  kind: 'APIResourceList',
  resources: names.map(([name, kind, namespaced]) => ({ name, kind, namespaced, verbs: ['get', 'list'] })),
});
const fixed = {
  '/version': { gitVersion: 'v1.36.2' },
  '/apis': {
    kind: 'APIGroupList',
    groups: ['discovery.k8s.io', 'networking.k8s.io'].map((name) => ({
      name,
      versions: [{ groupVersion: `${name}/v1` }],
      preferredVersion: { groupVersion: `${name}/v1` },
    })),
  },
  '/api/v1': resources([
    ['namespaces', 'Namespace', false],
    ['nodes', 'Node', false],
    ['pods', 'Pod', true],
    ['services', 'Service', true],
  ]),
  '/apis/discovery.k8s.io/v1': resources([['endpointslices', 'EndpointSlice', true]]),
  '/apis/networking.k8s.io/v1': resources([['networkpolicies', 'NetworkPolicy', true]]),
};

function page(maker, query) {
  const [total, make] = maker;
  const from = Number(query.get('continue') ?? 0);
  const to = Math.min(total, from + Number(query.get('limit') ?? total));
  const items = Array.from({ length: to - from }, (_, n) => make(from + n));
  return `{"metadata":{"resourceVersion":"1","continue":"${to < total ? to : ''}"},"items":[${items.join(',')}]}`;
}

const server = createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://localhost');
  const maker = makers[url.pathname];
  const body =
    maker === undefined
      ? JSON.stringify(fixed[url.pathname] ?? { code: 404 })
      : page(maker, url.searchParams);
  const status = maker === undefined && fixed[url.pathname] === undefined ? 404 : 200;
  // The API server packs answers of more than 128 kB at level 1.
  const packed = body.length > 131_072 ? gzipSync(body, { level: 1 }) : undefined;
  response.writeHead(status, {
    'content-type': 'application/json',
    ...(packed === undefined ? {} : { 'content-encoding': 'gzip' }),
  });
  response.end(packed ?? body);
});
server.listen(0, '127.0.0.1', () => process.stdout.write(`http://127.0.0.1:${server.address().port}\n`));
process.stdin.on('end', () => process.exit(0)).resume();
