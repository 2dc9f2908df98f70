import { VfioDevice, type Region } from '../index.ts';
import { exitStatus, type Command, type Invocation, type Options } from './command.ts';

const options: Options = {
  width: {
    type: 'string',
    description: 'Bits of the access: 8, 16, 32 (if nothing is said) or 64',
  },
};

const aboutArguments = `<device> is named as for vfio info; <region> is a region's name there, such as bar0 or config, or
its index; <offset> is a multiple of the width, decimal or 0x….`;

const aboutOpening = `The device is opened for the access, and closed after it. Both reset it where it can be reset: what
was written is forgotten then, and what is read is what the device has after a reset. The access
is made by the kernel: it reaches I/O ports and the configuration space as well as memory.`;

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
  const value = await withRegion(invocation, (region) => access.read(region, offset));
  invocation.out.print(`0x${value.toString(16).padStart(width / 4, '0')}`);
  return exitStatus.ok;
}

async function writeRegister(invocation: Invocation): Promise<number> {
  const { access } = accessOf(invocation);
  const [, , offsetText, valueText] = invocation.positionals;
  const offset = Number(parseNumber('offset', offsetText));
  const value = parseNumber('value', valueText);
  await withRegion(invocation, (region) => {
    access.write(region, offset, value);
  });
  return exitStatus.ok;
}

function accessOf({ values }: Invocation): { width: number; access: Access } {
  const { width = '32' } = values;
  const access = accesses[width];
  if (access === undefined) throw invalid('--width', '8, 16, 32 or 64', width);
  return { width: Number(width), access };
}

async function withRegion<Result>(
  { positionals }: Invocation,
  body: (region: Region) => Result,
): Promise<Result> {
  const [spec = '', region = ''] = positionals;
  const device = await VfioDevice.open(spec);
  try {
    return body(device.region(/^\d+$/.test(region) ? Number(region) : region));
  } finally {
    await device.close();
  }
}

function parseNumber(name: string, text = ''): bigint {
  if (!/^(?:0x[0-9a-f]+|\d+)$/i.test(text))
    throw invalid(name, 'a number such as 4096 or 0x1000', text);
  return BigInt(text);
}

function invalid(name: string, expected: string, value: string): TypeError {
  const error = new TypeError(`${name} must be ${expected}, not '${value}'`);
  return Object.assign(error, { code: 'ERR_INVALID_ARG_VALUE' });
}
