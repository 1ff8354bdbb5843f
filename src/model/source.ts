/** Where a claim can be looked up. */
export type SourceRef =
  | {
      readonly kind: 'file';
      /** Path inside the snapshot, `nodes/node1/iptables-save.txt`. */
      readonly file: string;
      /** 1-based; absent where the format has no useful lines (JSON of iproute2). */
      readonly line?: number;
      /** The raw text of the line or entry. */
      readonly text: string;
    }
  | {
      readonly kind: 'object';
      /** Kubernetes kind, `NetworkPolicy`. */
      readonly object: string;
      readonly namespace?: string;
      readonly name: string;
      /** Field path, `spec.ingress[0].from[1]`. */
      readonly field?: string;
    }
  | { readonly kind: 'command'; readonly command: string; readonly output: string };

export const objectRef = (
  object: string,
  namespace: string | undefined,
  name: string,
  field?: string,
): SourceRef => ({
  kind: 'object',
  object,
  name,
  ...(namespace === undefined ? {} : { namespace }),
  ...(field === undefined ? {} : { field }),
});

/** One line for people: `nodes/node1/iptables-save.txt:12: -A FORWARD -j DROP`. */
export function formatSource(source: SourceRef): string {
  switch (source.kind) {
    case 'file':
      return `${source.file}${source.line === undefined ? '' : `:${source.line}`}: ${source.text}`;
    case 'object': {
      const name = source.namespace === undefined ? source.name : `${source.namespace}/${source.name}`;
      return `${source.object} ${name}${source.field === undefined ? '' : ` ${source.field}`}`;
    }
    case 'command':
      return `$ ${source.command} => ${source.output}`;
  }
}
