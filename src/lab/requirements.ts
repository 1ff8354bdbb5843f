/** What the host must offer before a lab is built. */
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { PodpathError } from '../model/errors.ts';
import { hasIpv6 } from './build.ts';
import { cnis } from './cni/cnis.ts';
import type { LabState } from './state.ts';

/** Tool -> Debian package. */
const tools: Readonly<Record<string, string>> = {
  ip: 'iproute2',
  bridge: 'iproute2',
  ss: 'iproute2',
  'iptables-restore': 'iptables',
  'ip6tables-restore': 'iptables',
  ipset: 'ipset',
  conntrack: 'conntrack',
  nft: 'nftables',
  ethtool: 'ethtool',
  ping: 'iputils-ping',
  sysctl: 'procps',
  python3: 'python3',
};

const allPackages = [...new Set(Object.values(tools))].join(' ');

/** Throws PodpathError naming what is missing and how to get it. */
export function requireLabHost({ cni, families }: LabState): void {
  if (process.platform !== 'linux') {
    throw new PodpathError({
      code: 'lab/no-linux',
      what: 'a lab cannot be built here',
      why: `it is made of Linux network namespaces, and this is ${process.platform}`,
      todo: 'use a Linux machine or virtual machine, or diagnose a recorded snapshot with -s PATH',
    });
  }
  if (process.getuid?.() !== 0) {
    throw new PodpathError({
      code: 'lab/no-root',
      what: 'a lab cannot be built by this user',
      why: 'making network namespaces needs root',
      todo: 'run it with sudo, or diagnose a recorded snapshot with -s PATH',
    });
  }
  const missing = Object.keys(tools).filter((tool) => !onPath(tool));
  if (missing.length > 0) {
    throw new PodpathError({
      code: 'lab/missing-tools',
      what: 'a lab cannot be built on this host',
      why: `these programs are missing: ${missing.join(', ')}`,
      todo: `apt-get install ${allPackages}`,
    });
  }
  if (cnis[cni].bridged && !existsSync('/proc/sys/net/bridge/bridge-nf-call-iptables')) {
    throw new PodpathError({
      code: 'lab/no-br-netfilter',
      what: `a lab with ${cni} cannot be built on this host`,
      why: 'the kernel module br_netfilter is not loaded, so rules would not see traffic between pods of one node',
      todo: 'run: modprobe br_netfilter (or use --cni calico-vxlan, which has no bridge)',
    });
  }
  if (families.includes(6) && !hasIpv6()) {
    throw new PodpathError({
      code: 'lab/no-ipv6',
      what: 'a dual-stack lab cannot be built on this host',
      why: 'its kernel has no IPv6',
      todo: 'leave --dual-stack out, or start the kernel without ipv6.disable=1',
    });
  }
}

function onPath(tool: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((dir) => {
    try {
      accessSync(join(dir, tool), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
