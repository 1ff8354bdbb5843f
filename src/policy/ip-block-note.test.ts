import { expect, it } from 'vitest';
import { cluster, ipBlock, pod, policy, rules } from '../../test/support/objects.ts';
import { ipBlockNote } from './ip-block-note.ts';
import { defaultReading } from './options.ts';

it.each([
  [
    'covers a pod',
    ipBlock('10.0.0.0/8'),
    {},
    /covers 10\.1\.0\.2, which is pod a\/p1: .*here it does not\.$/,
  ],
  ['read as matching pods', ipBlock('10.0.0.0/8'), { ipBlockMatchesPods: true }, /here it does\.$/],
  ['excepts the lower pod', ipBlock('10.0.0.0/8', '10.1.0.0/16'), {}, /covers 10\.2\.0\.2/],
  ['excepts all pods', ipBlock('10.0.0.0/8', '10.1.0.0/16', '10.2.0.0/16'), {}, undefined],
  ['is elsewhere', ipBlock('192.168.0.0/16'), {}, undefined],
  ['is of the other family', ipBlock('::/0'), {}, undefined],
  ['is read by Cilium', ipBlock('10.0.0.0/8'), { dialect: 'cilium' }, undefined],
] as const)('an ipBlock that %s', (_, block, reading, expected) => {
  const world = cluster({
    pods: [pod('a/p2', '10.2.0.2'), pod('a/p1', '10.1.0.2')],
    networkPolicies: [policy('a/n', { ingress: rules('ingress', { peers: [block] }) })],
  });
  const note = ipBlockNote(world, { ...defaultReading, ...reading });
  if (expected === undefined) expect(note).toBeUndefined();
  else expect(note).toMatch(expected);
});
