/** What stands in for objects that could not be read: never "there are none". */
import { everyPort } from '../net/port-set.ts';
import { anyEndpoint, type Condition, kinds, type LoweredDirection, type LoweredPolicy } from './ir.ts';

/** A policy that may allow and may deny everything, in place of a kind whose objects are not known: every verdict it touches is conditional. */
export function unknownPolicies(kind: string, why: string): LoweredPolicy {
  const condition: Condition = { code: 'not-collected', text: `the ${kind} objects are not known: ${why}` };
  const ports = { set: everyPort, named: [] };
  const direction: LoweredDirection = {
    isolates: false,
    rules: [
      { action: 'allow', peer: anyEndpoint, ports, condition, field: '' },
      { action: 'deny', peer: anyEndpoint, ports, condition, field: '' },
    ],
  };
  return {
    id: { kind, name: '(not known)' },
    subject: kinds('pod'),
    condition,
    ingress: direction,
    egress: direction,
  };
}
