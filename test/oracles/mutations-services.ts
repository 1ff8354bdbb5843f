/** Services, and the rules that kube-proxy makes of them. */
import { apiIp, byName, emptySlices, node, rejected, unready, unreadySlices } from './mutations-objects.ts';
import { both, type Mutation, viaService, webToApi } from './mutations-support.ts';

export const serviceFaults: readonly Mutation[] = [
  {
    name: 'the Service selects a label that no pod has',
    on: both,
    apply: (at) => {
      at.one('services', 'shop/api', (service) => {
        service.spec.selector = { app: 'apii' };
      });
      emptySlices(at, 'api');
      rejected(at, 'shop/api', apiIp(at));
    },
    flow: viaService,
    meets: 'refused',
    causes: ['service/selector-mismatch', 'service/no-endpoints'],
  },
  {
    name: 'the Service’s pods were scaled away',
    on: both,
    apply: (at) => {
      const names = at
        .list('pods')
        .filter((pod) => pod.metadata.labels?.app === 'db')
        .map((pod) => `pods/shop_${pod.metadata.name}/`);
      at.objects('pods', (pod) => pod.metadata.labels?.app !== 'db');
      for (const path of [...at.files.keys()])
        if (names.some((name) => path.includes(name))) at.files.delete(path);
      emptySlices(at, 'db');
      rejected(at, 'shop/db', '10.96.61.238');
    },
    flow: (at) => ({ src: at.id('web', 1), dst: 'shop/svc/db', port: 5432 }),
    meets: 'refused',
    causes: ['service/no-endpoints'],
    scanToo: ['policy/selector-matches-nothing'],
  },
  {
    name: 'none of the Service’s pods is ready',
    on: both,
    apply: (at) => {
      at.objects('pods', (pod) => {
        if (pod.metadata.labels?.app === 'api') unready(pod);
      });
      unreadySlices(at, 'api');
      rejected(at, 'shop/api', apiIp(at));
    },
    flow: viaService,
    meets: 'refused',
    causes: ['service/not-ready'],
    works: (at) => [webToApi(at)],
  },
  {
    name: 'the Service leads to a port where nobody listens',
    on: both,
    apply: (at) => {
      at.one('services', 'shop/api', (service) => {
        for (const port of service.spec.ports) if (port.port === 80) port.targetPort = 9999;
      });
      at.text('cluster/endpointslices.discovery.k8s.io.json', (text) =>
        text.replaceAll(/"port": ?8080/g, '"port": 9999'),
      );
      for (const n of [1, 2, 3])
        at.text(`${node(n)}/iptables-save.txt`, (text) =>
          text.replaceAll(/(--to-destination \S+):8080/g, '$1:9999'),
        );
    },
    flow: viaService,
    meets: 'refused',
    causes: ['service/target-port-wrong'],
    works: (at) => [webToApi(at)],
  },
  {
    name: 'the Service names a port that no container has',
    on: both,
    apply: (at) => {
      at.one('services', 'shop/api', (service) => {
        service.spec.ports = service.spec.ports.filter((port) => port.port === 80);
        for (const port of service.spec.ports) port.targetPort = 'htttp';
      });
      emptySlices(at, 'api');
      rejected(at, 'shop/api', apiIp(at));
    },
    flow: viaService,
    meets: 'refused',
    causes: ['service/target-port-wrong'],
    works: (at) => [webToApi(at)],
  },
  {
    name: 'another port than the Service has is asked',
    on: both,
    apply: () => {},
    flow: (at) => ({ src: at.id('web', 1), dst: 'shop/svc/api', port: 8080 }),
    causes: ['service/target-port-wrong'],
    quiet: true,
  },
  {
    name: 'KUBE-SERVICES has no rule for the Service on one node',
    on: both,
    apply: (at) =>
      at.table(node(1), 'nat', (lines) =>
        lines.filter((line) => !/-A KUBE-SERVICES .*shop\/api:http cluster IP/.test(line)),
      ),
    flow: viaService,
    causes: ['service/rules-missing'],
    works: (at) => [{ ...viaService(at), src: at.id('web', 2) }],
  },
  {
    name: 'nothing jumps to KUBE-SERVICES any more',
    on: both,
    apply: (at) =>
      at.table(node(1), 'nat', (lines) =>
        lines.filter((line) => !/-A (PREROUTING|OUTPUT) .*-j KUBE-SERVICES/.test(line)),
      ),
    flow: viaService,
    causes: ['service/rules-missing'],
    works: (at) => [{ ...viaService(at), src: at.id('web', 2) }],
  },
  {
    name: 'all KUBE chains of nat are gone on one node',
    on: both,
    apply: (at) => at.table(node(1), 'nat', (lines) => lines.filter((line) => !line.includes('KUBE-'))),
    flow: viaService,
    causes: ['service/rules-missing'],
    works: (at) => [{ ...viaService(at), src: at.id('web', 2) }],
  },
  {
    name: 'all rules were flushed on one node',
    on: both,
    apply: (at) =>
      at.text(`${node(1)}/iptables-save.txt`, (text) =>
        text
          .split('\n')
          .filter((line) => !line.includes('KUBE-'))
          .join('\n'),
      ),
    flow: (at) => byName(at),
    causes: ['service/rules-missing'],
    works: (at) => [webToApi(at)],
    scanToo: ['policy/not-enforced', 'cni/agent-not-ready'],
  },
  {
    name: 'one node’s kube-proxy still leads to an address that is gone',
    on: both,
    apply: (at) =>
      at.text(`${node(1)}/iptables-save.txt`, (text) =>
        text
          .replaceAll(`${at.ip('api', 3)}:8080`, '10.244.3.99:8080')
          .replaceAll(
            /-s 10\.244\.3\.\d+\/32 (-m comment --comment "shop\/api:http")/g,
            '-s 10.244.3.99/32 $1',
          ),
      ),
    flow: viaService,
    causes: ['service/rules-stale'],
    works: (at) => [{ ...viaService(at), src: at.id('web', 2) }, webToApi(at)],
  },
  {
    name: 'one node’s kube-proxy still leads to another application’s address',
    on: both,
    apply: (at) =>
      at.text(`${node(1)}/iptables-save.txt`, (text) =>
        text.replaceAll(
          `--to-destination ${at.ip('api', 3)}:8080`,
          `--to-destination ${at.ip('web', 3)}:8080`,
        ),
      ),
    flow: viaService,
    meets: 'refused',
    causes: ['service/rules-stale'],
    works: (at) => [{ ...viaService(at), src: at.id('web', 2) }],
  },
  {
    name: 'local traffic policy without a local endpoint',
    on: both,
    apply: (at) => {
      at.one('services', 'shop/db', (service) => {
        service.spec.internalTrafficPolicy = 'Local';
      });
      for (const n of [1, 3]) {
        at.table(node(n), 'nat', (lines) =>
          lines.filter((line) => !/KUBE-SVC-YXV5H5BMJ7R44KSX|KUBE-SEP-IWUMWMZUJQMWMZHF/.test(line)),
        );
        at.rule(
          node(n),
          'filter',
          '-A KUBE-SERVICES -d 10.96.61.238/32 -p tcp -m comment --comment "shop/db has no local endpoints" -m tcp --dport 5432 -j DROP',
        );
      }
    },
    flow: (at) => ({ src: at.id('web', 1), dst: 'shop/svc/db', port: 5432 }),
    causes: ['service/affinity-or-traffic-policy'],
    works: (at) => [{ src: at.id('web', 2), dst: 'shop/svc/db', port: 5432 }],
    quiet: true,
  },
  {
    name: 'a pod that calls its own Service, without masquerading',
    on: both,
    apply: (at) => {
      at.table(node(1), 'nat', (lines) =>
        lines.filter((line) => !/-A KUBE-SEP-\S+ -s .*shop\/api:http.*-j KUBE-MARK-MASQ/.test(line)),
      );
    },
    flow: (at) => ({ src: at.id('api', 1), dst: 'shop/svc/api', port: 80 }),
    causes: ['service/hairpin'],
    works: (at) => [viaService(at)],
    quiet: true,
  },
  {
    name: 'a pod that calls its own Service over a bridge port without hairpin',
    on: both,
    apply: (at) => {
      at.links(node(1), (link) => {
        if (link.linkinfo?.info_slave_data) link.linkinfo.info_slave_data.hairpin = false;
      });
      at.text(`${node(1)}/bridge-link.json`, (text) =>
        text.replaceAll(/"hairpin": ?true/g, '"hairpin":false'),
      );
    },
    flow: (at) => ({ src: at.id('api', 1), dst: 'shop/svc/api', port: 80 }),
    causes: ['service/hairpin'],
    works: (at) => [viaService(at)],
    quiet: true,
  },
];
