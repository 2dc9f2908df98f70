import type { ParseArgsConfig } from 'node:util';

type OptionConfig = NonNullable<ParseArgsConfig['options']>[string];

/** What a command's options are, for parsing and for `--help` alike. */
export type Options = Record<string, OptionConfig & { description: string }>;

/** What was typed, already checked against the command's table entry. */
export interface Invocation {
  positionals: string[];
  flags: Record<string, boolean>;
  /** The options that take a value, where they were given. */
  values: Record<string, string>;
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

/** A mistake on the command line, with Node's code, as mistakes in arguments of the library have it. */
export function usageError(name: string, expected: string, text: string): TypeError {
  const error = new TypeError(`${name} must be ${expected}, not '${text}'`);
  return Object.assign(error, { code: 'ERR_INVALID_ARG_VALUE' });
}
