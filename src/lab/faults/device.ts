/** Takes down a record of a tunnel device, and brings the device back as it was: the kernel forgets much when one goes down. */

import { bridgeBatch, inNetns, ipBatch, must } from '../run.ts';
import type { LabNode } from '../state.ts';
import type { FaultArgs } from './fault.ts';
import type { FdbJson } from './kernel.ts';
import { onNode, words } from './kernel.ts';

interface LinkJson {
  readonly ifindex: number;
  readonly address: string;
  readonly mtu: number;
  readonly linkinfo?: {
    readonly info_data?: {
      readonly id: number;
      readonly link: string;
      readonly local: string;
      readonly port: number;
      readonly learning: boolean;
    };
  };
}

interface AddressJson {
  readonly addr_info?: readonly {
    readonly local: string;
    readonly prefixlen: number;
    readonly scope: string;
  }[];
}

interface NeighbourJson {
  readonly dst: string;
  readonly lladdr: string;
}

/** Values: `create` makes the device, `ip` and `fdb` are batch lines for what hangs on it, `sysctl` its settings. */
export async function captureDevice(node: LabNode, device: string): Promise<FaultArgs> {
  const json = async <T>(...argv: string[]): Promise<T> => JSON.parse(await onNode(node, ...argv)) as T;
  const [link] = await json<LinkJson[]>('ip', '-j', '-d', 'link', 'show', 'dev', device);
  const data = link?.linkinfo?.info_data;
  const addresses = (await json<AddressJson[]>('ip', '-j', 'addr', 'show', 'dev', device))
    .flatMap(({ addr_info }) => addr_info ?? [])
    .filter(({ scope }) => scope === 'global')
    .map(
      ({ local, prefixlen }) =>
        `addr replace ${local}/${prefixlen} dev ${device}${local.includes(':') ? ' nodad' : ''}`,
    );
  const routes: string[] = [];
  const neighbours: string[] = [];
  for (const family of ['-4', '-6']) {
    const shown = (await onNode(node, 'ip', family, 'route', 'show')).split('\n').map(words);
    // Routes of the kernel come back with the addresses.
    const own = shown.filter(
      (line) => line[line.indexOf('dev') + 1] === device && !line.join(' ').includes('proto kernel'),
    );
    routes.push(
      ...own.map(
        (line) => `route replace ${line.filter((word) => word !== 'linkdown' && word !== 'dead').join(' ')}`,
      ),
    );
    const known = await json<NeighbourJson[]>(
      'ip',
      family,
      '-j',
      'neigh',
      'show',
      'dev',
      device,
      'nud',
      'permanent',
    );
    neighbours.push(
      ...known.map(({ dst, lladdr }) => `neigh replace ${dst} lladdr ${lladdr} dev ${device} nud permanent`),
    );
  }
  const fdb = (await json<FdbJson[]>('bridge', '-j', 'fdb', 'show', 'dev', device)).flatMap(
    ({ mac, dst, state }) =>
      dst === undefined || state !== 'permanent'
        ? []
        : [`fdb replace ${mac} dev ${device} dst ${dst} self permanent`],
  );
  return {
    mac: link?.address ?? '',
    create:
      link === undefined || data === undefined
        ? ''
        : `link add ${device} index ${link.ifindex} address ${link.address} mtu ${link.mtu} type vxlan id ${data.id} local ${data.local} dev ${data.link} dstport ${data.port} ${data.learning ? 'learning' : 'nolearning'}`,
    ip: [...addresses, ...routes, ...neighbours].join('\n'),
    fdb: fdb.join('\n'),
    sysctl: await settings(node, device),
  };
}

const settings = (node: LabNode, device: string): Promise<string> =>
  onNode(node, 'sysctl', '-a', '-r', `^net\\.ipv[46]\\.(conf|neigh)\\.${device.replace('.', '/')}\\.`);

/** Makes the device if it is missing, brings it up, and gives it back what it had. */
export async function restoreDevice(node: LabNode, device: string, args: FaultArgs): Promise<void> {
  const devices = JSON.parse(await onNode(node, 'ip', '-j', 'link', 'show')) as { ifname: string }[];
  const missing = !devices.some(({ ifname }) => ifname === device);
  await ipBatch(node.netns, [
    ...(missing ? [args.create ?? ''] : [`link set ${device} address ${args.mac}`]),
    `link set ${device} up`,
    ...lines(args.ip),
  ]);
  await bridgeBatch(node.netns, lines(args.fdb));
  const now = new Set(lines(await settings(node, device)));
  const changed = lines(args.sysctl).filter((setting) => !now.has(setting));
  if (changed.length > 0)
    await must(inNetns(node.netns, ['sysctl', '-q', '-e', '-p', '-']), { input: `${changed.join('\n')}\n` });
}

const lines = (text: string | undefined): string[] => (text ?? '').split('\n').filter((line) => line !== '');
