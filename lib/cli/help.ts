import type { Command } from './command.ts';

/** `vfio --help` */
export function overview(commands: readonly Command[]): string {
  const list = commands.map(({ name, summary }) => `  ${name.padEnd(12)}${summary}`);
  return [
    'Usage: vfio <command> [arguments] [options]',
    '',
    'Commands:',
    ...list,
    '',
    'Options:',
    '  --help     Say this, or what a command does: vfio <command> --help',
    '  --version  Print the version',
    '',
    'Exit status: 0 done, also where the reader of the output went away; 1 failed, or the output found no',
    'room: the reason is on standard error; 2 the command line makes no sense; 3 (info) another holds the',
    'device, and only what sysfs says was printed.',
  ].join('\n');
}

/** `vfio <command> --help` */
export function commandHelp(command: Command): string {
  const { name, summary, options, details } = command;
  const list = Object.entries(options).map(
    ([option, { description }]) => `  ${`--${option}`.padEnd(15)}${description}`,
  );
  return [
    ['Usage: vfio', name, ...argumentsOf(command), '[options]'].join(' '),
    '',
    `${summary}.`,
    '',
    'Options:',
    ...list,
    `  ${'--help'.padEnd(15)}Say this`,
    '',
    details,
  ].join('\n');
}

/** A command's arguments, those that may be left out in brackets. */
export function argumentsOf({ positionals, optional }: Command): string[] {
  return positionals.map((part, at) =>
    optional && at === positionals.length - 1 ? `[${part}]` : `<${part}>`,
  );
}
