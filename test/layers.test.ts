/** The rules of the house that a compiler does not know: who may import whom, and who may touch the outside world. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, posix, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

interface Room {
  /** Rooms whose files this room may import; its own always. */
  readonly imports: readonly string[];
  /** May touch files, sockets, processes and the clock. */
  readonly io: boolean;
  readonly because: string;
}

const knowledge = ['net', 'model'];

const rooms: Readonly<Record<string, Room>> = {
  net: {
    imports: [],
    io: false,
    because: 'pure mathematics of addresses and packets; all others stand on it',
  },
  model: {
    imports: ['net'],
    io: false,
    because: 'the types that all rooms share: they can depend on none of them',
  },
  system: {
    imports: ['model'],
    io: true,
    because:
      'child processes and files, in one place to cap, kill and test; only the error type comes from above',
  },
  parse: {
    imports: knowledge,
    io: false,
    because: 'text to values: a parser that reads files cannot be fuzzed',
  },
  policy: { imports: knowledge, io: false, because: 'what the rules intend, decided from objects alone' },
  report: {
    imports: knowledge,
    io: false,
    because:
      'values to text: the same input gives the same bytes, so golden tests hold; results reach it as model types',
  },
  dataplane: {
    imports: [...knowledge, 'policy'],
    io: false,
    because: 'simulation from a snapshot alone; the same answer on the lab, live and recorded',
  },
  cni: {
    imports: [...knowledge, 'policy', 'dataplane'],
    io: false,
    because: 'what we know about one network plugin, told to checks and collection',
  },
  checks: {
    imports: [...knowledge, 'policy', 'dataplane', 'cni'],
    io: false,
    because: 'findings follow from the snapshot; a check that looked elsewhere could not be repeated',
  },
  diagnose: {
    imports: [...knowledge, 'policy', 'dataplane', 'cni', 'checks'],
    io: false,
    because: 'causes follow from evidence; the command gathers probes and hands them in',
  },
  lab: {
    imports: [...knowledge, 'parse', 'policy', 'system'],
    io: true,
    because: 'makes the network to be diagnosed: it must not use the diagnosis, or both could err alike',
  },
  collect: {
    imports: [...knowledge, 'parse', 'report', 'system', 'lab', 'cni', 'probe'],
    io: true,
    because: 'sources to snapshots, probe results among them; judges nothing, so no checks and no diagnosis',
  },
  probe: {
    imports: [...knowledge, 'parse', 'system', 'lab'],
    io: true,
    because: 'what really happened to a packet, independent of what the simulation says',
  },
  fix: {
    imports: [
      ...knowledge,
      'policy',
      'dataplane',
      'cni',
      'checks',
      'diagnose',
      'system',
      'lab',
      'collect',
      'probe',
    ],
    io: true,
    because: 'a cause to a plan and back; the last room before the command line',
  },
  library: {
    imports: [...knowledge, 'parse', 'policy', 'collect'],
    io: false,
    because: 'what other programs import: the engine and the ways into it, with no logic of its own',
  },
  cli: {
    imports: [
      ...knowledge,
      'system',
      'parse',
      'policy',
      'report',
      'dataplane',
      'cni',
      'checks',
      'diagnose',
      'lab',
      'collect',
      'probe',
      'fix',
    ],
    io: true,
    because: 'the top: wires the rooms together, and nobody imports it',
  },
};

/** Packages that belong to some rooms only; others would tie the core to a format or a framework. */
const packages: Readonly<Record<string, { readonly rooms: readonly string[]; readonly because: string }>> = {
  commander: { rooms: ['cli'], because: 'the command line is one front among several' },
  zod: {
    rooms: ['parse', 'report', 'collect', 'probe', 'lab', 'cli'],
    because: 'shapes are checked at the edges, inside they are types',
  },
  'js-yaml': { rooms: ['parse'], because: 'a file format, read in bulk' },
  yaml: { rooms: ['parse', 'report', 'lab', 'cli'], because: 'a file format' },
  'dns-packet': { rooms: ['probe', 'lab'], because: 'a wire format of what sends and answers' },
  'tar-stream': { rooms: ['collect'], because: 'an archive format' },
  yauzl: { rooms: ['collect'], because: 'an archive format' },
};

/** Node modules without side effects; every other one is I/O. */
const pureModules = new Set([
  'node:path',
  'node:path/posix',
  'node:url',
  'node:util',
  'node:crypto',
  'node:zlib',
  'node:buffer',
]);

/** Words that touch the world without an import. */
const worldly: readonly { readonly pattern: RegExp; readonly name: string }[] = [
  { pattern: /\bprocess\.\w/g, name: 'process' },
  { pattern: /\bDate\.now\b|\bnew Date\(\s*\)/g, name: 'the clock (Date)' },
  { pattern: /\bperformance\.now\b/g, name: 'the clock (performance)' },
  { pattern: /\b(?:setTimeout|setInterval|setImmediate)\(/g, name: 'timers' },
  { pattern: /\bfetch\(/g, name: 'the network (fetch)' },
  { pattern: /\bMath\.random\b/g, name: 'chance (Math.random)' },
];

/** Forbidden in every file. */
const never: readonly { readonly pattern: RegExp; readonly because: string }[] = [
  {
    pattern: /\bconsole\.\w/g,
    because: 'results go through src/cli/context.ts, which knows streams and colours',
  },
  { pattern: /\bshell:\s*true\b/g, because: 'argument lists only: a pod name must never become shell text' },
  { pattern: /\beval\(|\bnew Function\(/g, because: 'data is never code' },
];

interface Violation {
  /** `src/net/address.ts:12` */
  readonly at: string;
  readonly rule: string;
}

/** Comments as blanks, line numbers unchanged; strings stay. */
const withoutComments = (code: string): string =>
  code.replace(
    /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|\/\*[\s\S]*?\*\/|(?<![\\/[])\/\/[^\n]*/g,
    (text) => (text.startsWith('//') || text.startsWith('/*') ? text.replace(/[^\n]/g, ' ') : text),
  );

const importPattern =
  /^[ \t]*(?:import|export)\b[^;'"]*?\bfrom\s*'([^']+)'|^[ \t]*import\s*'([^']+)'|\bimport\(\s*'([^']+)'/gm;

/** All broken rules of one file; `file` is relative to the project, `src/net/address.ts`. */
function violations(file: string, text: string): Violation[] {
  const name = file.split('/')[1] ?? '';
  const room = rooms[name];
  if (room === undefined)
    return [{ at: file, rule: `src/${name} is no room: give it a line in test/layers.test.ts` }];
  const code = withoutComments(text);
  const found: Violation[] = [];
  const report = (index: number, rule: string) => {
    found.push({ at: `${file}:${code.slice(0, index).split('\n').length}`, rule });
  };
  for (const match of code.matchAll(importPattern)) {
    const specifier = match[1] ?? match[2] ?? match[3] ?? '';
    // The match of a line-anchored pattern starts before the word: the end is on the specifier's line.
    const rule = importRule(file, name, room, specifier);
    if (rule !== undefined) report(match.index + match[0].length - 1, rule);
  }
  if (!room.io) {
    for (const { pattern, name: what } of worldly) {
      for (const match of code.matchAll(pattern)) {
        report(match.index, `${name} may not use ${what}: ${room.because}`);
      }
    }
  }
  for (const { pattern, because } of never) {
    for (const match of code.matchAll(pattern)) report(match.index, `${match[0]} is not allowed: ${because}`);
  }
  return found;
}

/** What is wrong with one import; undefined if nothing is. */
function importRule(file: string, name: string, room: Room, specifier: string): string | undefined {
  if (specifier.startsWith('.')) {
    const target = posix.join(posix.dirname(file), specifier);
    if (target === 'package.json') return undefined;
    const [top, other = ''] = target.split('/');
    if (top !== 'src') return `${name} imports ${target}: nothing in src may depend on files outside of it`;
    if (other === name || room.imports.includes(other)) return undefined;
    return `${name} may not import ${other}: ${room.because}`;
  }
  if (specifier === 'node:child_process' && name !== 'system') {
    return `${name} may not start processes: src/system caps their output and time`;
  }
  if (specifier.startsWith('node:')) {
    if (room.io || pureModules.has(specifier)) return undefined;
    return `${name} may not use ${specifier}: ${room.because}`;
  }
  const home = packages[specifier];
  if (home === undefined) return `${specifier} has no line in test/layers.test.ts`;
  return home.rooms.includes(name) ? undefined : `${name} may not use ${specifier}: ${home.because}`;
}

const root = fileURLToPath(new URL('..', import.meta.url));

const sources = (): string[] =>
  readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.ts$/.test(entry.name) && !/\.test\.ts$/.test(entry.name))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).split(sep).join('/'));

describe('layers', () => {
  it('holds in every source file', () => {
    const files = sources();
    expect(files.length).toBeGreaterThan(20);
    const broken = files.flatMap((file) => violations(file, readFileSync(join(root, file), 'utf8')));
    expect(broken.map(({ at, rule }) => `${at}: ${rule}`)).toEqual([]);
  });

  it('has no two rooms that import each other', () => {
    const mutual = Object.entries(rooms).flatMap(([name, room]) =>
      room.imports
        .filter((other) => rooms[other]?.imports.includes(name))
        .map((other) => `${name} <-> ${other}`),
    );
    expect(mutual).toEqual([]);
  });

  it.each([
    ['src/net/a.ts', "import { x } from '../cli/main.ts';", 'src/net/a.ts:1'],
    ['src/net/a.ts', "\nimport type {\n  X,\n} from '../model/flow.ts';", 'src/net/a.ts:4'],
    ['src/policy/a.ts', "export { x } from '../dataplane/walk.ts';", 'src/policy/a.ts:1'],
    ['src/checks/a.ts', "const m = await import('../lab/lab.ts');", 'src/checks/a.ts:1'],
    ['src/parse/a.ts', "import { readFileSync } from 'node:fs';", 'src/parse/a.ts:1'],
    ['src/lab/a.ts', "import { spawn } from 'node:child_process';", 'src/lab/a.ts:1'],
    ['src/lab/faults/a.ts', "import { x } from '../../diagnose/causes.ts';", 'src/lab/faults/a.ts:1'],
    ['src/dataplane/a.ts', 'const t = 1;\nconst u = Date.now();', 'src/dataplane/a.ts:2'],
    ['src/report/a.ts', 'const w = process.stdout;', 'src/report/a.ts:1'],
    ['src/cli/a.ts', 'console.log(1);', 'src/cli/a.ts:1'],
    ['src/policy/a.ts', "import { Command } from 'commander';", 'src/policy/a.ts:1'],
    ['src/net/a.ts', "import x from 'left-pad';", 'src/net/a.ts:1'],
    ['src/attic/a.ts', '', 'src/attic/a.ts'],
  ])('finds the broken rule in %s: %s', (file, code, at) => {
    expect(violations(file, code).map((v) => v.at)).toEqual([at]);
  });

  it.each([
    [
      'src/net/a.ts',
      "// import { x } from '../cli/main.ts';\n/* process.exit() */\nimport { y } from './b.ts';",
    ],
    ['src/parse/a.ts', "import { z } from 'zod';\nconst url = 'http://x'; // Date.now()"],
    ['src/cli/a.ts', "import { x } from '../lab/lab.ts';\nprocess.exitCode = 1;"],
  ])('accepts %s: %s', (file, code) => {
    expect(violations(file, code)).toEqual([]);
  });
});
