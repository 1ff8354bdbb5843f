/** ipsets by content: each is made once, named by what it holds and whom it serves. */
import type { Family } from '../net/address.ts';
import { covers, formatPrefix, makePrefix, type Prefix } from '../net/prefix.ts';
import { chainHash } from './kubeproxy-names.ts';

export class PolicySets {
  readonly #sets = new Map<string, string[]>();

  /** Name of the set of these host addresses. `what` is unique to its use: `payments/allow ingress 0 pods`. */
  hosts(side: 'src' | 'dst', what: string, family: Family, addresses: readonly string[]): string {
    return this.#set(
      side,
      what,
      family,
      'hash:ip',
      addresses.map((address) => `${address} timeout 0`),
    );
  }

  /** Name of the set of a block without its exceptions. One set a block: another block may admit what this one excepts. */
  block(side: 'src' | 'dst', what: string, cidr: Prefix, except: readonly Prefix[]): string {
    const holes = except.filter((hole) => hole.family === cidr.family).flatMap(halves);
    const whole = halves(cidr).filter((part) => !holes.some((hole) => covers(hole, part)));
    return this.#set(side, what, cidr.family, 'hash:net', [
      ...whole.map((part) => `${formatPrefix(part)} timeout 0`),
      ...[...new Set(holes.map(formatPrefix))].map((hole) => `${hole} timeout 0 nomatch`),
    ]);
  }

  #set(side: 'src' | 'dst', what: string, family: Family, type: string, entries: readonly string[]): string {
    const name = `${family === 6 ? 'inet6:' : ''}KUBE-${side.toUpperCase()}-${chainHash(`${what} ${side} ${family}`)}`;
    const inet = family === 6 ? 'inet6' : 'inet';
    this.#sets.set(name, [
      `create ${name} ${type} family ${inet} hashsize 1024 maxelem 65536 timeout 0 -exist`,
      `flush ${name}`,
      ...entries.map((entry) => `add ${name} ${entry}`),
    ]);
    return name;
  }

  /** Text for `ipset restore`: fills existing sets anew. */
  text(): string {
    return [...this.#sets.values()].flatMap((lines) => lines.map((line) => `${line}\n`)).join('');
  }
}

/** hash:net holds no /0: the two /1 stand for it. */
function halves(block: Prefix): Prefix[] {
  if (block.length > 0) return [block];
  const top = 1n << (block.family === 4 ? 31n : 127n);
  return [makePrefix(block, 1), makePrefix({ family: block.family, value: top }, 1)];
}
