import { VfioError, type VfioReason } from '../index.ts';
import type { Command } from './command.ts';
import { optionTexts } from './help.ts';

// The library's messages name its arguments and options, since programs read them. Here they are said
// as they are typed.

/** What helps on the command line, where the error's own hint is for programs. */
const hints: Partial<Record<VfioReason, string>> = {
  'sysfs-absent':
    'have the container or the sandbox mount sysfs at /sys, for which read-only is enough',
  'no-iommu':
    'where that is meant: --backend noiommu; otherwise vfio doctor says what switches an IOMMU on',
  'group-owned': 'end the program that has the group, or have it close its devices',
  'vf-token-required':
    'vfio has no option for the token: use the program that has the physical function open, or end it',
  'asked-back': 'run the command again when that is done',
  'region-unreachable':
    'vfio config shows whether memory decoding is on, and whether the device is awake',
};

/** What mends an error, in commands and options. */
export function hintOf(error: unknown): string | undefined {
  // Of several errors the first is the one that came of what was asked for.
  if (error instanceof AggregateError) return hintOf(error.errors[0]);
  if (!(error instanceof VfioError)) return undefined;
  const { reason, hint, facts } = error;
  // What was not looked at is not absent, and no mount helps.
  const isRefused = facts !== undefined && 'code' in facts && facts.code !== 'ENOENT';
  const isAbsent = reason !== 'sysfs-absent' || !isRefused;
  const own = reason && isAbsent ? hints[reason] : undefined;
  if (own !== undefined) return `${own} (vfio help ${reason ?? ''})`;
  return hint === undefined ? undefined : inOptions(hint);
}

/** A text for programs and for people, as the command line has it: options instead of objects. */
export function inOptions(text: string): string {
  return text
    .replace(/\(docs\/errors\.md#([\w-]+)\)/g, '(vfio help $1)')
    .replace(/\{[^{}]*\}, (--[\w-]+)(?: on the command line)?/g, '$1')
    .replace(/(--[\w-]+(?: [\w-]+)?), (?:in programs )?\{[^{}]*\}/g, '$1');
}

/** What the library says of an argument that makes no sense. */
const refusals = [
  /^The "([\w.]+)" argument must be (.*)\. Received (.*)$/s,
  /^The value of "([\w.]+)" is out of range\. It must be (.*)\. Received (.*)$/s,
];

/** An error's message, which names arguments as they are typed. */
export function messageFor(error: unknown, command: Command): string {
  const message = error instanceof Error ? error.message : String(error);
  const [, name, expected, received] =
    refusals.map((each) => each.exec(message)).find(Boolean) ?? [];
  if (name === undefined || expected === undefined) return forPeople(message);
  const but = received === undefined || received === 'undefined' ? '' : `, not ${received}`;
  return `${typedName(name, command)} must be ${forPeople(expected)}${but}`;
}

/** Options that are called otherwise than the library's arguments. */
const aliases: Record<string, string> = { count: 'vfs' };

/** `--dry-run` for `dryRun`, and `<device>` for what is no option. */
function typedName(name: string, { options, positionals }: Command): string {
  const option = aliases[name] ?? name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const known = options[option];
  if (known !== undefined) return optionTexts({ [option]: known })[0]?.split(' ')[0] ?? option;
  const typed = positionals.map((each) => each.replace('…', ''));
  if (typed.includes(name)) return `<${name}>`;
  // `device.address` too; the first is `pf` for one command.
  return name.startsWith('device') ? `<${typed[0] ?? name}>` : name;
}

/** Nobody types an object, or the number of a descriptor; and nobody listens to an event. */
function forPeople(text: string): string {
  return text
    .replace(', { bus, address } as in sysfs', '')
    .replace(/, or the number of an open descriptor(?=$|;)/, '')
    .replace('a path in sysfs, a node', 'a path in sysfs, or a node')
    .replace(", and closed itself since nobody listened to its event 'request'", '');
}
