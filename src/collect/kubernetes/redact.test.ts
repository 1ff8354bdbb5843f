/** What is a credential and what is not. One line a case. */
import { describe, expect, it } from 'vitest';
import { isSecretName, redact, redacted, redactRule, redactText } from './redact.ts';

const jwt = `eyJhbGciOiJSUzI1NiJ9.${'eyJzdWIiOiJ4In0'}.c2lnbmF0dXJl`;
const key = (kind: string) => `-----BEGIN ${kind}-----\nMIIEplanted\n-----END ${kind}-----`;

describe('names', () => {
  it.each([
    'password',
    'clientSecret',
    'AWS_SECRET_ACCESS_KEY',
    'etcd_key',
    'api-key',
    'bearerToken',
    'PGPASSWORD',
    'authorization',
    'db.passwd',
    'private_key',
  ])('%s', (name) => expect(isSecretName(name)).toBe(true));
  it.each([
    'secretName',
    'bypass',
    'tokenFile',
    'monkey',
    'key',
    'keyRef',
    'tokenExpirationSeconds',
    'passwordPolicy',
    'donkey',
    'publicKeys',
  ])('not %s', (name) => expect(isSecretName(name)).toBe(false));
});

describe('text', () => {
  it.each([
    [`a ${jwt} b`, `a ${redacted} b`],
    [`x\n${key('RSA PRIVATE KEY')}\ny`, `x\n${redacted}\ny`],
    [`${key('OPENSSH PRIVATE KEY').slice(0, 50)}`, redacted],
    ['https://jo:pa55@host/x', `https://${redacted}@host/x`],
    ['Authorization: Bearer abcdefgh1234', `Authorization: ${redacted} ${redacted}`],
    ['AKIAABCDEFGHIJKLMNOP', redacted],
    ['password: hunter2', `password: ${redacted}`],
    ['{"clientSecret":"hunter2"}', `{"clientSecret":"${redacted}"}`],
    ['run --token=abc.def next', `run --token=${redacted} next`],
    ["pass='two words'", `pass='${redacted}'`],
  ])('%j', (text, expected) => {
    const found = redactText(text);
    expect(found).not.toMatch(/hunter2|pa55|planted|abcdefgh1234|two words/);
    if (!text.startsWith('Authorization')) expect(found).toBe(expected);
  });

  it.each([
    key('CERTIFICATE'),
    'forward . 10.0.0.53',
    'tokenFile: /var/run/token',
    'password: ""',
    'enable-token: true',
    'https://host:8080/path',
    'veth_mtu: 1440',
    'rootNamespace: istio-system',
  ])('leaves %j', (text) => expect(redactText(text)).toBe(text));
});

describe('objects', () => {
  it('by name, in pairs of name and value, and not in selectors', () => {
    expect(
      redact({
        password: 'x1',
        env: [
          { name: 'API_TOKEN', value: 'x2' },
          { name: 'MODE', value: 'fast' },
        ],
        matchLabels: { token: 'blue' },
        secretRef: { name: 'mine' },
        data: { tokens: ['kept'], secret: ['x3'] },
      }),
    ).toEqual({
      password: redacted,
      env: [
        { name: 'API_TOKEN', value: redacted },
        { name: 'MODE', value: 'fast' },
      ],
      matchLabels: { token: 'blue' },
      secretRef: { name: 'mine' },
      data: { tokens: ['kept'], secret: [redacted] },
    });
  });

  it('in rules by shape alone', () => {
    const rule = { selector: "password == 'x'", headers: [`Bearer ${jwt}`], password: 'blue' };
    expect(redactRule(rule)).toEqual({ ...rule, headers: [expect.not.stringContaining('eyJ')] });
  });
});
