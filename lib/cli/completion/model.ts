import type { Command, DeviceKind, Values } from '../command.ts';

/** What may stand at a place of the command line; undefined where anything may. */
export type Offer =
  | { kind: 'devices'; which: DeviceKind }
  | { kind: 'words'; words: readonly string[] }
  | { kind: 'files' }
  | { kind: 'unix-groups' }
  | undefined;

/** An option, with its dashes. */
export interface OfferedOption {
  name: string;
  description: string;
  takesValue: boolean;
  value: Offer;
}

/** A command as a shell completes it. */
export interface OfferedCommand {
  name: string;
  words: string[];
  summary: string;
  options: OfferedOption[];
  /** Each positional argument. */
  positionals: Offer[];
  /** Of the last one there may be more. */
  isLastRepeated: boolean;
}

/** The shells that there is a completion for. */
export const shells = ['bash', 'zsh', 'fish'] as const;

/** Arguments that are one of a few words. */
const wordsOf: Readonly<Record<string, readonly string[]>> = {
  region: ['bar0', 'bar1', 'bar2', 'bar3', 'bar4', 'bar5', 'rom', 'config', 'vga'],
  shell: shells,
};

/** Arguments that name devices. */
const naming = new Set(['device', 'pf']);

/** What a shell needs to know of each command. */
export function offered(commands: readonly Command[]): OfferedCommand[] {
  return commands.map(({ name, summary, positionals, options, devices = 'bound' }) => ({
    ...{ name, summary, words: name.split(' ') },
    options: [
      ...Object.entries(options).map(([option, { type, description, values }]) => ({
        ...{ name: `--${option}`, description, takesValue: type === 'string' },
        value: valueOf(values),
      })),
      { name: '--help', description: 'Say what it does', takesValue: false, value: undefined },
    ],
    positionals: positionals.map((part) => offerOf(part, devices)),
    isLastRepeated: positionals.at(-1)?.endsWith('…') ?? false,
  }));
}

function valueOf(values: Values | undefined): Offer {
  if (values === undefined) return undefined;
  if (values === 'file') return { kind: 'files' };
  return values === 'unix-group' ? { kind: 'unix-groups' } : { kind: 'words', words: values };
}

/** By the argument's name, of which `…` and brackets are no part. */
function offerOf(part: string, which: DeviceKind): Offer {
  const name = part.replace(/[^a-z]/g, '');
  if (naming.has(name)) return { kind: 'devices', which };
  const words = wordsOf[name];
  return words && { kind: 'words', words };
}

/** A word of commands' names, and those that may follow it. */
export interface Branch {
  word: string;
  /** The command whose name ends here. */
  command: OfferedCommand | undefined;
  branches: Branch[];
}

/** The names of commands as a tree, from the first word on. */
export function treeOf(commands: readonly OfferedCommand[], depth = 0): Branch[] {
  const words = [...new Set(commands.map((command) => command.words[depth] ?? ''))];
  return words.map((word) => {
    const those = commands.filter((command) => command.words[depth] === word);
    const longer = those.filter((command) => command.words.length > depth + 1);
    const command = those.find((each) => each.words.length === depth + 1);
    return { word, command, branches: treeOf(longer, depth + 1) };
  });
}

/** What completion says of a word: its command's summary, or the commands that begin so. */
export function summaryOf({ command, branches }: Branch): string {
  return command?.summary ?? branches.map(({ word }) => word).join(', ');
}

/** What completion says of a reason, behind `vfio help`. */
export const reasonSummary = 'Say what this reason of an error means';

/** Where a shell finds the devices of each kind: what each of them has in its folder in sysfs. */
export const deviceGlobs: Readonly<Record<DeviceKind, string>> = {
  bound: '/sys/bus/*/devices/*/vfio-dev',
  all: '/sys/bus/*/devices/*/iommu_group',
  'physical-functions': '/sys/bus/pci/devices/*/sriov_totalvfs',
};
