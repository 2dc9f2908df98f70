import { type Region, VfioDevice } from '../index.ts';
import {
  aboutBackends,
  backendOption,
  type Command,
  exitStatus,
  type Invocation,
  openOptions,
  type Options,
  usageError,
} from './command.ts';
import { clearingBits, untaken } from './config.ts';
import { hex } from './text.ts';

const options: Options = {
  width: {
    ...{ type: 'string', placeholder: 'bits' },
    description: 'Bits of the access: 8, 16, 32 (if nothing is said) or 64',
    values: ['8', '16', '32', '64'],
  },
  ...backendOption,
};

const aboutArguments = `<device> is named as for vfio info; <region> is a region's name there, such as bar0 or config, or
its index; <offset> is a multiple of the width, decimal or 0x….`;

const aboutOpening = `The device is opened for the access, and closed after it. Both reset it where it can be reset: what
was written is forgotten then, and what is read is what the device has after a reset. The access
is made by the kernel: it reaches I/O ports and the configuration space as well as memory.

${aboutBackends}`;

const aboutTaking = `What was written to config is read back. Where bits did not take the value, because the device has
them read-only or does not implement them, or the kernel keeps them, they are named and the exit
status is 1: write a read-only bit as it reads. Bits that are written with 1 to clear a status, or to
start a reset, are taken when they read 0 after it. Other regions are not read back: reading a
register there may change the device.`;

export const read: Command = {
  name: 'read',
  summary: "Read a register of a device's region",
  positionals: ['device', 'region', 'offset'],
  options,
  details: `${aboutArguments} The value is printed as 0x…, all digits.

${aboutOpening}`,
  run: readRegister,
};

export const write: Command = {
  name: 'write',
  summary: "Write a register of a device's region",
  positionals: ['device', 'region', 'offset', 'value'],
  options,
  details: `${aboutArguments} <value> is a number like it.

${aboutTaking}

${aboutOpening}`,
  run: writeRegister,
};

/** The accesses of each width. */
const accesses: Record<string, Access | undefined> = {
  8: {
    read: (region, offset) => region.read8(offset),
    write: (region, offset, value) => {
      region.write8(offset, Number(value));
    },
  },
  16: {
    read: (region, offset) => region.read16(offset),
    write: (region, offset, value) => {
      region.write16(offset, Number(value));
    },
  },
  32: {
    read: (region, offset) => region.read32(offset),
    write: (region, offset, value) => {
      region.write32(offset, Number(value));
    },
  },
  64: {
    read: (region, offset) => region.read64(offset),
    write: (region, offset, value) => {
      region.write64(offset, value);
    },
  },
};

interface Access {
  read: (region: Region, offset: number) => number | bigint;
  write: (region: Region, offset: number, value: bigint) => void;
}

async function readRegister(invocation: Invocation): Promise<number> {
  const { width, access } = accessOf(invocation);
  const offset = Number(parseNumber('offset', invocation.positionals[2]));
  const value = await withRegion(invocation, ({ region }) => access.read(region, offset));
  invocation.out.print(digits(value, width));
  return exitStatus.ok;
}

async function writeRegister(invocation: Invocation): Promise<number> {
  const { width, access } = accessOf(invocation);
  const [, , offsetText, valueText] = invocation.positionals;
  const offset = Number(parseNumber('offset', offsetText));
  const value = parseNumber('value', valueText);
  return await withRegion(invocation, ({ region, device }) => {
    if (region.name !== 'config') {
      access.write(region, offset, value);
      return exitStatus.ok;
    }
    const before = BigInt(access.read(region, offset));
    const clearing = clearingBits(device.pci.readBytes(), offset, width / 8);
    access.write(region, offset, value);
    const after = BigInt(access.read(region, offset));
    const bits = untaken({ before, value, after, clearing });
    if (bits === 0n) return exitStatus.ok;
    const [wrote, reads, lost] = [value, after, bits].map((each) => digits(each, width));
    invocation.out.note(
      `vfio write: config+${hex(offset)} of ${device.device.address} reads ${reads ?? ''} after ${wrote ?? ''} was written: the bits ${lost ?? ''} did not take it`,
    );
    return exitStatus.failed;
  });
}

function digits(value: number | bigint, width: number): string {
  return `0x${value.toString(16).padStart(width / 4, '0')}`;
}

function accessOf({ values }: Invocation): { width: number; access: Access } {
  const { width = '32' } = values;
  const access = accesses[width];
  if (access === undefined) throw usageError('--width', '8, 16, 32 or 64', width);
  return { width: Number(width), access };
}

async function withRegion<Result>(
  invocation: Invocation,
  body: (opened: { region: Region; device: VfioDevice }) => Result,
): Promise<Result> {
  const [spec = '', name = ''] = invocation.positionals;
  await using device = await VfioDevice.open(spec, openOptions(invocation));
  return body({ device, region: device.region(/^\d+$/.test(name) ? Number(name) : name) });
}

function parseNumber(name: string, text = ''): bigint {
  if (!/^(?:0x[0-9a-f]+|\d+)$/i.test(text))
    throw usageError(name, 'a number such as 4096 or 0x1000', text);
  return BigInt(text);
}
