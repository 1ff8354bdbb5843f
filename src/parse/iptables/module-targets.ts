/** Targets that act on tracking, sets and sockets. */
import type { SetOperation } from '../../model/match-modules.ts';
import type { Target } from '../../model/netfilter.ts';
import { type Family, parseAddress } from '../../net/address.ts';
import { readU32, readValueMask } from './numbers.ts';
import { type Section, sectionText } from './options.ts';

/** The first of --zone, --zone-orig and --zone-reply counts; without any the connection is in the default zone. */
export function readCt(section: Section): Target | undefined {
  const { options } = section;
  if (options.length === 1 && options[0]?.name === '--notrack') return { kind: 'notrack' };
  const known = [
    '--helper',
    '--ctevents',
    '--expevents',
    '--timeout',
    '--zone',
    '--zone-orig',
    '--zone-reply',
  ];
  if (options.length === 0 || !options.every(({ name, negate }) => known.includes(name) && !negate))
    return undefined;
  const zones = options.filter(({ name }) => name.startsWith('--zone'));
  const [zone] = zones;
  const helper = options.find(({ name }) => name === '--helper')?.values[0];
  const word = zone?.values[0];
  const id = word === 'mark' ? word : readU32(word);
  if (zones.length > 1 || (zone !== undefined && (id === undefined || (id !== 'mark' && id > 0xffff))))
    return undefined;
  const directions = { '--zone': 'both', '--zone-orig': 'original', '--zone-reply': 'reply' } as const;
  const direction =
    zone?.name === '--zone-orig' || zone?.name === '--zone-reply' ? directions[zone.name] : 'both';
  return {
    kind: 'ct-template',
    text: sectionText(section),
    ct: {
      ...(id === undefined ? {} : { zone: { id, direction } }),
      ...(helper === undefined ? {} : { helper }),
    },
  };
}

const setHow: Readonly<Record<string, SetOperation['how']>> = {
  '--add-set': 'add',
  '--del-set': 'del',
  '--map-set': 'map',
};

/** --exist and --timeout change how long an element stays, which no packet of one walk can tell. */
export function readSetTarget(section: Section): Target | undefined {
  const text = sectionText(section);
  const acts = section.options.filter(({ name }) => Object.hasOwn(setHow, name));
  const [act] = acts;
  const how = setHow[act?.name ?? ''];
  const directions = (act?.values[1] ?? '').split(',').filter((word) => word === 'src' || word === 'dst');
  const set = act?.values[0];
  if (acts.length !== 1 || how === undefined || set === undefined || directions.length === 0)
    return undefined;
  if (how === 'map') return { kind: 'unknown', text, why: 'SET maps values of a set to the packet' };
  return { kind: 'change-set', text, operation: { how, set, directions } };
}

export function readTproxy(section: Section, family: Family): Target | undefined {
  const value = (name: string) => section.options.find((option) => option.name === name)?.values[0];
  const port = readU32(value('--on-port'));
  const ip = value('--on-ip');
  const address = ip === undefined ? undefined : parseAddress(ip);
  const mark = readValueMask(value('--tproxy-mark') ?? '0/0');
  if (port === undefined || port > 65535 || mark === undefined) return undefined;
  if (ip !== undefined && address?.family !== family) return undefined;
  const isAny = address === undefined || address.value === 0n;
  return {
    kind: 'tproxy',
    text: sectionText(section),
    proxy: { port, ...(isAny ? {} : { address }), value: mark.value, mask: mark.mask ?? 0xffffffff },
  };
}
