/** Who may talk to whom, as `policy list` prints it. */

export type Party =
  | {
      /** Empty for kinds that have none. */
      readonly namespace: string;
      readonly name: string;
      /** `Deployment`, `Pod`, `IngressController`. */
      readonly kind: string;
    }
  | { readonly cidr: string };

export interface Connection {
  readonly src: Party;
  readonly dst: Party;
  readonly protocol: 'TCP' | 'UDP' | 'SCTP' | 'ICMP';
  /** `80,443-445`, or `all`. */
  readonly ports: string;
  readonly verdict: 'allow' | 'conditional';
  /** Set where the verdict is conditional: what it depends on. */
  readonly why?: string;
}

/** `shop/web[Deployment]`, `10.0.0.0/8`. */
export const partyText = (party: Party): string =>
  'cidr' in party
    ? party.cidr
    : `${party.namespace === '' ? '' : `${party.namespace}/`}${party.name}[${party.kind}]`;
