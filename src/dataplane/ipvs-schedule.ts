/** Which real server a new connection gets: net/netfilter/ipvs/ip_vs_{rr,wrr,lc,wlc,sh,dh,mh,sed,nq,fo,ovf}.c. */
import type { RealServer, VirtualServer } from '../model/ipvs.ts';

export interface Choice {
  readonly real: RealServer;
  /** Of new connections of all clients, 0..1. */
  readonly share: number;
  /** Set where the scheduler looks at more than weights. */
  readonly why?: string;
}

/** Every real server that may get a new connection; those of weight 0 get none. */
export function schedule({ scheduler, persistent, servers }: VirtualServer): readonly Choice[] {
  const live = servers.filter(({ weight }) => weight > 0);
  const remark = remarkOf(scheduler, persistent);
  const taken = byWeightOnly.has(scheduler) ? [heaviest(live)].flat() : live;
  const total = taken.reduce((sum, server) => sum + portion(scheduler, server), 0);
  return taken.map((real) => ({
    real,
    share: portion(scheduler, real) / total,
    ...(remark === undefined ? {} : { why: remark }),
  }));
}

/** ip_vs_rr and ip_vs_lc ask no more of a weight than that it is not 0. */
const portion = (scheduler: string, { weight }: RealServer): number =>
  scheduler === 'rr' || scheduler === 'lc' ? 1 : weight;

/** ip_vs_fo_schedule(): the highest weight takes all. */
const byWeightOnly = new Set(['fo']);

const heaviest = (servers: readonly RealServer[]): readonly RealServer[] => {
  const [first, ...others] = servers;
  if (first === undefined) return [];
  return [others.reduce((best, one) => (one.weight > best.weight ? one : best), first)];
};

function remarkOf(scheduler: string, persistent: boolean): string | undefined {
  if (persistent)
    return 'the IPVS service is persistent: a client that was there before keeps its real server';
  switch (scheduler) {
    case 'rr':
    case 'wrr':
    case 'fo':
      return undefined;
    case 'sh':
    case 'mh':
      return `the IPVS scheduler ${scheduler} sends one client always to the same real server`;
    case 'dh':
      return 'the IPVS scheduler dh sends one address always to the same real server';
    default:
      return `the IPVS scheduler ${scheduler} looks at the load of the moment: shares are those of the weights`;
  }
}
