/** What the nodes say about themselves. */
import { objectRef } from '../model/source.ts';
import { declared, defineCheck, nodeSubject } from './check.ts';

export const nodes = defineCheck({
  id: 'nodes',
  title: 'Nodes are ready and have their network',
  causes: ['node/not-ready', 'node/network-unavailable'],
  run: ({ snapshot, need }) =>
    (need(snapshot.cluster.nodes) ?? []).flatMap((node) => {
      const bad = [
        { type: 'Ready', wanted: 'True', cause: 'node/not-ready' as const },
        // Set by cloud controllers and some CNIs only; absent is healthy.
        { type: 'NetworkUnavailable', wanted: 'False', cause: 'node/network-unavailable' as const },
      ];
      return bad.flatMap(({ type, wanted, cause }) => {
        const condition = node.conditions[type];
        if (condition === undefined || condition.status === wanted) return [];
        return [
          {
            cause,
            severity: 'error' as const,
            subject: nodeSubject(node.name),
            concerns: [],
            statement: `${node.name}: ${type} is ${condition.status} (${condition.reason})`,
            evidence: [
              declared(
                condition.message === '' ? condition.reason : condition.message,
                objectRef('Node', undefined, node.name, `status.conditions[${type}]`),
              ),
            ],
          },
        ];
      });
    }),
});
