/** What could not be seen or understood. Every gap says how to fill it. */
export interface Gap {
  /** What is missing: `iptables rules of node2`. */
  readonly what: string;
  /** Where it would stand: a snapshot path, an object, a node. */
  readonly where: string;
  readonly why: string;
  /** The command or step that would fill the gap. */
  readonly todo: string;
}
