import type { Command, Options } from './command.ts';

/** `vfio --help` */
export function overview(commands: readonly Command[]): string {
  return [
    'Usage: vfio <command> [arguments] [options]',
    '',
    'Commands:',
    ...listOf(commands),
    '',
    'Options:',
    '  --help     Say this, or what a command does: vfio <command> --help, vfio help <command>',
    '             vfio help <reason> says what an error means, such as vfio help not-bound',
    '  --version  Print the version',
    '',
    'Exit status: 0 done, also where the reader of the output went away; 1 failed, or the output found no',
    'room: the reason is on standard error; 2 the command line makes no sense; 3 (info) another holds the',
    'device, and only what sysfs says was printed.',
  ].join('\n');
}

/** `vfio bench`: what is said of commands whose names have a first word in common. */
export function familyHelp(word: string, family: readonly Command[]): string {
  return [
    `Usage: vfio ${word} <command> [arguments] [options]`,
    '',
    'Commands:',
    ...listOf(family),
  ].join('\n');
}

function listOf(commands: readonly Command[]): string[] {
  return commands.map(({ name, summary }) => `  ${name.padEnd(12)}${summary}`);
}

/** `vfio <command> --help` */
export function commandHelp(command: Command): string {
  const { name, summary, options, details } = command;
  const texts = optionTexts(options);
  const width = Math.max(15, ...texts.map(({ length }) => length + 2));
  const descriptions = Object.values(options).map(({ description }) => description);
  const list = texts.map((text, at) => `  ${text.padEnd(width)}${descriptions[at] ?? ''}`);
  return [
    ['Usage: vfio', name, ...usageOf(command, ['[options]'])].join(' '),
    '',
    `${summary}.`,
    '',
    'Options:',
    ...list,
    `  ${'--help'.padEnd(width)}Say this`,
    '',
    details,
  ].join('\n');
}

/** What `vfio help` does. */
export const helpSummary =
  'Say what a command does, or which there are; or what the reason of an error means, and what mends it.';

/** `vfio help --help` */
export function helpOfHelp(): string {
  return [
    'Usage: vfio help [command | reason]',
    '',
    helpSummary,
    '',
    'A reason is what the hint of an error names, such as not-bound; a code, such as ERR_VFIO_IN_USE, is',
    'explained, too.',
  ].join('\n');
}

/** Each option, with what stands for its value. */
export function optionTexts(options: Options): string[] {
  return Object.entries(options).map(([name, { type, values, placeholder }]) =>
    type === 'string'
      ? `--${name} <${placeholder ?? (values === 'file' ? 'file' : name)}>`
      : `--${name}`,
  );
}

/** Arguments and options, in the order in which they are typed. */
export function usageOf(command: Command, options: readonly string[]): string[] {
  const args = argumentsOf(command);
  return command.passesOn ? [...options, ...args] : [...args, ...options];
}

/** A command's arguments, those that may be left out in brackets. */
export function argumentsOf({ positionals, optional }: Command): string[] {
  return positionals.map((part, at) =>
    optional && at === positionals.length - 1 ? `[${part}]` : `<${part}>`,
  );
}
