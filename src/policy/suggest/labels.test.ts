import { describe, expect, it } from 'vitest';
import { pod } from '../../../test/support/objects.ts';
import type { Labels, Pod } from '../../model/cluster.ts';
import { chooseLabels } from './labels.ts';

const made = (name: string, labels: Labels): Pod => pod(`shop/${name}`, '10.0.0.1', { labels });

/** The choice for the first pod, whose workload are the pods with a name of the same first letter. */
function choose(...pods: readonly (readonly [string, Labels])[]) {
  const all = pods.map(([name, labels]) => made(name, labels));
  const [first] = all;
  if (first === undefined) throw new RangeError('no pod');
  const { labels, absent, selected } = chooseLabels(first, all, ({ name }) => name[0] === first.name[0]);
  return { labels, absent, selected: selected.map(({ name }) => name).join() };
}

describe('chooseLabels', () => {
  it.each<[string, readonly (readonly [string, Labels])[], Labels, string[], string]>([
    [
      'the label that people know',
      [
        ['w1', { app: 'web', tier: 'front', 'pod-template-hash': 'a' }],
        ['x', { app: 'api', tier: 'back' }],
      ],
      { app: 'web' },
      [],
      'w1',
    ],
    [
      'another one where that does not tell them apart',
      [
        ['w1', { app: 'shop', tier: 'front' }],
        ['x', { app: 'shop', tier: 'back' }],
      ],
      { tier: 'front' },
      [],
      'w1',
    ],
    [
      'two together',
      [
        ['w1', { app: 'shop', tier: 'front' }],
        ['x', { app: 'shop', tier: 'back' }],
        ['y', { app: 'blog', tier: 'front' }],
      ],
      { app: 'shop', tier: 'front' },
      [],
      'w1',
    ],
    [
      'an absent key where the stranger has one more label',
      [
        ['w1', { app: 'web' }],
        ['x', { app: 'web', canary: 'yes' }],
      ],
      { app: 'web' },
      ['canary'],
      'w1',
    ],
    [
      'all pods of a rollout, not the hash of one ReplicaSet',
      [
        ['w1', { app: 'web', 'pod-template-hash': 'a' }],
        ['w2', { app: 'web', 'pod-template-hash': 'b' }],
        ['x', { app: 'api' }],
      ],
      { app: 'web' },
      [],
      'w1,w2',
    ],
    [
      'a stranger that only a hash tells apart comes along',
      [
        ['w1', { app: 'web', 'pod-template-hash': 'a' }],
        ['x', { app: 'web', 'pod-template-hash': 'b' }],
      ],
      { app: 'web' },
      [],
      'w1,x',
    ],
    [
      'a hash where there is nothing else',
      [
        ['w1', { 'pod-template-hash': 'a' }],
        ['x', { 'pod-template-hash': 'b' }],
      ],
      { 'pod-template-hash': 'a' },
      [],
      'w1',
    ],
    [
      'a label even where the pod is alone',
      [['w1', { app: 'web', tier: 'front' }]],
      { app: 'web' },
      [],
      'w1',
    ],
    ['nothing for a pod without labels', [['w1', {}]], {}, [], 'w1'],
    [
      'its own pods only, where the workload cannot be told from a stranger',
      [
        ['w1', { app: 'web', v: '1' }],
        ['w2', { app: 'web', v: '2' }],
        ['x', { app: 'web', v: '3' }],
      ],
      { v: '1' },
      [],
      'w1',
    ],
  ])('%s', (_, pods, labels, absent, selected) => {
    expect(choose(...pods)).toEqual({ labels, absent, selected });
  });
});
