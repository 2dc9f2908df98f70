import { createRequire } from 'node:module';
import { printable, VfioError } from '../index.ts';
import { type Command, exitStatus, type Invocation, type Output } from './command.ts';
import { errorHelp } from './error_help.ts';
import { commandHelp, familyHelp, helpOfHelp, overview } from './help.ts';
import { asksForHelp, parse } from './parse.ts';
import { didYouMean } from './suggest.ts';
import { printableLines, shellWord } from './text.ts';
import { hintOf, messageFor } from './words.ts';

/** Runs one command line, without the program's name. Returns the exit status. */
export function run(argv: string[], commands: readonly Command[], out: Output): Promise<number> {
  return runOne(argv, commands, safe(out));
}

/** Names of drivers, files and processes are others' text: no terminal obeys it. */
function safe(out: Output): Output {
  const { picture } = out;
  return {
    ...out,
    picture:
      picture &&
      ((text) => {
        picture(printableLines(text));
      }),
    print: (text) => {
      out.print(printableLines(text));
    },
    note: (text) => {
      out.note(printableLines(text));
    },
  };
}

async function runOne(argv: string[], commands: readonly Command[], out: Output): Promise<number> {
  const [name, ...more] = argv;
  if (name === undefined) {
    out.print(overview(commands));
    return exitStatus.usage;
  }
  if (isHelp(name)) return tellHelpBefore(more, commands, out);
  if (name === 'help') return tellHelp(more, commands, out);
  if (name === '--version') {
    out.print(packageVersion());
    return exitStatus.ok;
  }
  const command = commands.find((entry) => begins(argv, entry.name));
  if (command === undefined) return tellUnknown(argv, commands, out);
  const rest = argv.slice(wordsOf(command.name).length);
  if (asksForHelp(command, rest)) {
    out.print(commandHelp(command));
    return exitStatus.ok;
  }
  return await runCommand(command, rest, commands, out);
}

function begins(argv: readonly string[], name: string): boolean {
  return wordsOf(name).every((word, at) => argv[at] === word);
}

function wordsOf(name: string): string[] {
  return name.split(' ');
}

/** `vfio --help`, and `vfio --help <command>`, behind which its arguments may stand already */
function tellHelpBefore(argv: string[], commands: readonly Command[], out: Output): number {
  const words = argv.filter((word) => !isHelp(word));
  const command = commands.find((entry) => begins(words, entry.name));
  return tellHelp(command === undefined ? words : wordsOf(command.name), commands, out);
}

/** `vfio help`, `vfio help <command>`, `vfio help <reason>` */
function tellHelp(argv: string[], commands: readonly Command[], out: Output): number {
  const words = argv.filter((word) => !isHelp(word));
  if (words.join(' ') === 'help' || (words.length === 0 && argv.length > 0)) {
    out.print(helpOfHelp());
    return exitStatus.ok;
  }
  const command = commands.find(({ name }) => name === words.join(' '));
  if (words.length > 0 && command === undefined) {
    const { reasons, of } = errorHelp();
    const said = words.length === 1 ? of(words[0] ?? '', out.width) : undefined;
    if (said === undefined) return tellUnknown([...words, '--help'], commands, out, reasons);
    out.print(said);
    return exitStatus.ok;
  }
  out.print(command === undefined ? overview(commands) : commandHelp(command));
  return exitStatus.ok;
}

/**
 * What begins with no command's name: perhaps with the first word of several's. `reasons`: what help
 * is given of, beside commands.
 */
function tellUnknown(
  argv: string[],
  commands: readonly Command[],
  out: Output,
  reasons: readonly string[] = [],
): number {
  const [first = '', second] = argv;
  const family = commands.filter(({ name }) => name.startsWith(`${first} `));
  if (family.length > 0 && (second === undefined || isHelp(second))) {
    out.print(familyHelp(first, family));
    return second === undefined ? exitStatus.usage : exitStatus.ok;
  }
  if (/^--?\w/.test(first)) {
    const after = commands.some(({ options }) => Object.hasOwn(options, first.slice(2)))
      ? ': options stand after the command'
      : didYouMean(first, ['--help', '--version']);
    return refuse(out, `vfio: there is no option '${printable(first)}' here${after}`, 'vfio');
  }
  const isFamily = family.length > 0;
  const names = (isFamily ? family : commands).map(({ name }) => name);
  const isWhole = names.includes(first);
  const whole = argv.filter((word) => !isHelp(word)).join(' ');
  const typed = isFamily ? `${first} ${second ?? ''}` : isWhole ? whole : first;
  const meant = didYouMean(
    typed,
    isFamily ? names : [...names, ...firstWords(names), ...reasons, 'help'],
  );
  const helpOf = isFamily ? `vfio ${first}` : 'vfio';
  return refuse(out, `vfio: there is no command '${printable(typed)}'${meant}`, helpOf);
}

function firstWords(names: readonly string[]): string[] {
  return names.flatMap((name) => wordsOf(name).slice(0, 1));
}

function isHelp(word: string): boolean {
  return word === '--help' || word === '-h';
}

async function runCommand(
  command: Command,
  argv: string[],
  commands: readonly Command[],
  out: Output,
): Promise<number> {
  let invocation: Invocation;
  try {
    invocation = parse(command, argv, commands, out);
  } catch (error) {
    return refuse(out, `vfio ${command.name}: ${messageOf(error)}`, `vfio ${command.name}`);
  }
  try {
    return await command.run(invocation);
  } catch (error) {
    if (isArgumentError(error)) {
      return refuse(
        out,
        `vfio ${command.name}: ${messageFor(error, command)}`,
        `vfio ${command.name}`,
      );
    }
    out.note(`vfio ${command.name}: ${messageFor(error, command)}`);
    const hint = rootHintOf(error, ['vfio', ...wordsOf(command.name), ...argv]) ?? hintOf(error);
    if (hint !== undefined) out.note(`hint: ${hint}`);
    return exitStatus.failed;
  }
}

/** Of what another user may not do: the command line as root has to type it. */
function rootHintOf(error: unknown, typed: readonly string[]): string | undefined {
  const line = `sudo npx ${typed.map(shellWord).join(' ')}`;
  const hint = hintOf(error);
  if (hint !== undefined) {
    return hint.includes('sudo npx vfio …')
      ? hint.replace('sudo npx vfio …', () => line)
      : undefined;
  }
  if (!(error instanceof VfioError) || process.geteuid?.() === 0) return undefined;
  const isRefused = error.code === 'EACCES' || error.code === 'EPERM';
  return isRefused ? `this user may not do that, and root may: ${line}` : undefined;
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
