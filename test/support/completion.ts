import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { commands } from '../../lib/cli/commands.ts';
import type { Command } from '../../lib/cli/command.ts';
import { bashArgs } from './bash.ts';
import { vfio } from './cli.ts';
import { tree } from './tree.ts';

/** Answers what a shell offers at the end of each line. */
export type Asker = (lines: readonly string[], sysfs: string) => Promise<string[][]>;

/** Whether the shell is on this machine. */
export function hasShell(shell: string): boolean {
  return spawnSync(shell, ['-c', 'exit 0']).status === 0;
}

/** What `vfio completion` prints, as a file whose sysfs is a fake one. */
async function completionFile(
  shell: string,
  sysfs: string,
  table: readonly Command[],
): Promise<string> {
  const { status, out } = await vfio(['completion', shell], table);
  if (status !== 0) throw new Error(`vfio completion ${shell} failed`);
  const file = join(tree({}), '_vfio');
  writeFileSync(file, out.replaceAll('/sys/bus/', `${sysfs}/bus/`));
  return file;
}

function output(shell: string, args: string[], input: string): string {
  const { status, stdout, stderr } = spawnSync(shell, args, { input, encoding: 'utf8' });
  if (status !== 0 || stderr !== '') throw new Error(`${shell} ended with ${status}: ${stderr}`);
  return stdout;
}

/** One answer for each line, as a program prints them: words, then a line of `==`. */
function answers(text: string, count: number): string[][] {
  const blocks = text.split('==\n').slice(0, -1);
  if (blocks.length !== count) throw new Error(`${blocks.length} answers of ${count}: ${text}`);
  return blocks.map((block) => block.split('\n').filter((word) => word !== ''));
}

/** bash's, as readline replaces a word: with what stands before a colon put before it again. */
export const askBash: Asker = async (lines, sysfs) => {
  const file = await completionFile('bash', sysfs, commands);
  const program = `set -u -o pipefail
    shopt -s failglob
    source '${file}'
    while IFS= read -r COMP_LINE; do
      COMP_POINT=\${#COMP_LINE}
      _vfio
      (( \${#COMPREPLY[@]} )) && printf '%s\\n' "\${COMPREPLY[@]}"
      echo ==
    done`;
  return answers(output('bash', bashArgs(program), `${lines.join('\n')}\n`), lines.length);
};

export const askFish: Asker = async (lines, sysfs) => {
  const file = await completionFile('fish', sysfs, commands);
  const program = `source '${file}'
    while read -l line
      complete -C"$line" | string replace -r '\\t.*' ''
      echo ==
    end`;
  return answers(
    output('fish', ['--no-config', '-c', program], `${lines.join('\n')}\n`),
    lines.length,
  );
};

/**
 * zsh completes only on a terminal: this is one. What it is given to offer is written to a file,
 * which ends with a line of its own after each completion.
 */
const zshProgram = String.raw`
zmodload zsh/zpty
cat >$FOLDER/.zshrc <<'RC'
PROMPT='ready'
autoload -Uz compinit
compinit -u -D
zstyle ':completion:*' list-separator ''
source $FOLDER/_vfio
compadd() {
  if [[ " ${'$'}{@[1,(i)(-|--)]} " == *' -'[ADO]' '* ]]; then
    builtin compadd "$@"
    return
  fi
  local -a hits
  builtin compadd -A hits "$@"
  (( ${'$'}{#hits} )) && print -rl -- "$hits[@]" >>$FOLDER/out
  builtin compadd "$@"
}
tell() { print -- '==' >>$FOLDER/out }
ask() {
  comppostfuncs=(tell)
  zle complete-word
  BUFFER=
}
zle -N ask
bindkey '^T' ask
RC
export ZDOTDIR=$FOLDER TERM=dumb
: >$FOLDER/out
zpty shell zsh -i
zpty -r shell seen '*ready*'
count=0
while IFS= read -r line; do
  zpty -w -n shell "$line"$'\x14'
  count=$((count + 1))
  until [[ $(grep -c '^==$' $FOLDER/out) == $count ]]; do zpty -r -t shell seen; sleep 0.01; done
done
zpty -d shell
cat $FOLDER/out
`;

export const askZsh: Asker = async (lines, sysfs) => {
  const file = await completionFile('zsh', sysfs, commands);
  const program = `FOLDER='${dirname(file)}'; export FOLDER\n${zshProgram}`;
  return answers(output('zsh', ['-f', '-c', program], `${lines.join('\n')}\n`), lines.length);
};
