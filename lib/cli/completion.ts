import { type Command, exitStatus, type Invocation, usageError } from './command.ts';
import { bashCompletion } from './completion/bash.ts';
import { fishCompletion } from './completion/fish.ts';
import { offered, type OfferedCommand, shells } from './completion/model.ts';
import { zshCompletion } from './completion/zsh.ts';
import { errorHelp } from './error_help.ts';

export const completion: Command = {
  name: 'completion',
  summary: 'Print what completes command lines in a shell: bash, zsh or fish',
  positionals: ['shell'],
  options: {},
  details: `Commands, options and their values are completed, what vfio help explains, and devices as sysfs
shows them, for which no program is started.

  bash  source <(vfio completion bash), in ~/.bashrc; or, where bash-completion is installed,
        vfio completion bash > ~/.local/share/bash-completion/completions/vfio
  zsh   vfio completion zsh > ~/.zfunc/_vfio, where ~/.zshrc has fpath+=~/.zfunc before compinit
  fish  vfio completion fish > ~/.config/fish/completions/vfio.fish

What is printed belongs to this version of vfio: print it anew after an update.`,
  run: printCompletion,
};

type Make = (commands: OfferedCommand[], reasons: string[]) => string;

const made: Readonly<Record<(typeof shells)[number], Make>> = {
  bash: bashCompletion,
  zsh: zshCompletion,
  fish: fishCompletion,
};

function printCompletion({ positionals, commands, out }: Invocation): Promise<number> {
  const [text = ''] = positionals;
  const shell = shells.find((each) => each === text);
  if (shell === undefined) throw usageError('the shell', 'bash, zsh or fish', text);
  out.print(made[shell](offered(commands), errorHelp().reasons));
  return Promise.resolve(exitStatus.ok);
}
