import { readFileSync } from 'node:fs';
import { styleText } from 'node:util';
import {
  type Backend,
  decodePciConfig,
  describeDevice,
  type OpenDeviceOptions,
  type PciBar,
  type PciCapability,
  type PciConfig,
  type PciExtendedCapability,
  VfioDevice,
} from '../index.ts';
import {
  aboutBackends,
  backendOption,
  type Command,
  exitStatus,
  type Invocation,
  openOptions,
} from './command.ts';
import { type PciIds, systemPciIds } from './pci_ids.ts';
import { columns, hex, jsonText } from './text.ts';

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

/** A decoded configuration space for a person. */
export function configText(
  address: string,
  config: PciConfig,
  ids: PciIds,
  colour: boolean,
): string {
  const bold = (text: string): string =>
    colour ? styleText('bold', text, { validateStream: false }) : text;
  const capabilities = [...config.capabilities, ...config.extendedCapabilities];
  return [
    bold(address) + `  [${id(config.vendor)}:${id(config.device)}]`,
    ...columns(wrapped(headerRows(config, ids))),
    ...capabilities.flatMap((capability) => ['', bold(title(capability)), ...lines(capability)]),
    ...config.problems.map((problem) => `\nincomplete: ${problem}`),
  ].join('\n');
}

function headerRows(config: PciConfig, ids: PciIds): string[][] {
  const { vendor, device } = ids.names(id(config.vendor), id(config.device));
  const { subsystem, bridge, rom } = config;
  const rows: [string, string | null | undefined][] = [
    ['name', [vendor, device].filter((name) => name !== undefined).join(' ')],
    ['class', `${config.class.toString(16).padStart(6, '0')}, revision ${hex(config.revision)}`],
    ['subsystem', subsystem && `${id(subsystem.vendor)}:${id(subsystem.device)}`],
    ['header', `type ${config.headerType}${config.multifunction ? ', multifunction' : ''}`],
    ['buses', bridge && fieldsText(bridge)],
    ['command', fieldsText(config.command)],
    ['status', fieldsText(config.status)],
    ['cache line', `${config.cacheLineSize * 4} bytes, latency timer ${config.latencyTimer}`],
    [
      'interrupt',
      config.interruptPin && `pin ${config.interruptPin}, line ${config.interruptLine}`,
    ],
    ...config.bars.map((bar): [string, string] => [`bar${bar.index}`, barText(bar)]),
    ['rom', rom && `${hex(rom.address)}, ${rom.enabled ? 'enabled' : 'disabled'}`],
  ];
  return rows.flatMap(([name, text]) => (text ? [[`  ${name}`, text]] : []));
}

function barText(bar: PciBar): string {
  if (bar.kind === 'io') return `I/O ports at ${hex(bar.address)}`;
  const kind = bar.prefetchable ? 'prefetchable' : 'not prefetchable';
  return `memory at ${hex(bar.address)}, ${bar.bits} bits, ${kind}`;
}

type Capability = PciCapability | PciExtendedCapability;

function title({ offset, id: number, name, ...rest }: Capability): string {
  const version = 'version' in rest ? ` version ${rest.version}` : '';
  return `[${offset.toString(16)}] ${name ?? 'capability'} (${hex(number)})${version}`;
}

/** What every capability has, and is in its title. */
const inTitle = new Set(['id', 'name', 'offset', 'bytes', 'version', 'kind']);

/** Every register of a capability, under the name that it has in the API. */
function lines(capability: Capability): string[] {
  if (capability.kind === 'unknown') return [`  ${bytesText(capability.bytes)}`];
  const all = Object.entries(capability) as [string, Value][];
  const registers = all.filter(([name]) => !inTitle.has(name));
  return columns(wrapped(registers.map(([name, value]) => [`  ${words(name)}`, valueText(value)])));
}

/** Long lists of flags on several lines, below one another. */
function wrapped(rows: string[][]): string[][] {
  return rows.flatMap(([name = '', text = '']) => {
    const parts = text.match(/\S.{0,79}(?= |$)/g) ?? [''];
    return parts.map((part, at) => [at === 0 ? name : '', part]);
  });
}

/** What a decoded register can be. */
type Value = number | bigint | boolean | string | object | null;

function valueText(value: Value): string {
  if (value === null) return 'none';
  if (value instanceof Uint8Array) return bytesText(value);
  if (Array.isArray(value)) return value.map((word) => hex(word as number)).join(' ');
  if (typeof value === 'object') return fieldsText(value);
  return typeof value === 'bigint' ? hex(value) : String(value);
}

/** `memory+ busMaster- powerState=0` */
function fieldsText(fields: object): string {
  const texts = Object.entries(fields).map(([name, value]: [string, unknown]) => {
    if (typeof value === 'boolean') return `${name}${value ? '+' : '-'}`;
    return `${name}=${name === 'offset' ? hex(value as number) : String(value)}`;
  });
  return texts.join(' ');
}

/** `device control 2` of `deviceControl2`. */
function words(name: string): string {
  return name.replace(/[A-Z]|\d+$/g, (part) => ` ${part.toLowerCase()}`);
}

function bytesText(bytes: Uint8Array): string {
  const most = 32;
  const text = [...bytes.subarray(0, most)].map(byte).join(' ');
  return bytes.length > most ? `${text} … (${bytes.length} bytes)` : text;
}

/** The bytes as `lspci -x` prints them and `lspci -F` reads them. */
export function hexDump(address: string, bytes: Uint8Array): string {
  const rows = Array.from({ length: Math.ceil(bytes.length / 16) }, (_, row) => {
    const part = [...bytes.subarray(row * 16, row * 16 + 16)].map(byte).join(' ');
    return `${(row * 16).toString(16).padStart(2, '0')}: ${part}`;
  });
  return [`${address} `, ...rows].join('\n');
}

function byte(value: number): string {
  return value.toString(16).padStart(2, '0');
}

function id(value: number): string {
  return value.toString(16).padStart(4, '0');
}

// What a write to the configuration space did. Most bits read as they were written, or are
// read-only. Others are written with 1 to clear a status, or to start something: these read 0
// whatever was written.

/** Such bits of 16-bit registers, by their offset. */
type Bits = readonly (readonly [offset: number, bits: number])[];

const ofDevice: Bits = [[0x06, 0xf900]];
const ofBridge: Bits = [...ofDevice, [0x1e, 0xf900]];

/**
 * In a capability, by its offset there: status registers, and what starts a reset or a training.
 */
function ofCapability(capability: PciCapability | PciExtendedCapability): Bits {
  switch (capability.kind) {
    case 'pm':
      return [[0x04, 0x8000]];
    case 'pcie':
      return [
        [0x08, 0x8000],
        [0x0a, 0x004f],
        ...(capability.linkStatus ? ([[0x10, 0x0020], [0x12, 0xc000]] as const) : []), // prettier-ignore
        ...(capability.linkStatus2 ? ([[0x32, 0x0020]] as const) : []),
      ];
    case 'af':
      return [[0x04, 0x0001]];
    case 'aer':
      return [
        [0x04, 0xffff],
        [0x06, 0xffff],
        [0x10, 0xffff],
        [0x12, 0xffff],
      ];
    case 'sriov':
      return [[0x0a, 0x0001]];
    case 'pri':
      return [[0x06, 0x0003]];
    default:
      return [];
  }
}

/**
 * The bits of `bytes` bytes at an offset that are written with 1 to clear or to start something.
 */
export function clearingBits(space: Uint8Array, offset: number, bytes: number): bigint {
  const { headerType, capabilities, extendedCapabilities } = decodePciConfig(space);
  const all = [
    ...(headerType === 1 ? ofBridge : ofDevice),
    ...[...capabilities, ...extendedCapabilities].flatMap((capability) =>
      ofCapability(capability).map(([at, bits]) => [capability.offset + at, bits] as const),
    ),
  ];
  let found = 0n;
  for (const [at, bits] of all) {
    const shift = (at - offset) * 8;
    found |= shift < 0 ? BigInt(bits) >> BigInt(-shift) : BigInt(bits) << BigInt(shift);
  }
  return BigInt.asUintN(bytes * 8, found);
}

/** A register before and after a write. */
export interface Written {
  before: bigint;
  value: bigint;
  after: bigint;
  /** {@link clearingBits} */
  clearing: bigint;
}

/**
 * The bits that did not take the value. One that was 1, was written 1 and reads 0 was cleared, in
 * whichever register.
 */
export function untaken({ before, value, after, clearing }: Written): bigint {
  const cleared = before & value & ~after;
  const different = (value ^ after) & ~clearing & ~cleared;
  return different | (clearing & value & after);
}
