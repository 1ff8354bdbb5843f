/** Chains below IP: of devices (netdev, and ingress of inet), and of bridges. They see the packet before or after all IP hooks. */
import type { HookName } from '../../../model/netfilter.ts';
import type { NftBaseChain, NftTable } from '../../../model/nft.ts';
import type { HookContext, HookOutcome } from '../context.ts';
import type { Next, Run, State } from '../state.ts';
import { runNftBase } from './interpret.ts';
import type { NftBase } from './position.ts';

/** One base chain, ready to run. */
export interface FrameChain {
  readonly priority: number;
  readonly age: readonly [table: number, chain: number];
  readonly start: (run: Run, state: State, next: Next) => readonly HookOutcome[];
}

/** Among equals the chain registered last runs first (nf_hook_entries_grow). */
const inOrder = (a: FrameChain, b: FrameChain): number =>
  a.priority - b.priority || b.age[0] - a.age[0] || b.age[1] - a.age[1];

const isEmpty = (table: NftTable, base: NftBaseChain): boolean =>
  (table.chains.get(base.name)?.rules.length ?? 0) === 0 && base.policy === 'accept';

/** Base chains of the tables that `wanted` takes, in the order in which they run. */
function chainsAt(
  tables: readonly NftTable[],
  hook: HookName,
  wanted: (table: NftTable, base: NftBaseChain) => boolean,
  start: (base: NftBase) => FrameChain['start'],
): readonly FrameChain[] {
  const found = tables.flatMap((nft) =>
    nft.dormant === 'yes'
      ? []
      : nft.baseChains.flatMap((definition): FrameChain[] => {
          const chain = nft.chains.get(definition.name);
          if (chain === undefined || isEmpty(nft, definition) || !wanted(nft, definition)) return [];
          const table = { name: `${nft.family} ${nft.name}` };
          const base: NftBase = { backend: 'nftables', file: nft.file, hook, table, chain, definition, nft };
          const { priority, handle } = definition;
          return [{ priority, age: [nft.handle, handle], start: start(base) }];
        }),
  );
  return found.sort(inOrder);
}

/** nf_ingress runs before PREROUTING on the device that the packet comes by, nf_hook_egress after POSTROUTING. */
export function deviceChains(tables: readonly NftTable[], hook: HookName): readonly FrameChain[] {
  const at = hook === 'prerouting' ? 'ingress' : hook === 'postrouting' ? 'egress' : undefined;
  if (at === undefined) return [];
  return chainsAt(
    tables,
    hook,
    ({ family }, base) => base.hook === at && (family === 'netdev' || family === 'inet'),
    (base) => (run, state, next) => {
      const context = onDevice(run.context, at, base.definition);
      return context === undefined ? next(state) : runNftBase({ ...run, context }, base, state, next);
    },
  );
}

/** The packet's own device, which may be a port of a bridge; undefined if the chain is not bound to it. */
function onDevice(
  context: HookContext,
  at: 'ingress' | 'egress',
  { devices, devicesUnknown }: NftBaseChain,
): HookContext | undefined {
  const own = at === 'ingress' ? [context.physIn, context.inDevice] : [context.physOut, context.outDevice];
  const device = own.find(
    (name) => name !== undefined && (devicesUnknown === true || devices.includes(name)),
  );
  if (device === undefined) return undefined;
  return at === 'ingress'
    ? { ...context, inDevice: device, outDevice: undefined }
    : { ...context, outDevice: device };
}

/** Chains of the bridge family: they see every frame that a bridge handles, whether or not IP hooks do. */
export const bridgeChains = (tables: readonly NftTable[], hook: HookName): readonly FrameChain[] =>
  chainsAt(
    tables,
    hook,
    ({ family }, base) => family === 'bridge' && base.hook === hook,
    (base) => (run, state, next) => runNftBase(run, base, state, next),
  );
