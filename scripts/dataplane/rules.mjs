// Rules in bulk: kube-proxy's in both modes, and chains per pod as network policy agents write them.
import { renderKubeProxy } from '../../src/lab/kubeproxy.ts';
import { chainHash } from '../../src/lab/kubeproxy-names.ts';
import { address } from '../../src/net/address.ts';
import { prefix } from '../../src/net/prefix.ts';

const clusterCidr = '10.244.0.0/16';

/** What the lab's own kube-proxy writes; without built-in chains. */
export function proxyRules(services) {
  const objects = {
    services: services.map((service) => ({
      namespace: 'shop',
      name: service.name,
      type: 'ClusterIP',
      clusterIps: [address(service.address)],
      headless: false,
      ports: [{ name: 'http', port: 80, protocol: 'TCP', targetPort: 8080 }],
      internalTrafficPolicy: 'Cluster',
    })),
    endpointSlices: services.map((service) => ({
      namespace: 'shop',
      name: `${service.name}-x`,
      service: service.name,
      ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
      endpoints: service.endpoints.map((pod) => ({
        addresses: [address(pod.address)],
        ready: true,
        serving: true,
        terminating: false,
        node: pod.node,
      })),
    })),
  };
  const options = { node: 'node1', families: [4], clusterCidrs: [prefix(clusterCidr)], nfacct: true };
  return renderKubeProxy(objects, options).v4;
}

const daddr = { payload: { protocol: 'ip', field: 'daddr' } };
const saddr = { payload: { protocol: 'ip', field: 'saddr' } };
const l4proto = { meta: { key: 'l4proto' } };
const dport = { payload: { protocol: 'th', field: 'dport' } };
const mark = { meta: { key: 'mark' } };
const match = (op, left, right) => ({ match: { op, left, right } });

/** The table `ip kube-proxy` of nftables mode, as `nft -j list ruleset` prints it. */
export function proxyTables(services) {
  const table = { family: 'ip', table: 'kube-proxy' };
  let handle = 1;
  const out = [
    { metainfo: { version: '1.0.9', json_schema_version: 1 } },
    { table: { family: 'ip', name: 'kube-proxy', handle } },
  ];
  const chain = (name, base = {}) => out.push({ chain: { ...table, name, handle: ++handle, ...base } });
  const rule = (name, ...expr) => rules.push({ rule: { ...table, chain: name, handle: ++handle, expr } });
  const set = (kind, name, type, elem, more = {}) =>
    out.push({ [kind]: { ...table, name, type, handle: ++handle, elem, ...more } });
  const rules = [];
  const chainOf = ({ name }) => `service-${chainHash(name).slice(0, 8)}-shop/${name}/tcp/http`;
  const endpoint = ['ipv4_addr', 'inet_proto', 'inet_service'];
  const hairpins = new Map(services.flatMap(({ endpoints }) => endpoints.map((pod) => [pod.address, pod])));
  const hairpin = [...hairpins.keys()].map((ip) => ({ concat: [ip, ip, 'tcp', 8080] }));
  set('set', 'hairpin-connections', ['ipv4_addr', ...endpoint], hairpin);
  set(
    'set',
    'cluster-ips',
    'ipv4_addr',
    services.map((service) => service.address),
  );
  for (const name of ['no-endpoint-services', 'firewall-ips'])
    set('map', name, endpoint, [], { map: 'verdict' });
  const ends = services.map((service) => [
    { concat: [service.address, 'tcp', 80] },
    { goto: { target: chainOf(service) } },
  ]);
  set('map', 'service-ips', endpoint, ends, { map: 'verdict' });
  const base = (name, type, hook, prio) => chain(name, { type, hook, prio, policy: 'accept' });
  base('filter-prerouting-pre-dnat', 'filter', 'prerouting', -110);
  base('filter-output-pre-dnat', 'filter', 'output', -110);
  base('filter-input', 'filter', 'input', 0);
  base('filter-forward', 'filter', 'forward', 0);
  base('filter-output', 'filter', 'output', 0);
  base('nat-prerouting', 'nat', 'prerouting', -100);
  base('nat-output', 'nat', 'output', -100);
  base('nat-postrouting', 'nat', 'postrouting', 100);
  for (const name of [
    'service-endpoints-check',
    'firewall-check',
    'services',
    'masquerading',
    'cluster-ips-check',
  ])
    chain(name);
  for (const service of services) chain(chainOf(service));
  const isNew = match('in', { ct: { key: 'state' } }, 'new');
  const key = { concat: [daddr, l4proto, dport] };
  for (const name of ['filter-prerouting-pre-dnat', 'filter-output-pre-dnat'])
    rule(name, isNew, { jump: { target: 'firewall-check' } });
  for (const name of ['filter-input', 'filter-forward', 'filter-output'])
    rule(name, isNew, { jump: { target: 'service-endpoints-check' } });
  for (const name of ['filter-forward', 'filter-output'])
    rule(name, isNew, { jump: { target: 'cluster-ips-check' } });
  for (const name of ['nat-prerouting', 'nat-output']) rule(name, { jump: { target: 'services' } });
  rule('nat-postrouting', { jump: { target: 'masquerading' } });
  rule('service-endpoints-check', { vmap: { key, data: '@no-endpoint-services' } });
  rule('firewall-check', { vmap: { key, data: '@firewall-ips' } });
  const outside = match('!=', saddr, { prefix: { addr: '10.244.0.0', len: 16 } });
  rule('services', match('==', daddr, '@cluster-ips'), outside, {
    mangle: { key: mark, value: { '|': [mark, 0x4000] } },
  });
  rule('services', { vmap: { key, data: '@service-ips' } });
  const masquerade = { masquerade: { flags: 'fully-random' } };
  rule(
    'masquerading',
    match('!=', { '&': [mark, 0x4000] }, 0),
    { mangle: { key: mark, value: { '^': [mark, 0x4000] } } },
    masquerade,
  );
  const pair = { concat: [saddr, daddr, l4proto, dport] };
  rule(
    'masquerading',
    match('in', { ct: { key: 'status' } }, 'dnat'),
    match('==', pair, '@hairpin-connections'),
    masquerade,
  );
  rule('cluster-ips-check', match('==', daddr, '@cluster-ips'), {
    reject: { type: 'icmp', expr: 'port-unreachable' },
  });
  rule('cluster-ips-check', match('==', daddr, { prefix: { addr: '10.96.0.0', len: 12 } }), { drop: null });
  for (const service of services) {
    const data = { set: service.endpoints.map((pod, i) => [i, { concat: [pod.address, 8080] }]) };
    const numgen = { numgen: { mode: 'random', mod: service.endpoints.length, offset: 0 } };
    rule(chainOf(service), match('==', l4proto, 'tcp'), {
      dnat: { family: 'ip', addr: { map: { key: numgen, data } } },
    });
  }
  return JSON.stringify({ nftables: [...out, ...rules] });
}

/** Chains of kube-router's shape: a jump to each pod's own chain by either of its addresses, sets of peers, a mark that says allowed. */
export function policyRules(pods) {
  const rules = ['-A FORWARD -j KUBE-ROUTER-FORWARD'];
  const chains = ['KUBE-ROUTER-FORWARD'];
  const sets = [];
  for (const pod of pods) {
    const id = chainHash(pod.name);
    const [own, policy, set] = [`KUBE-POD-FW-${id}`, `KUBE-NWPLCY-${id}`, `KUBE-SRC-${id}`];
    chains.push(own, policy);
    const about = (text) => `-m comment --comment "${text}"`;
    const jump = about(
      `rule to jump traffic destined to POD name:${pod.name} namespace: shop to chain ${own}`,
    );
    rules.push(
      `-A KUBE-ROUTER-FORWARD -d ${pod.address}/32 ${jump} -j ${own}`,
      `-A KUBE-ROUTER-FORWARD -d ${pod.address}/32 -m physdev --physdev-is-bridged ${jump} -j ${own}`,
      `-A KUBE-ROUTER-FORWARD -s ${pod.address}/32 ${jump} -j ${own}`,
      `-A ${own} ${about('rule for stateful firewall for pod')} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
      `-A ${own} ${about('run through nw policy allow-all')} -j ${policy}`,
      `-A ${own} ${about('rule to REJECT traffic without a mark')} -m mark ! --mark 0x10000/0x10000 -j REJECT --reject-with icmp-port-unreachable`,
      `-A ${own} ${about('set mark to ACCEPT traffic that comply to network policies')} -j MARK --set-xmark 0x20000/0x20000`,
      `-A ${policy} -m set --match-set ${set} src ${about('rule to ACCEPT traffic from source pods')} -j MARK --set-xmark 0x10000/0x10000`,
      `-A ${policy} -s ${pod.address}/32 ${about('rule to ACCEPT traffic of the pod itself')} -j MARK --set-xmark 0x10000/0x10000`,
    );
    sets.push(`create ${set} hash:ip family inet hashsize 1024 maxelem 65536`);
    for (const peer of pods) sets.push(`add ${set} ${peer.address}`);
  }
  const heads = chains.map((name) => `:${name} - [0:0]\n`).join('');
  return {
    filter: heads + rules.map((rule) => `${rule}\n`).join(''),
    sets: sets.map((line) => `${line}\n`).join(''),
  };
}
