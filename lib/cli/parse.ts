import { parseArgs } from 'node:util';
import type { Command, Invocation, Output } from './command.ts';
import { argumentsOf } from './help.ts';
import { didYouMean } from './suggest.ts';

/** What every command has besides its own. */
const helpOption = { help: { type: 'boolean', short: 'h' } } as const;

/** Whether help is asked for, by an option and not by an argument that stands after `--`. */
export function asksForHelp({ options }: Command, argv: string[]): boolean {
  return optionsIn(options, argv).some(({ name }) => name === 'help');
}

/**
 * What was typed after the command's name.
 *
 * @throws TypeError where that makes no sense
 */
export function parse(
  command: Command,
  argv: string[],
  commands: readonly Command[],
  out: Output,
): Invocation {
  requireKnown(command, argv);
  const { options } = command;
  const { values, positionals } = parseArgs({ args: argv, options, allowPositionals: true });
  requireCount(command, positionals.length);
  const flags = Object.fromEntries(
    Object.keys(options).map((option) => [option, values[option] === true]),
  );
  const strings = Object.entries(values).filter(([, value]) => typeof value === 'string');
  const given = Object.fromEntries(strings) as Record<string, string>;
  return { positionals, flags, values: given, commands, out };
}

function optionsIn(
  options: Command['options'],
  args: string[],
): { name: string; rawName: string }[] {
  const known = { ...options, ...helpOption };
  const { tokens } = parseArgs({
    ...{ args, options: known, allowPositionals: true },
    ...{ strict: false, tokens: true },
  });
  return tokens.filter((token) => token.kind === 'option');
}

function requireKnown({ options }: Command, argv: string[]): void {
  const known = [...Object.keys(options), 'help'].map((name) => `--${name}`);
  for (const { name, rawName } of optionsIn(options, argv)) {
    if (Object.hasOwn(options, name)) continue;
    throw new TypeError(`there is no option '${rawName}'${didYouMean(rawName, known)}`);
  }
}

function requireCount(command: Command, count: number): void {
  const { positionals, optional } = command;
  const { length } = positionals;
  const mayBeMore = positionals.at(-1)?.endsWith('…') ?? false;
  const least = optional ? length - 1 : length;
  if (count >= least && (count <= length || mayBeMore)) return;
  if (length === 0) throw new TypeError(`takes no arguments, got ${count}`);
  throw new TypeError(`expected ${argumentsOf(command).join(' ')}, got ${count} arguments`);
}
