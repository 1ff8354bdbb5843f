/** Agents, pods, nodes and applications; two faults at once. */
import { apiIp, emptySlices, node, rejected, unready } from './mutations-objects.ts';
import { both, type Mutation, viaService, webToApi } from './mutations-support.ts';

export const workloadFaults: readonly Mutation[] = [
  {
    name: 'no agent enforces the policies: what is denied passes',
    on: both,
    apply: (at) => {
      for (const n of [1, 2, 3])
        at.table(node(n), 'filter', (lines) =>
          lines.filter((line) => !/KUBE-(ROUTER|POD-FW|NWPLCY)/.test(line)),
        );
    },
    flow: (at) => ({ src: at.id('toolbox', 1), dst: at.id('ledger', 3), port: 9000 }),
    meets: 'works',
    onlyProbed: true,
    quiet: true,
    causes: ['policy/not-enforced'],
    works: (at) => [webToApi(at)],
  },
  {
    name: 'the network’s agent of a node crashes and the route is gone',
    on: ['healthy-vxlan'],
    apply: (at) => {
      const agent = at
        .list('pods')
        .find((pod) => pod.metadata.namespace === 'kube-flannel' && pod.spec.nodeName === 'node1');
      at.one('pods', `kube-flannel/${agent?.metadata.name}`, (pod) =>
        unready(pod, 'Running', 'CrashLoopBackOff'),
      );
      at.routes(node(1), (routes) => routes.filter((route) => route.dst !== '10.244.3.0/24'));
    },
    flow: webToApi,
    causes: ['cni/agent-not-ready', 'route/missing'],
    alsoListed: ['cni/agent-not-ready', 'route/missing'],
  },
  {
    name: 'the pod’s device on the node is gone',
    on: both,
    apply: (at) => {
      const peer = at.link(at.folder('api', 3), 'eth0') as unknown as { link_index: number };
      at.links(node(3), (link) => (link.ifindex === peer.link_index ? false : undefined));
      at.json<{ ifindex?: number; ifname: string }[]>(`${node(3)}/bridge-link.json`, (links) =>
        links.filter((link) => link.ifindex !== peer.link_index),
      );
    },
    flow: webToApi,
    causes: ['cni/pod-not-wired'],
  },
  {
    name: 'the pod’s device on the node is down',
    on: both,
    apply: (at) => {
      const peer = at.link(at.folder('api', 3), 'eth0') as unknown as { link_index: number };
      at.links(node(3), (link) => {
        if (link.ifindex !== peer.link_index) return;
        link.flags = link.flags.filter((flag) => flag !== 'UP' && flag !== 'LOWER_UP');
        link.operstate = 'DOWN';
      });
    },
    flow: webToApi,
    causes: ['cni/pod-not-wired'],
  },
  {
    name: 'the pod’s device is no port of the bridge',
    on: both,
    apply: (at) => {
      const peer = at.link(at.folder('api', 3), 'eth0') as unknown as { link_index: number };
      at.links(node(3), (link) => {
        if (link.ifindex === peer.link_index) delete link.master;
      });
      at.json<{ ifindex?: number }[]>(`${node(3)}/bridge-link.json`, (links) =>
        links.filter((link) => link.ifindex !== peer.link_index),
      );
    },
    flow: webToApi,
    causes: ['cni/pod-not-wired'],
  },
  {
    name: 'the pod has no default route',
    on: both,
    apply: (at) =>
      at.routes(at.folder('web', 1), (routes) => routes.filter((route) => route.dst !== 'default')),
    flow: webToApi,
    causes: ['cni/pod-not-wired', 'route/missing'],
    works: (at) => [{ src: at.id('web', 2), dst: at.id('api', 3), port: 8080 }],
  },
  {
    name: 'the server’s pod has no default route',
    on: both,
    apply: (at) =>
      at.routes(at.folder('api', 3), (routes) => routes.filter((route) => route.dst !== 'default')),
    flow: webToApi,
    causes: ['cni/pod-not-wired', 'route/missing'],
  },
  {
    name: 'the far node is not ready and its pods are cut off',
    on: both,
    apply: (at) => {
      at.one('nodes', 'node3', (object) => {
        for (const condition of object.status.conditions)
          Object.assign(condition, {
            status: 'Unknown',
            reason: 'NodeStatusUnknown',
            message: 'Kubelet stopped posting node status.',
          });
      });
      for (const path of [...at.files.keys()]) if (path.startsWith('nodes/node3/')) at.files.delete(path);
    },
    flow: webToApi,
    onlyProbed: true,
    causes: ['node/not-ready'],
  },
  {
    name: 'the far node’s network is unavailable',
    on: both,
    apply: (at) =>
      at.one('nodes', 'node3', (object) => {
        object.status.conditions.push({
          type: 'NetworkUnavailable',
          status: 'True',
          reason: 'NoRouteCreated',
          message: 'Node created without a route',
        });
        for (const n of [1, 2])
          at.routes(node(n), (routes) => routes.filter((route) => route.dst !== '10.244.3.0/24'));
      }),
    flow: webToApi,
    causes: ['node/network-unavailable', 'route/missing'],
    alsoListed: ['node/network-unavailable', 'route/missing'],
  },
  {
    name: 'the server is not there',
    on: both,
    apply: (at) =>
      at.text(`${at.folder('api', 3)}/ss.txt`, (text) =>
        text
          .split('\n')
          .filter((line) => !line.includes(':8080'))
          .join('\n'),
      ),
    flow: webToApi,
    meets: 'refused',
    causes: ['app/not-listening'],
  },
  {
    name: 'one of the Service’s servers is not there',
    on: both,
    apply: (at) =>
      at.text(`${at.folder('api', 3)}/ss.txt`, (text) =>
        text
          .split('\n')
          .filter((line) => !line.includes(':8080'))
          .join('\n'),
      ),
    flow: viaService,
    meets: 'refused',
    causes: ['app/not-listening'],
  },
  {
    name: 'the server listens on the loopback',
    on: both,
    apply: (at) =>
      at.text(`${at.folder('api', 3)}/ss.txt`, (text) => text.replaceAll('*:8080', '127.0.0.1:8080')),
    flow: viaService,
    meets: 'refused',
    causes: ['app/loopback-only'],
  },
  {
    name: 'TCP is asked of a UDP server',
    on: both,
    apply: () => {},
    flow: (at) => ({ src: at.id('web', 1), dst: at.id('api', 3), port: 8081 }),
    meets: 'refused',
    causes: ['app/wrong-protocol'],
    quiet: true,
  },
  {
    name: 'a route is missing and a policy denies: two faults',
    on: both,
    apply: (at) => {
      at.routes(node(1), (routes) => routes.filter((route) => route.dst !== '10.244.3.0/24'));
    },
    flow: (at) => ({ src: at.id('toolbox', 1), dst: at.id('ledger', 3), port: 9000 }),
    causes: ['route/missing', 'policy/denied-ingress'],
    alsoListed: ['route/missing', 'policy/denied-ingress'],
  },
  {
    name: 'a route back is missing and a policy denies: two faults',
    on: both,
    apply: (at) => {
      at.routes(node(3), (routes) => routes.filter((route) => route.dst !== '10.244.1.0/24'));
    },
    flow: (at) => ({ src: at.id('toolbox', 1), dst: at.id('ledger', 3), port: 9000 }),
    causes: ['route/missing', 'policy/denied-ingress'],
    alsoListed: ['route/missing', 'policy/denied-ingress'],
  },
  {
    name: 'two faults: the Service selects nobody and the node drops its tunnel or forwarding',
    on: both,
    apply: (at) => {
      at.one('services', 'shop/api', (service) => {
        service.spec.selector = { app: 'apii' };
      });
      emptySlices(at, 'api');
      rejected(at, 'shop/api', apiIp(at));
      at.sysctl(node(1), 'net.ipv4.ip_forward', '0');
      at.sysctl(node(1), 'net.ipv4.conf.all.forwarding', '0');
      at.sysctl(node(1), 'net.ipv4.conf.cni0.forwarding', '0');
    },
    flow: viaService,
    causes: ['service/selector-mismatch', 'route/ip-forward-off', 'service/no-endpoints'],
    alsoListed: ['service/selector-mismatch', 'route/ip-forward-off'],
    works: (at) => [{ src: at.id('web', 2), dst: at.id('api', 3), port: 8080 }],
  },
];
