/**
 * Credentials in what is kept: by the name of their field, and by their shape wherever they stand. What podpath has no use for is
 * dropped before (slim.ts); this is for the text that stays: annotations, messages, ConfigMaps, custom resources.
 */
import { isObject, type JsonObject } from '../../parse/json.ts';

export const redacted = '(redacted by podpath)';

/** Names of fields whose text is a credential: `password`, `etcd_key`, `client-secret`, `AWS_SECRET_ACCESS_KEY`. */
const secretName =
  /(password|passwd|passphrase|secret|token)$|(^|[^a-z])(pass|pwd|credentials?|authorization|cookie|(api|access|auth|private|secret|encryption|etcd|ssh|tls|client|account|signing)[-_.]?key([-_.]?data)?|access[-_.]?key[-_.]?id|sas|dsn|connection[-_.]?string)$/i;

/** `clientSecret` -> `client-Secret`: a capital begins a word. */
const split = (name: string): string => name.replace(/([a-z0-9])([A-Z])/g, '$1-$2');

/** `secretName`, `tokenFile`, `passwordKey` name a place and are no credential: the pattern wants the word at the end. */
export const isSecretName = (name: string): boolean => secretName.test(split(name));

interface Shape {
  readonly pattern: RegExp;
  readonly put: string;
}

const shapes: readonly Shape[] = [
  // Private keys of any kind, cut off ones too; certificates are public.
  {
    pattern:
      /-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----[\s\S]*?(?:-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|$)/g,
    put: redacted,
  },
  // The same in base64, as kubeconfigs hold them: `-----BEGIN ` is LS0tLS1CRUdJTi, certificates go on with BDRVJU.
  { pattern: /LS0tLS1CRUdJTi(?!BDRVJU)[A-Za-z0-9+/=_-]{20,}/g, put: redacted },
  // JSON Web Tokens: service account tokens, OIDC.
  { pattern: /\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?/g, put: redacted },
  // user:password@ in URLs; the host stays.
  { pattern: /(\b[a-z][a-z0-9+.-]*:\/\/)[^\s/@:]*:[^\s/@]+@/gi, put: `$1${redacted}@` },
  { pattern: /\b(Bearer|Basic|Negotiate)\s+[A-Za-z0-9+/._~=-]{8,}/gi, put: `$1 ${redacted}` },
  // Keys whose makers gave them a mark: AWS, GitHub, GitLab, Google, Slack, Stripe, npm, OpenAI and the like, age.
  {
    pattern:
      /\b(?:(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}|AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9_-]{20,}|xox[abeoprs]-[A-Za-z0-9-]{10,}|[rs]k_(?:live|test)_[A-Za-z0-9]{10,}|npm_[A-Za-z0-9]{30,}|sk-[A-Za-z0-9_-]{20,}|hvs\.[A-Za-z0-9_-]{20,}|AGE-SECRET-KEY-[A-Z0-9]{20,})/g,
    put: redacted,
  },
  // A token of kubeadm join.
  { pattern: /(token[=:\s]+)[a-z0-9]{6}\.[a-z0-9]{16}\b/gi, put: `$1${redacted}` },
];

/** `password: xyz`, `"clientSecret": "xyz"`, `AWS_SECRET_ACCESS_KEY=xyz`, `--token=xyz`: a name and its value inside of a text. */
const pair =
  /(["']?)([A-Za-z][A-Za-z0-9_.-]*)\1([ \t]*[:=][ \t]*)("(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[^\s,;&"'{}[\]]+)/g;

/** By shape alone: for rules, where a name before a value may be a label that the rule selects by. */
function redactShapes(text: string): string {
  let found = text;
  for (const { pattern, put } of shapes) found = found.replace(pattern, put);
  return found;
}

export function redactText(text: string): string {
  return redactShapes(text).replace(
    pair,
    (all, quote: string, name: string, between: string, value: string) => {
      if (!isSecretName(name) || value === '(redacted' || isHarmless(value)) return all;
      const mark = value[0] === '"' || value[0] === "'" ? value[0] : '';
      return `${quote}${name}${quote}${between}${mark}${redacted}${mark}`;
    },
  );
}

/** What a credential is not: empty, a switch, a number, a file. */
const isHarmless = (value: string): boolean =>
  /^["']?(|true|false|null|none|-?\d{1,6}|\/[\w./-]*|\$\{?[\w.]+\}?)["']?$/i.test(value);

/** Deep copy with every credential replaced. Keys stay: only values are secret. */
export function redact(value: unknown, name = ''): unknown {
  if (typeof value === 'string') {
    if (name !== '' && isSecretName(name) && !isHarmless(value)) return redacted;
    return redactText(value);
  }
  if (Array.isArray(value)) return value.map((item: unknown) => redact(item, name));
  if (!isObject(value)) return value;
  return redactObject(value, name);
}

/** Deep copy with the shapes of credentials replaced, names not looked at. */
export function redactRule(value: unknown): unknown {
  if (typeof value === 'string') return redactShapes(value);
  if (Array.isArray(value)) return value.map(redactRule);
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, redactRule(item)]));
}

/** A label named `token` is no token, and a selector must stay what it is. */
const isSelection = (key: string): boolean => /selector$|^(match|security-)?labels$/i.test(key);

function redactObject(value: JsonObject, name: string): JsonObject {
  // The API's way to write names and values apart: env, headers, options.
  const own = typeof value.name === 'string' ? value.name : name;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      key,
      isSelection(key) ? redactRule(item) : redact(item, key === 'value' ? own : key),
    ]),
  );
}
