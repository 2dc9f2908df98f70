import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';
import { printable } from '../index.ts';
import { type Command, exitStatus, type Invocation, type Output } from './command.ts';
import { argumentsOf, commandHelp, overview } from './help.ts';
import { hintOf, printableLines } from './text.ts';

/** Runs one command line, without the program's name. Returns the exit status. */
export function run(argv: string[], commands: readonly Command[], out: Output): Promise<number> {
  return runOne(argv, commands, safe(out));
}

/** Names of drivers, files and processes are others' text: no terminal obeys it. */
function safe(out: Output): Output {
  return {
    ...out,
    print: (text) => {
      out.print(printableLines(text));
    },
    note: (text) => {
      out.note(printableLines(text));
    },
  };
}

async function runOne(argv: string[], commands: readonly Command[], out: Output): Promise<number> {
  const [name] = argv;
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    out.print(overview(commands));
    return name === undefined ? exitStatus.usage : exitStatus.ok;
  }
  if (name === '--version') {
    out.print(packageVersion());
    return exitStatus.ok;
  }
  const command = commands.find((entry) => begins(argv, entry.name));
  if (command === undefined)
    return refuse(out, `vfio: there is no command '${printable(name)}'`, 'vfio');
  const rest = argv.slice(wordsOf(command.name).length);
  if (rest.includes('--help') || rest.includes('-h')) {
    out.print(commandHelp(command));
    return exitStatus.ok;
  }
  return runCommand(command, rest, out);
}

function begins(argv: readonly string[], name: string): boolean {
  return wordsOf(name).every((word, at) => argv[at] === word);
}

function wordsOf(name: string): string[] {
  return name.split(' ');
}

async function runCommand(command: Command, argv: string[], out: Output): Promise<number> {
  let invocation: Invocation;
  try {
    invocation = parse(command, argv, out);
  } catch (error) {
    return refuse(out, `vfio ${command.name}: ${messageOf(error)}`, `vfio ${command.name}`);
  }
  try {
    return await command.run(invocation);
  } catch (error) {
    if (isArgumentError(error)) {
      return refuse(out, `vfio ${command.name}: ${messageOf(error)}`, `vfio ${command.name}`);
    }
    out.note(`vfio ${command.name}: ${messageOf(error)}`);
    const hint = hintOf(error);
    if (hint !== undefined) out.note(`hint: ${hint}`);
    return exitStatus.failed;
  }
}

function parse(command: Command, argv: string[], out: Output): Invocation {
  const { values, positionals } = parseArgs({
    args: argv,
    options: command.options,
    allowPositionals: true,
  });
  const { length } = command.positionals;
  const fewest = command.optional ? length - 1 : length;
  const mayBeMore = command.positionals.at(-1)?.endsWith('…') ?? false;
  if (positionals.length < fewest || (positionals.length > length && !mayBeMore)) {
    if (length === 0) throw new Error(`takes no arguments, got ${positionals.length}`);
    const wanted = argumentsOf(command).join(' ');
    throw new Error(`expected ${wanted}, got ${positionals.length} arguments`);
  }
  const flags = Object.fromEntries(
    Object.keys(command.options).map((option) => [option, values[option] === true]),
  );
  const strings = Object.entries(values).filter(([, value]) => typeof value === 'string');
  return { positionals, flags, values: Object.fromEntries(strings) as Record<string, string>, out };
}

function refuse(out: Output, message: string, helpOf: string): number {
  out.note(message);
  out.note(`Try: ${helpOf} --help`);
  return exitStatus.usage;
}

/** What was typed can only be of the wrong value, or out of range. */
function isArgumentError(error: unknown): boolean {
  if (!(error instanceof TypeError || error instanceof RangeError) || !('code' in error))
    return false;
  return error.code === 'ERR_INVALID_ARG_VALUE' || error.code === 'ERR_OUT_OF_RANGE';
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function packageVersion(): string {
  const require = createRequire(import.meta.url);
  return (require('vfio/package.json') as { version: string }).version;
}
