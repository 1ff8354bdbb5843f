import { Argument, type Command } from 'commander';
import { out } from './context.ts';

const shells = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof shells)[number];

export function register(program: Command): void {
  program
    .command('completion')
    .description('print a completion script, made from the commands of this version')
    .addArgument(new Argument('<shell>').choices(shells))
    .addHelpText(
      'after',
      `
Examples:
  source <(podpath completion bash)
  podpath completion zsh > "\${fpath[1]}/_podpath"
  podpath completion fish > ~/.config/fish/completions/podpath.fish`,
    )
    .action((shell: Shell) => out(completionScript(program, shell)));
}

interface Entry {
  /** Words before the cursor: `podpath lab`. */
  readonly path: string;
  readonly words: readonly { readonly word: string; readonly text: string }[];
}

/** One entry for each command: its subcommands and its options. */
function entries(command: Command, path: readonly string[] = ['podpath']): Entry[] {
  const own = [
    ...command.commands.map((child) => ({ word: child.name(), text: child.description() })),
    ...command.options.flatMap((option) =>
      option.long == null ? [] : [{ word: option.long, text: option.description }],
    ),
  ];
  return [
    { path: path.join(' '), words: own },
    ...command.commands.flatMap((child) => entries(child, [...path, child.name()])),
  ];
}

function completionScript(program: Command, shell: Shell): string {
  const all = entries(program);
  if (shell === 'fish') return fishScript(all);
  return shell === 'bash' ? bashScript(all) : zshScript(all);
}

/** Single-quoted for all three shells; our words hold no backslashes. */
const quote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** Finds the longest known command among the words before the cursor. */
function bashScript(all: readonly Entry[]): string {
  const cases = all.map(
    (e) => `    ${quote(e.path)}) words=${quote(e.words.map((w) => w.word).join(' '))} ;;`,
  );
  return `# podpath completion for bash
_podpath_words() {
  local words=''
  case "$1" in
${cases.join('\n')}
    *) return 1 ;;
  esac
  printf '%s' "$words"
}
_podpath() {
  local path=podpath i found
  for ((i = 1; i < COMP_CWORD; i++)); do
    if _podpath_words "$path \${COMP_WORDS[i]}" >/dev/null; then path="$path \${COMP_WORDS[i]}"; fi
  done
  found=$(_podpath_words "$path")
  COMPREPLY=($(compgen -W "$found" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _podpath podpath kubectl-podpath`;
}

function zshScript(all: readonly Entry[]): string {
  const describe = (e: Entry) =>
    e.words.map((w) => quote(`${w.word.replaceAll(':', '\\:')}:${w.text}`)).join(' ');
  const cases = all.map((e) => `    ${quote(e.path)}) found=(${describe(e)}) ;;`);
  return `#compdef podpath kubectl-podpath
_podpath_words() {
  found=()
  case "$1" in
${cases.join('\n')}
    *) return 1 ;;
  esac
}
_podpath() {
  local path=podpath i
  local -a found
  for ((i = 2; i < CURRENT; i++)); do
    if _podpath_words "$path \${words[i]}"; then path="$path \${words[i]}"; fi
  done
  _podpath_words "$path"
  _describe podpath found || _files
}
compdef _podpath podpath kubectl-podpath`;
}

function fishScript(all: readonly Entry[]): string {
  const lines = all.flatMap((e) =>
    e.words.map(
      (w) =>
        `complete -c podpath -n ${quote(`_podpath_at ${quote(e.path)}`)} -a ${quote(w.word)} -d ${quote(w.text)}`,
    ),
  );
  const paths = all.map((e) => quote(e.path)).join(' ');
  return `# podpath completion for fish
function _podpath_at
  set -l path podpath
  for word in (commandline -opc)[2..-1]
    if contains -- "$path $word" ${paths}
      set path "$path $word"
    end
  end
  test "$path" = "$argv[1]"
end
${lines.join('\n')}`;
}
