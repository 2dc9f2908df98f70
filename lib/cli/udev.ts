import { udevRules } from '../index.ts';
import {
  type Command,
  exitStatus,
  type Invocation,
  misuse,
  type Output,
  usageError,
} from './command.ts';
import { type GroupLookup, lookUpGroup } from './unix_group.ts';
import { notGiven } from './udev_devices.ts';
import { writeOwnFile } from './write_file.ts';

const rulesFolder = '/etc/udev/rules.d';

export const udev: Command = {
  name: 'udev',
  summary: 'Give a Unix group the nodes of VFIO devices, by udev rules',
  positionals: ['device…'],
  optional: true,
  devices: 'all',
  options: {
    group: {
      ...{ type: 'string', placeholder: 'name', values: 'unix-group' },
      description: 'The Unix group; required',
    },
    mode: { type: 'string', description: 'The mode of the nodes, 0660 by default' },
    install: {
      type: 'boolean',
      description: 'Write the rules to a file, and say what to run then',
    },
    dir: {
      type: 'string',
      description: `Where to write it, ${rulesFolder} by default`,
      ...{ values: 'file', placeholder: 'folder' },
    },
  },
  details: `Prints rules for the cdevs of the devices, for their legacy groups and for /dev/iommu, with comments
that say what each right means. Without a device they are for all that have a VFIO driver, now or
later. A device is named as for vfio info and has to be there; it need not be bound yet. Its rules go
by its address, since the numbers of cdevs and of groups change. A bridge is refused: VFIO takes none.
Nodes of devices without an IOMMU stay root's, which the command says.

--install writes 70-vfio-<group>.rules, as a whole or not at all, and replaces no file that it did not
write. It runs nothing: the commands by which udev applies the rules to the nodes that are there are
printed.

udev takes no group that is not there, and since systemd 258 only system groups (groupadd --system).`,
  run: udevCommand,
};

async function udevCommand({ positionals, flags, values, out }: Invocation): Promise<number> {
  const { group, mode, dir } = values;
  if (group === undefined)
    throw misuse('--group <name> is missing: the Unix group that gets the nodes');
  const install = flags['install'] === true;
  if (dir !== undefined && !install)
    throw misuse('--dir says where --install writes: give --install, too');
  const rules = udevRules({
    group,
    ...(mode !== undefined && { mode: parseMode(mode) }),
    ...(positionals.length > 0 && { devices: positionals }),
  });
  const named = positionals.length > 0 ? positionals : undefined;
  const remarks = await notGiven(named);
  const found = await lookUpGroup(group);
  tellGroup(group, found, out);
  for (const remark of remarks) out.note(`vfio udev: ${remark}`);
  if (!install) {
    out.print(rules.trimEnd());
    return exitStatus.ok;
  }
  if (found.state === 'absent') {
    out.note('vfio udev: nothing is written');
    return exitStatus.failed;
  }
  await installRules(rules, group, dir ?? rulesFolder, out);
  return exitStatus.ok;
}

/** The group reads and writes, nobody executes. */
function parseMode(text: string): number {
  if (/^0?[0246]6[0246]$/.test(text)) return Number.parseInt(text, 8);
  throw usageError('--mode', '0660, or another that lets the group read and write', text);
}

/** Numbers from here on are people's, by login.defs of every distribution. */
const firstOfPeople = 1000;

function tellGroup(group: string, found: GroupLookup, out: Output): void {
  if (found.state === 'absent') {
    out.note(
      `vfio udev: there is no group ${group}, and udev ignores what names one that is not there`,
    );
    out.note(`hint: sudo groupadd --system ${group}`);
  } else if (found.state === 'unknown') {
    out.note(`vfio udev: whether there is a group ${group} could not be looked at: ${found.why}`);
  } else if (found.gid >= firstOfPeople) {
    out.note(
      `vfio udev: ${group} (${found.gid}) is no system group: udev of systemd 258 and later ignores it`,
    );
  }
}

async function installRules(
  rules: string,
  group: string,
  folder: string,
  out: Output,
): Promise<void> {
  const name = `70-vfio-${group}.rules`;
  const [marker = ''] = rules.split('\n');
  const isOurs = (text: string): boolean => text.startsWith(`${marker}\n`);
  const done = await writeOwnFile({ folder, name, text: rules, isOurs });
  out.print(`${folder}/${name}: ${done}`);
  out.print(`For the nodes that are there already, run as root:
  udevadm control --reload
  udevadm trigger --settle --subsystem-match=vfio-dev --subsystem-match=vfio
  udevadm trigger --settle --subsystem-match=misc --sysname-match=iommu`);
}
