import { type CdiSpec, cdiSpec } from '../index.ts';
import {
  aboutBackends,
  backendOption,
  type Command,
  exitStatus,
  type Invocation,
  openOptions,
  misuse,
  type Output,
} from './command.ts';
import { jsonText } from './text.ts';
import { writeOwnFile } from './write_file.ts';

const untilReboot = '/var/run/cdi';

export const cdi: Command = {
  name: 'cdi',
  summary: 'Describe devices to container runtimes (Container Device Interface)',
  positionals: ['device…'],
  options: {
    kind: {
      ...{ type: 'string', placeholder: 'vendor/class' },
      description: 'What the devices are called; vfio.dev/device by default',
    },
    name: { type: 'string', description: 'The name of a single device; its address by default' },
    install: { type: 'boolean', description: 'Write it where container runtimes look for it' },
    dir: {
      type: 'string',
      description: `Where to write it, ${untilReboot} by default`,
      ...{ values: 'file', placeholder: 'folder' },
    },
    ...backendOption,
  },
  details: `Prints a specification in JSON (CDI 0.6.0). A container that asks for <kind>=<name>, such as
vfio.dev/device=0000:3b:00.0, gets the nodes by which the device is opened, and its address in
VFIO_DEVICE_<address>. Devices have to be bound to a VFIO driver. Nothing is opened.

The numbers in the names of nodes change when a device is bound anew and when the machine boots. So
--install writes to ${untilReboot}, which is empty after a boot, and not to /etc/cdi: run it again when
devices were bound. It writes the file <vendor>-<class>.json as a whole or not at all, with the devices
of this command line only, and replaces no file that it did not write.

A device without an IOMMU (--backend noiommu) is opened only by a container that has CAP_SYS_RAWIO
besides (--cap-add SYS_RAWIO), which no specification can give.

${aboutBackends}`,
  run: cdiCommand,
};

async function cdiCommand(invocation: Invocation): Promise<number> {
  const { positionals, flags, values, out } = invocation;
  const { kind, name, dir } = values;
  const install = flags['install'] === true;
  if (dir !== undefined && !install)
    throw misuse('--dir says where --install writes: give --install, too');
  const spec = cdiSpec(positionals, { kind, name, ...openOptions(invocation) });
  tellUnconfined(spec, out);
  if (!install) {
    out.print(jsonText(spec));
    return exitStatus.ok;
  }
  await installSpec(spec, dir ?? untilReboot, out);
  return exitStatus.ok;
}

/** What the nodes alone do not give. */
function tellUnconfined({ devices }: CdiSpec, out: Output): void {
  const isWithout = ({ containerEdits }: CdiSpec['devices'][number]): boolean =>
    containerEdits.deviceNodes.some(({ path }) => /\/noiommu-[^/]+$/.test(path));
  const names = devices.filter(isWithout).map(({ name }) => name);
  if (names.length === 0) return;
  out.note(
    `vfio cdi: without an IOMMU only CAP_SYS_RAWIO opens ${names.join(' and ')}, which then reaches all memory of the machine`,
  );
  out.note('hint: the nodes alone are not enough: start the container with --cap-add SYS_RAWIO');
}

async function installSpec(spec: CdiSpec, folder: string, out: Output): Promise<void> {
  const name = `${spec.kind.replace('/', '-')}.json`;
  const text = `${jsonText(spec)}\n`;
  const done = await writeOwnFile({
    ...{ folder, name, text },
    // A runtime that finds no folder has no devices: the first one that writes makes it.
    makeFolder: folder === untilReboot,
    isOurs: (there) => isOurs(there, spec),
  });
  out.print(`${folder}/${name}: ${done}`);
  for (const device of spec.devices) {
    const nodes = device.containerEdits.deviceNodes.map(({ path }) => path);
    out.print(`  --device ${spec.kind}=${device.name} gives ${nodes.join(' and ')}`);
  }
  if (!lastsUntilReboot(folder)) {
    out.note(
      `vfio cdi: ${folder} outlives a boot, after which these nodes may be other devices': ${untilReboot} does not`,
    );
  }
}

function lastsUntilReboot(folder: string): boolean {
  return /^\/(?:var\/)?run\//.test(folder);
}

/** What another wrote need not be JSON. */
function isOurs(text: string, { annotations }: CdiSpec): boolean {
  try {
    const there = JSON.parse(text) as Partial<CdiSpec> | null;
    return Object.entries(annotations).every(([key, by]) => there?.annotations?.[key] === by);
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}
