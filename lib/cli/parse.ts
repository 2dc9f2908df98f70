import { parseArgs } from 'node:util';
import type { Command, Invocation, Output } from './command.ts';
import { argumentsOf, optionTexts } from './help.ts';
import { didYouMean } from './suggest.ts';

/** What every command has besides its own. */
const helpOption = { help: { type: 'boolean', short: 'h' } } as const;

/** Whether help is asked for, by an option and not by an argument that stands after `--`. */
export function asksForHelp(command: Command, argv: string[]): boolean {
  return parsed(command, argv).given.some(({ name }) => name === 'help');
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
  const { options } = command;
  const { given, values, positionals } = parsed(command, argv);
  for (const option of given) requireSense(command, option);
  requireCount(command, positionals.length);
  const flags = Object.fromEntries(
    Object.keys(options).map((option) => [option, values[option] === true]),
  );
  const strings = Object.entries(values).filter(([, value]) => typeof value === 'string');
  const texts = Object.fromEntries(strings) as Record<string, string>;
  return { positionals, flags, values: texts, commands, out };
}

/** An option as it was typed. */
interface Given {
  name: string;
  rawName: string;
  value: string | undefined;
  /** The value stands behind an equals sign. */
  inlineValue: boolean | undefined;
}

/** Node's own refusals are several lines, of which none says what this command takes. */
function parsed(
  { options, passesOn }: Command,
  argv: string[],
): { given: Given[]; values: Record<string, unknown>; positionals: string[] } {
  const args = passesOn ? withoutPassedOn(argv) : argv;
  const { tokens, values, positionals } = parseArgs({
    ...{ args, options: { ...options, ...helpOption }, allowPositionals: true },
    ...{ strict: false, tokens: true },
  });
  return { given: tokens.filter((token) => token.kind === 'option'), values, positionals };
}

/** Where another command's words begin, a `--` says that all of them are arguments. */
function withoutPassedOn(argv: string[]): string[] {
  const own = argv.findIndex((word) => !/^-./.test(word) || word === '--');
  return own < 0 ? argv : [...argv.slice(0, own), '--', ...argv.slice(own)];
}

function requireSense({ options }: Command, { name, rawName, value, inlineValue }: Given): void {
  const option = Object.hasOwn(options, name) ? options[name] : undefined;
  if (option === undefined) {
    const known = [...Object.keys(options), 'help'].map((each) => `--${each}`);
    throw new TypeError(`there is no option '${rawName}'${didYouMean(rawName, known)}`);
  }
  if (option.type === 'boolean') {
    if (value !== undefined)
      throw new TypeError(`--${name} takes no value, and was given '${value}'`);
    return;
  }
  const [usage] = optionTexts({ [name]: option });
  if (value === undefined) throw new TypeError(`--${name} needs a value: ${usage}`);
  if (value === '')
    throw new TypeError(`--${name} needs a value, and was given an empty one: ${usage}`);
  const isOption = Object.hasOwn({ ...options, ...helpOption }, value.replace(/^--|=.*$/g, ''));
  if (!inlineValue && value.startsWith('--') && isOption)
    throw new TypeError(`--${name} needs a value, and '${value}' follows it: ${usage}`);
}

function requireCount(command: Command, count: number): void {
  const { positionals, optional } = command;
  const { length } = positionals;
  const mayBeMore = positionals.at(-1)?.endsWith('…') ?? false;
  const least = optional ? length - 1 : length;
  if (count >= least && (count <= length || mayBeMore)) return;
  const all = argumentsOf(command);
  const missing = all.slice(count, least);
  if (missing.length > 0) {
    const are = missing.length === 1 ? 'is' : 'are';
    const usage = ['vfio', command.name, ...all].join(' ');
    throw new TypeError(`${missing.join(' and ')} ${are} missing: ${usage}`);
  }
  const given = count === 1 ? '1 was given' : `${count} were given`;
  const taken = length === 0 ? 'no arguments' : all.join(' ');
  throw new TypeError(`it takes ${taken}, and ${given}`);
}
