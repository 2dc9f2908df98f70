import type { ParseArgsConfig } from 'node:util';
import type { OpenDeviceOptions, VfioDevice } from '../index.ts';

type OptionConfig = NonNullable<ParseArgsConfig['options']>[string];

/** What a command's options are, for parsing, `--help`, completion and the manual alike. */
export type Options = Record<
  string,
  OptionConfig & {
    description: string;
    values?: Values;
    /** What stands for its value in `--help` and the manual; the option's own name if absent. */
    placeholder?: string;
  }
>;

/** What an option's value can be, where that is known: one of these words, or a name. */
export type Values = readonly string[] | 'file' | 'unix-group';

/** Which devices an argument can name: those with a VFIO driver, with an IOMMU group, with VFs. */
export type DeviceKind = 'bound' | 'all' | 'physical-functions';

/** What was typed, already checked against the command's table entry. */
export interface Invocation {
  positionals: string[];
  flags: Record<string, boolean>;
  /** The options that take a value, where they were given. */
  values: Record<string, string>;
  /** The table that the command is in. */
  commands: readonly Command[];
  out: Output;
}

/** Where a command writes. */
export interface Output {
  /** Results: standard output. */
  print(text: string): void;
  /** Remarks to the person: standard error. */
  note(text: string): void;
  /** Terminal colours are wanted. */
  colour: boolean;
  /** The terminal's columns; undefined where there is none, and lines may be of any length. */
  width?: number | undefined;
  /**
   * Calls back when nobody gets any more what is written: the reader has gone, or there is no room.
   * For what runs until then; answers what ends the waiting for it. undefined where nobody can tell.
   */
  whenLost?: ((told: () => void) => () => void) | undefined;
  /** Shows lines in place of the last ones shown, as many as fit; undefined without a terminal. */
  picture?: ((text: string) => void) | undefined;
  /** Shows a line in place of the last one shown, or removes it; undefined without a terminal. */
  progress?: ((text: string) => void) | undefined;
}

/** An entry of the table of commands. */
export interface Command {
  /** One word, or several. */
  name: string;
  summary: string;
  /** The positional arguments, all required; of a last one that ends with `…` there may be more. */
  positionals: string[];
  /**
   * Options stand before the arguments only: from the first argument on, all is another command's.
   * A `--` before that is the first argument.
   */
  passesOn?: true;
  /** The last positional argument may be left out. */
  optional?: true;
  /** Which devices completion offers for its arguments; `bound` if absent. */
  devices?: DeviceKind;
  options: Options;
  /** What `--help` says after the options. */
  details: string;
  /** Returns the exit status. */
  run(invocation: Invocation): Promise<number>;
}

/** Exit statuses, for scripts. */
export const exitStatus = {
  ok: 0,
  /** The operation failed; the reason is on standard error. */
  failed: 1,
  /** The command line makes no sense. */
  usage: 2,
  /** `info`: another holds the device; what sysfs says was printed. */
  held: 3,
} as const;

/**
 * A mistake on the command line, with Node's code, as mistakes in arguments of the library have it.
 */
export function usageError(name: string, expected: string, text: string): TypeError {
  return misuse(`${name} must be ${expected}, not '${text}'`);
}

const backends = ['auto', 'cdev', 'group', 'compat', 'noiommu'] as const;

/** The option of every command that opens a device. */
export const backendOption: Options = {
  backend: {
    type: 'string',
    description: `How to open it: ${backends.join(', ')}; see below`,
    values: backends,
  },
};

/** What `--help` says of it. */
export const aboutBackends = `A device is opened by its cdev and an iommufd (--backend cdev), or by its legacy group and a type1
container (group); auto, which is the default, takes the group where the kernel has no cdev. compat
is the group with an iommufd for its container. noiommu is for a device without an IOMMU: its DMA
reaches all memory of the machine.`;

/** What the command line says too much, or not: with the same code. */
export function misuse(message: string): TypeError {
  return Object.assign(new TypeError(message), { code: 'ERR_INVALID_ARG_VALUE' });
}

/**
 * How the command line says to open the device. It throws a usage error where that makes no sense.
 */
export function openOptions({ values, flags }: Invocation): Pick<OpenDeviceOptions, 'backend'> {
  const { backend: text } = values;
  if (text === undefined) return {};
  const backend = backends.find((one) => one === text);
  if (backend === undefined) {
    throw usageError('--backend', 'auto, cdev, group, compat or noiommu', text);
  }
  if (flags['no-open'] === true)
    throw misuse(
      '--backend says how to open the device, and --no-open not to: leave out one of them',
    );
  return { backend };
}

/**
 * Whether a device was opened by its own node, `vfio0`; a group's is called `12` or `noiommu-12`.
 */
export function isByCdev({ name }: VfioDevice): boolean {
  return /^(?:noiommu-)?vfio\d+$/.test(name);
}
