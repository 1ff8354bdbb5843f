/** Whether a proxy is used, as Go's ProxyFromEnvironment decides. */
import { expect, it } from 'vitest';
import { proxyFor } from './proxy.ts';

const env = (no: string) => ({ HTTPS_PROXY: 'proxy:3128', NO_PROXY: no });

it.each<[string, string, boolean]>([
  ['https://api.example.com:6443', '', true],
  ['https://api.example.com:6443', 'example.com', false],
  ['https://api.example.com:6443', '.example.com', false],
  ['https://api.example.com:6443', '*.example.com', false],
  ['https://example.com', '.example.com', true],
  ['https://badexample.com', 'example.com', true],
  ['https://api.example.com:6443', 'example.com:443', true],
  ['https://api.example.com:6443', 'other, example.com:6443', false],
  ['https://10.1.2.3:6443', '10.0.0.0/8', false],
  ['https://11.1.2.3:6443', '10.0.0.0/8', true],
  ['https://10.1.2.3:6443', '10.1.2.3', false],
  ['https://[fd00::1]:6443', 'fd00::/8', false],
  ['https://anything', '*', false],
  ['https://127.0.0.1:6443', '', false],
  ['https://localhost', '', false],
])('%s with NO_PROXY=%s: %s', (server, no, used) => {
  expect(proxyFor(new URL(server), undefined, env(no))?.href).toBe(used ? 'http://proxy:3128/' : undefined);
});

it('takes the proxy of the kubeconfig in any case', () => {
  const found = proxyFor(new URL('https://127.0.0.1'), 'socks5://p:1', env('*'));
  expect(found?.href).toBe('socks5://p:1');
});
