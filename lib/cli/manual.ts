import { aboutBackends, type Command } from './command.ts';
import { argumentsOf, helpSummary, optionTexts, usageOf } from './help.ts';

/**
 * The manual page vfio(1), in roff with the macros of man(7), made from the table of commands.
 *
 * @param date - of the version
 */
export function manual(commands: readonly Command[], version: string, date: string): string {
  return [
    String.raw`.\" Made from the commands' own words: npm run man:accept`,
    `.TH VFIO 1 "${date}" "vfio ${version}" "User Commands"`,
    '.SH NAME',
    String.raw`vfio \- open, drive and hand over Linux VFIO devices`,
    '.SH SYNOPSIS',
    ...commands.flatMap(synopsis),
    ...synopsisOf(['help', '[command | reason]']),
    '.SH DESCRIPTION',
    ...blocks(description).slice(1),
    '.SH COMMANDS',
    ...commands.flatMap(section),
    '.SS vfio help [command | reason]',
    ...paragraph(helpSummary),
    '.SH BACKENDS',
    ...blocks(aboutBackends).slice(1),
    '.SH OPTIONS',
    ...tagged('--help', ['Say what vfio, or a command, does.']),
    ...tagged('--version', ['Print the version.']),
    '.SH EXIT STATUS',
    ...exits.flatMap(([status, text]) => ['.TP', `.B ${status}`, ...paragraph(text)]),
    '.SH ENVIRONMENT',
    '.TP',
    '.B NO_COLOR',
    'Where it is set and not empty, nothing is bold on a terminal.',
    '.TP',
    '.B VFIO_ADDON_PATH',
    ...paragraph("The file of the native addon, where it is not in the package's own folder."),
    '.SH FILES',
    ...files.flatMap(([path, text]) => ['.TP', `.I ${escaped(path)}`, ...paragraph(text)]),
    '.SH EXAMPLES',
    ...examples.flatMap(([line, text]) => ['.TP', ...paragraph(text), ...preformatted([line])]),
    '.SH SEE ALSO',
    '.BR lspci (8),',
    '.BR modprobe (8),',
    '.BR udev (7)',
    '',
  ].join('\n');
}

const description = `vfio lists the devices that Linux VFIO gives to programs, says why one does not open, reads and
writes their registers, and resets them. The same is offered to programs by the package vfio for
Node.

A device is named by its address, as in 0000:3b:00.0, or 3b:00.0 in the PCI domain 0; by the UUID of
an mdev; by a path in sysfs; or by a node such as /dev/vfio/devices/vfio0.

What others named, such as drivers and processes, is shown with its control characters escaped. A
reader that goes away, as head does, ends the output, and changes no exit status.`;

const exits: [number, string][] = [
  [0, 'Done.'],
  [
    1,
    'Failed, and the reason is on standard error. Also where the output found no room, where a device does not answer config, and where bits did not take what write wrote to config.',
  ],
  [2, 'The command line makes no sense.'],
  [3, 'Of info: another program holds the device, and only what sysfs says was printed.'],
];

const files: [string, string][] = [
  ['/dev/vfio/devices/vfioN', 'The cdev of a device.'],
  ['/dev/vfio/N', 'The node of a legacy IOMMU group.'],
  ['/dev/iommu', 'Makes address spaces for devices that are opened by their cdevs.'],
  ['/sys/bus/*/devices', 'Where devices, their drivers and groups are looked up.'],
];

const examples: [string, string][] = [
  ['vfio list --all', 'Which devices are there, and to which drivers are they bound?'],
  ['vfio info 0000:3b:00.0 --json', 'What does the kernel say of one, for a program?'],
  ['vfio read 3b:00.0 bar0 0x1c --width 32', 'What is in a register?'],
];

function synopsis(command: Command): string[] {
  const { name, options } = command;
  const brackets = optionTexts(options).map((option) => `[${option}]`);
  return synopsisOf([...name.split(' '), ...usageOf(command, brackets)]);
}

/** Each part stays on one line. */
function synopsisOf(parts: string[]): string[] {
  return ['.SY vfio', ...parts.map((part) => escaped(part).replaceAll(' ', String.raw`\ `)), '.YS'];
}

function section(command: Command): string[] {
  const { name, summary, options, details } = command;
  const texts = optionTexts(options);
  const described = Object.values(options).map((option) => option.description);
  return [
    `.SS ${escaped(['vfio', name, ...argumentsOf(command)].join(' '))}`,
    ...paragraph(`${summary}.`),
    ...texts.flatMap((text, at) => tagged(text, [`${described[at] ?? ''}.`])),
    ...blocks(details.replace(aboutBackends, '').trimEnd()),
  ];
}

function tagged(option: string, lines: string[]): string[] {
  return ['.TP', `.B ${escaped(option)}`, ...lines.flatMap(paragraph)];
}

/** Paragraphs, and what is set in columns; empty lines stand between them. */
function blocks(text: string): string[] {
  return text.split('\n\n').flatMap((block) => {
    const lines = block.split('\n');
    // A paragraph may end with a list that is set in columns.
    const first = lines.findIndex((line) => line.startsWith('  '));
    const filled = first < 0 ? lines : lines.slice(0, first);
    const set = first < 0 ? [] : lines.slice(first);
    return [
      ...(filled.length > 0 ? ['.P', ...paragraph(filled.join(' '))] : []),
      ...(set.length > 0 ? ['.P', ...preformatted(set)] : []),
    ];
  });
}

/** Lines of at most 80 characters. */
function paragraph(text: string): string[] {
  const lines = [''];
  for (const word of escaped(text).split(' ')) {
    const line = lines.at(-1) ?? '';
    if (line === '') lines[lines.length - 1] = word;
    else if (line.length + word.length < 80) lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines.map(notARequest);
}

function preformatted(lines: string[]): string[] {
  return ['.EX', ...lines.map(escaped), '.EE'];
}

/** What roff would take for a request, an escape or a typographic sign, as it is written. */
function escaped(text: string): string {
  const plain = text
    .replaceAll('\\', String.raw`\e`)
    .replaceAll('-', String.raw`\-`)
    .replaceAll("'", String.raw`\(aq`)
    .replaceAll('`', String.raw`\(ga`)
    .replaceAll('^', String.raw`\(ha`)
    .replaceAll('~', String.raw`\(ti`)
    .replace(/[^\0-\x7f]/gu, (sign) => String.raw`\[u${codeOf(sign)}]`);
  return notARequest(plain);
}

function notARequest(line: string): string {
  return line.startsWith('.') ? String.raw`\&${line}` : line;
}

function codeOf(sign: string): string {
  return (sign.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0');
}
