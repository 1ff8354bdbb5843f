/** Whether one expression selects a part of what another does, whatever endpoints there are. `false` where that cannot be shown. */
import { samePorts, subtractPorts, wholeProtocol } from '../../net/port-set.ts';
import { covers } from '../../net/prefix.ts';
import type { EndpointExpr, Ports, Rule } from '../ir.ts';

export function implies(part: EndpointExpr, whole: EndpointExpr): boolean {
  if (whole.is === 'any' || part.is === 'none') return true;
  if (whole.is === 'and') return whole.of.every((one) => implies(part, one));
  if (part.is === 'or') return part.of.every((one) => implies(one, whole));
  if (whole.is === 'or' && whole.of.some((one) => implies(part, one))) return true;
  if (part.is === 'and' && part.of.some((one) => implies(one, whole))) return true;
  switch (part.is) {
    case 'kind':
      return whole.is === 'kind' && part.kinds.every((kind) => whole.kinds.includes(kind));
    case 'namespace':
      return whole.is === 'namespace' && part.names.every((name) => whole.names.includes(name));
    case 'service-account':
      return whole.is === 'service-account' && part.names.every((name) => whole.names.includes(name));
    case 'trait':
      return whole.is === 'trait' && whole.name === part.name;
    case 'not':
      return whole.is === 'not' && implies(whole.of, part.of);
    case 'label':
      return (
        whole.is === 'label' && part.of === whole.of && part.key === whole.key && labelImplies(part, whole)
      );
    case 'address':
      return (
        whole.is === 'address' &&
        part.prefixes.every((one) => whole.prefixes.some((other) => covers(other, one))) &&
        whole.except.every((hole) => part.except.some((other) => covers(other, hole)))
      );
    default:
      return false;
  }
}

function labelImplies(
  { test }: EndpointExpr & { is: 'label' },
  { test: whole }: EndpointExpr & { is: 'label' },
): boolean {
  if (whole.op === 'exists') return true;
  if (test.op === 'in') {
    if (whole.op === 'in') return test.values.every((value) => whole.values.includes(value));
    return test.values.every((value) =>
      whole.op === 'contains'
        ? value.includes(whole.text)
        : whole.op === 'prefix'
          ? value.startsWith(whole.text)
          : value.endsWith(whole.text),
    );
  }
  return test.op === whole.op && 'text' in test && 'text' in whole && test.text === whole.text;
}

/** Names mean other numbers at every destination: a name is covered by itself, or by its whole protocol. */
function portsImply(part: Ports, whole: Ports): boolean {
  if (part.not !== undefined || whole.not !== undefined)
    return JSON.stringify(part) === JSON.stringify(whole);
  if (subtractPorts(part.set, whole.set).length > 0) return false;
  return part.named.every(
    ({ name, protocol }) =>
      whole.named.some((one) => one.name === name && one.protocol === protocol) ||
      coversProtocol(whole, protocol),
  );
}

const coversProtocol = ({ set }: Ports, protocol: Ports['named'][number]['protocol']): boolean =>
  samePorts(subtractPorts(wholeProtocol(protocol), set), []);

/** Whatever the first matches, the second matches too. */
export const ruleImplies = (part: Rule, whole: Rule): boolean =>
  whole.condition === undefined &&
  portsImply(part.ports, whole.ports) &&
  implies(part.peer, whole.peer) &&
  (whole.self === undefined || (part.self !== undefined && implies(part.self, whole.self)));
