/** Documentation that the code refers to must exist: every cause that is named has its page, every disposition its line. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const areas =
  'app|cidr|cni|conntrack|dns|firewall|mesh|mtu|namespace|netfilter|node|overlay|path|policy|route|service';

it('has a page for every cause that the code names', () => {
  const files = ['src/checks', 'src/diagnose', 'src/lab/faults'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
      .map((name) => join(folder, name)),
  );
  const ids = new Set(
    files.flatMap((file) =>
      [...read(file).matchAll(new RegExp(`(?<!startsWith\\()'((?:${areas})/[a-z][a-z-]+)'`, 'g'))].map(
        (m) => m[1],
      ),
    ),
  );
  expect(ids.size).toBeGreaterThan(15);
  expect([...ids].filter((id) => !existsSync(join(root, `docs/causes/${id}.md`))).sort()).toEqual([]);
});

it('has four parts on every page, and a line in the list', () => {
  const list = read('docs/causes/README.md');
  const pages = readdirSync(join(root, 'docs/causes'), { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.includes('/'),
  );
  for (const page of pages) {
    const id = page.replace(/\.md$/, '');
    const headings = [...read(`docs/causes/${page}`).matchAll(/^## (.*)$/gm)].map((m) => m[1]);
    expect({ id, headings }).toEqual({
      id,
      headings: ['What it is', 'What proves it', 'What else looks like it', 'The fix'],
    });
    expect(list).toContain(`[\`${id}\`](${id}.md)`);
  }
});

it('explains every disposition', () => {
  const union = /export type Disposition =([^;]*);/.exec(read('src/model/verdict.ts'))?.[1] ?? '';
  const names = [...union.matchAll(/'([a-z-]+)'/g)].map((m) => m[1]);
  const explained = [...read('docs/dispositions.md').matchAll(/^\| `([a-z-]+)` \|/gm)].map((m) => m[1]);
  expect(names.length).toBeGreaterThan(10);
  expect(explained.sort()).toEqual(names.sort());
});
