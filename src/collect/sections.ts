/** What a namespace's commands printed -> files and gaps. */
import type { Gap } from '../model/gap.ts';
import { type CollectCommand, collectCommands, commandOf, type Section } from './commands.ts';
import { netnsFiles } from './layout.ts';

export interface CollectedFiles {
  readonly files: Map<string, string>;
  readonly gaps: Gap[];
}

/** `prefix` is the namespace's folder, `nodes/node1/`; `id` its name for people. */
export function filesOfSections(
  id: string,
  prefix: string,
  scope: 'node' | 'pod',
  sections: ReadonlyMap<string, Section>,
): CollectedFiles {
  const files = new Map<string, string>();
  const gaps: Gap[] = [];
  for (const [file, section] of sections) {
    const command = commandOf(file);
    if (command === undefined || !/^[A-Za-z0-9._@-]+$/.test(file)) continue;
    const failure = whyFailed(command, section);
    // What a failing command did print is kept: half a listing names the rules that are there, and the gap says so.
    if (failure === undefined || section.stdout !== '') files.set(prefix + file, section.stdout);
    if (failure !== undefined && command.optional !== true)
      gaps.push(gapOf(id, prefix, file, command, failure, section.stdout !== ''));
    for (const table of incompatibleTables(section.stdout, command))
      gaps.push({
        what: `the table ${table} in ${nameOf(file)} of ${id}`,
        where: `${prefix}${file}`,
        why: `${command.argv[0]} cannot print it: another program (nft) wrote rules into it that iptables has no words for`,
        todo: `nft list table ip ${table} on ${id}`,
      });
  }
  for (const command of collectCommands) {
    const wanted = command.optional !== true && command.onlyIf === undefined;
    const inScope = command.scope === 'both' || scope === 'node';
    if (!wanted || !inScope || sections.has(command.file)) continue;
    gaps.push(gapOf(id, prefix, command.file, command, 'the collection stopped before it was run', false));
  }
  return { files, gaps };
}

/** Undefined: it did its work. */
function whyFailed(command: CollectCommand, section: Section): string | undefined {
  const [program] = command.argv;
  const said = firstLine(section.stderr);
  if (section.code === undefined) return 'it was cut off before it ended';
  if (section.code === 0) return undefined;
  if (command.tolerant === true && section.stdout !== '') return undefined;
  if (section.code === 127) return `${program} is not installed on this host`;
  return `${program} failed with exit code ${section.code}${said === '' ? '' : `: ${said}`}`;
}

function gapOf(
  id: string,
  prefix: string,
  file: string,
  command: CollectCommand,
  why: string,
  partly: boolean,
): Gap {
  const package_ = command.debianPackage;
  return {
    what: `${partly ? 'a part of the ' : ''}${nameOf(file)} of ${id}`,
    where: `${prefix}${file}`,
    why,
    todo:
      why.endsWith('is not installed on this host') && package_ !== undefined
        ? `apt-get install ${package_}`
        : `run \`${command.argv.join(' ')}\` there by hand to see why`,
  };
}

const nameOf = (file: string): string => netnsFiles.find((one) => one.file === file)?.holds ?? file;

/** `# Table `filter' is incompatible, use 'nft' tool.` stands in the place of the table's rules. */
function incompatibleTables(stdout: string, command: CollectCommand): string[] {
  if (command.argv[0]?.endsWith('-nft-save') !== true || !stdout.includes('is incompatible')) return [];
  return [...stdout.matchAll(/^# Table `([^']+)' is incompatible/gm)].map((match) => match[1] ?? '');
}

/** The shell's own "not found" line starts with the script's name. */
const firstLine = (text: string): string => text.trim().split('\n')[0]?.slice(0, 300) ?? '';
