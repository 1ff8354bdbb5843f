/** nft's JSON back in nft's own words, as `nft -a list ruleset` shows the rule. Parts without words stay JSON. */
import { entryText, isObject, type JsonObject } from '../json.ts';

/** `ip daddr @cluster-ips reject # handle 38`. */
export function printRule(
  expressions: readonly unknown[],
  comment: string | undefined,
  handle: number,
): string {
  const words = expressions.map((entry) => printStatement(entry));
  if (comment !== undefined) words.push(`comment "${comment}"`);
  return `${words.join(' ')} # handle ${handle}`;
}

const maxDepth = 24;

function printStatement(json: unknown): string {
  if (!isObject(json)) return entryText(json);
  const [name, value] = Object.entries(json)[0] ?? ['', undefined];
  if (value === null) return name;
  if (!isObject(value)) return entryText(json);
  switch (name) {
    case 'match': {
      const op = value.op === '==' || value.op === 'in' ? '' : `${String(value.op)} `;
      return `${print(value.left)} ${op}${print(value.right)}`;
    }
    case 'jump':
    case 'goto':
      return `${name} ${String(value.target)}`;
    case 'vmap':
      return `${print(value.key)} vmap ${print(value.data)}`;
    case 'mangle':
      return `${print(value.key)} set ${print(value.value)}`;
    case 'reject':
      return value.type === undefined
        ? 'reject'
        : `reject with ${[value.type, value.expr].filter(isWord).join(' ')}`;
    case 'dnat':
    case 'snat':
    case 'masquerade':
    case 'redirect':
      return printNat(name, value);
    case 'counter':
      return `counter packets ${String(value.packets)} bytes ${String(value.bytes)}`;
    case 'limit':
      return `limit rate ${String(value.rate)}/${String(value.per)}`;
    case 'log':
      return `log${value.prefix === undefined ? '' : ` prefix "${String(value.prefix)}"`}`;
    case 'xt':
      return `xt ${String(value.type)} "${String(value.name)}"`;
    default:
      return entryText(json);
  }
}

const isWord = (value: unknown): value is string => typeof value === 'string';

function printNat(name: string, value: JsonObject): string {
  const to = `${value.addr === undefined ? '' : print(value.addr)}${value.port === undefined ? '' : `:${print(value.port)}`}`;
  const flags = Array.isArray(value.flags) ? value.flags.filter(isWord).join(',') : value.flags;
  return [name, to === '' ? '' : `to ${to}`, isWord(flags) ? flags : '']
    .filter((word) => word !== '')
    .join(' ');
}

function print(json: unknown, depth = 0): string {
  const inner = (value: unknown): string => print(value, depth + 1);
  if (depth > maxDepth) return '...';
  if (typeof json === 'string' || typeof json === 'number' || typeof json === 'boolean') return String(json);
  if (Array.isArray(json)) return json.map(inner).join(',');
  if (!isObject(json)) return entryText(json);
  const [name, value] = Object.entries(json)[0] ?? ['', undefined];
  if (Array.isArray(value)) {
    if (name === 'concat') return value.map(inner).join(' . ');
    if (name === 'range') return value.map(inner).join('-');
    if (name === 'set')
      return `{ ${value.map((element) => (Array.isArray(element) ? `${inner(element[0])} : ${printData(element[1], depth)}` : inner(element))).join(', ')} }`;
    return value.map(inner).join(` ${name} `);
  }
  if (!isObject(value)) return entryText(json);
  switch (name) {
    case 'payload':
      return value.field === undefined
        ? `@${String(value.base)},${String(value.offset)},${String(value.len)}`
        : `${String(value.protocol)} ${String(value.field)}`;
    case 'meta':
      return ['iifname', 'oifname', 'iif', 'oif'].includes(String(value.key))
        ? String(value.key)
        : `meta ${String(value.key)}`;
    case 'ct':
      return ['ct', value.dir, value.key].filter(isWord).join(' ');
    case 'fib':
      return `fib ${Array.isArray(value.flags) ? value.flags.map(String).join(' . ') : String(value.flags)} ${String(value.result)}`;
    case 'prefix':
      return `${inner(value.addr)}/${String(value.len)}`;
    case 'elem':
      return inner(value.val);
    case 'map':
      return `${inner(value.key)} map ${inner(value.data)}`;
    case 'numgen':
      return `numgen ${String(value.mode)} mod ${String(value.mod)}`;
    case 'jhash':
      return `jhash ${inner(value.expr)} mod ${String(value.mod)}`;
    default:
      return entryText(json);
  }
}

/** The right side of a map's element: a value, or a verdict. */
function printData(json: unknown, depth: number): string {
  if (!isObject(json)) return print(json, depth + 1);
  const [name, value] = Object.entries(json)[0] ?? ['', undefined];
  if (value === null) return name;
  return isObject(value) && typeof value.target === 'string'
    ? `${name} ${value.target}`
    : print(json, depth + 1);
}
