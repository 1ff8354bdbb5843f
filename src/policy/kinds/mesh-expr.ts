/** Endpoint expressions of which nobody can say for sure whether they hold: the mesh kinds' building blocks. */
import { anyEndpoint, type EndpointExpr, noEndpoint } from '../ir.ts';

/** Whom a test holds for without doubt, and whom it may hold for. The same object where there is no doubt. */
export interface Ternary {
  readonly certain: EndpointExpr;
  readonly may: EndpointExpr;
}

export const exactly = (expr: EndpointExpr): Ternary => ({ certain: expr, may: expr });
export const isExact = ({ certain, may }: Ternary): boolean => certain === may;

export const always = exactly(anyEndpoint);
export const never = exactly(noEndpoint);
export const doubtful: Ternary = { certain: noEndpoint, may: anyEndpoint };

export const trait = (name: string): EndpointExpr => ({ is: 'trait', name });

export function allOf(parts: readonly EndpointExpr[]): EndpointExpr {
  if (parts.includes(noEndpoint)) return noEndpoint;
  const left = parts.filter((part) => part !== anyEndpoint);
  const [only] = left;
  return only === undefined ? anyEndpoint : left.length === 1 ? only : { is: 'and', of: left };
}

export function anyOf(parts: readonly EndpointExpr[]): EndpointExpr {
  if (parts.includes(anyEndpoint)) return anyEndpoint;
  const left = parts.filter((part) => part !== noEndpoint);
  const [only] = left;
  return only === undefined ? noEndpoint : left.length === 1 ? only : { is: 'or', of: left };
}

export const complement = (expr: EndpointExpr): EndpointExpr =>
  expr === anyEndpoint ? noEndpoint : expr === noEndpoint ? anyEndpoint : { is: 'not', of: expr };

const joined =
  (join: (parts: readonly EndpointExpr[]) => EndpointExpr) =>
  (parts: readonly Ternary[]): Ternary => {
    const certain = join(parts.map((part) => part.certain));
    return parts.every(isExact) ? exactly(certain) : { certain, may: join(parts.map((part) => part.may)) };
  };

export const both = joined(allOf);
export const some = joined(anyOf);

export function opposite(of: Ternary): Ternary {
  const may = complement(of.certain);
  return isExact(of) ? exactly(may) : { certain: complement(of.may), may };
}

/** What holds where nobody knows which of the two readings is the true one. */
export const eitherReading = (a: Ternary, b: Ternary): Ternary =>
  a === b ? a : { certain: allOf([a.certain, b.certain]), may: anyOf([a.may, b.may]) };
