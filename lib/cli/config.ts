import { readFileSync } from 'node:fs';
import {
  type Backend,
  decodePciConfig,
  describeDevice,
  type OpenDeviceOptions,
  VfioDevice,
} from '../index.ts';
import { aboutBackends, backendOption, openOptions } from './backend.ts';
import { type Command, exitStatus, type Invocation } from './command.ts';
import { configText, hexDump } from './config_text.ts';
import { systemPciIds } from './pci_ids.ts';
import { jsonText } from './text.ts';

export const config: Command = {
  name: 'config',
  summary: "Print a PCI device's configuration space, decoded",
  positionals: ['device'],
  options: {
    json: { type: 'boolean', description: 'Print JSON; 64-bit values and bytes are hex strings' },
    hex: { type: 'boolean', description: 'Print the bytes, in the form that lspci -F reads' },
    'no-open': { type: 'boolean', description: "Do not open the device; read sysfs's config file" },
    ...backendOption,
  },
  details: `<device> is named as for vfio info. Opening it resets it where it can be reset. What is printed
is what a VFIO user sees: the kernel virtualizes a part of the space. With --no-open it is what the
device itself has, of which only root reads more than the first 64 bytes.

A flag that is set has a + after its name, one that is not set a -. A device that is gone or asleep
reads as all ones: that is said, and the exit status is 1.

${aboutBackends}`,
  run: printConfig,
};

async function printConfig(invocation: Invocation): Promise<number> {
  const { positionals, flags, out } = invocation;
  const [spec = ''] = positionals;
  const options = openOptions(invocation);
  const { address, sysfsPath } = describeDevice(spec);
  const { bytes, backend } = flags['no-open']
    ? readSysfs(sysfsPath)
    : await readConfig(spec, options);
  const decoded = decodePciConfig(bytes);
  if (flags['json']) {
    const report = { address, ...(backend && { backend }), ...decoded };
    out.print(jsonText({ ...report, ...(flags['hex'] && { bytes }) }));
  } else if (flags['hex']) out.print(hexDump(address, bytes));
  else if (decoded.responds) out.print(configText(address, decoded, systemPciIds(), out.colour));
  if (!decoded.responds) {
    out.note(`vfio config: ${address}: ${decoded.problems.join('; ')}`);
    return exitStatus.failed;
  }
  if (flags['no-open'] && bytes.length === unprivileged) {
    out.note(
      `vfio config: sysfs shows this user the first ${unprivileged} bytes only, without capabilities`,
    );
    out.note(`hint: sudo vfio config ${address} --no-open`);
  }
  return exitStatus.ok;
}

/** So much of its config file sysfs shows everybody. */
const unprivileged = 64;

/** The bytes, and how the device was opened for them, where it was. */
interface Read {
  bytes: Uint8Array;
  backend?: Backend;
}

/** Not a Buffer, which would say its bytes in JSON in its own way. */
function readSysfs(sysfsPath: string): Read {
  return { bytes: Uint8Array.from(readFileSync(`${sysfsPath}/config`)) };
}

async function readConfig(spec: string, options: OpenDeviceOptions): Promise<Read> {
  await using device = await VfioDevice.open(spec, options);
  return { bytes: device.pci.readBytes(), backend: device.backend };
}
