import { readFileSync } from 'node:fs';
import { decodePciConfig, describeDevice, VfioDevice } from '../index.ts';
import { exitStatus, type Command, type Invocation } from './command.ts';
import { configText, hexDump } from './config_text.ts';
import { lossless } from './json.ts';
import { systemPciIds } from './pci_ids.ts';

export const config: Command = {
  name: 'config',
  summary: "Print a PCI device's configuration space, decoded",
  positionals: ['device'],
  options: {
    json: { type: 'boolean', description: 'Print JSON; 64-bit values and bytes are hex strings' },
    hex: { type: 'boolean', description: 'Print the bytes, in the form that lspci -F reads' },
    'no-open': { type: 'boolean', description: "Do not open the device; read sysfs's config file" },
  },
  details: `<device> is named as for vfio info. Opening it resets it where it can be reset. What is printed
is what a VFIO user sees: the kernel virtualizes a part of the space. With --no-open it is what the
device itself has, of which only root reads more than the first 64 bytes.

A flag that is set has a + after its name, one that is not set a -.`,
  run: printConfig,
};

async function printConfig({ positionals, flags, out }: Invocation): Promise<number> {
  const [spec = ''] = positionals;
  const { address, sysfsPath } = describeDevice(spec);
  const bytes = flags['no-open'] ? readSysfs(sysfsPath) : await readConfig(spec);
  const decoded = decodePciConfig(bytes);
  if (flags['json']) {
    const report = { address, ...decoded, ...(flags['hex'] && { bytes }) };
    out.print(JSON.stringify(report, lossless, 2));
  } else if (flags['hex']) out.print(hexDump(address, bytes));
  else out.print(configText(address, decoded, systemPciIds(), out.colour));
  return exitStatus.ok;
}

/** Not a Buffer, which would say its bytes in JSON in its own way. */
function readSysfs(sysfsPath: string): Uint8Array {
  return Uint8Array.from(readFileSync(`${sysfsPath}/config`));
}

async function readConfig(spec: string): Promise<Uint8Array> {
  const device = await VfioDevice.open(spec);
  try {
    return device.pci.readBytes();
  } finally {
    await device.close();
  }
}
