import {
  checkInteger,
  invalidType,
  invalidValue,
  outOfRange,
  requireBoolean,
  requireBytes,
  requireObject,
} from '../core/arguments.ts';
import { counted } from '../core/counted.ts';
import { checkBar, type FakeBarOptions } from './bar_options.ts';
import {
  type ConfigParts,
  type FakeCapability,
  type FakeExtendedCapability,
  tableAndPendingBytes,
  type TablePlace,
} from './config_space.ts';

/** How a BAR is called. */
export type BarName = 'bar0' | 'bar1' | 'bar2' | 'bar3' | 'bar4' | 'bar5';

/** Which reset a device is told of. */
export type FakeReset =
  /** A program opened the device, or closed it, and the kernel reset it. */
  | 'open'
  | 'close'
  /** VFIO_DEVICE_RESET, or the bit of PCI Express. */
  | 'function'
  /** VFIO_DEVICE_PCI_HOT_RESET */
  | 'hot';

/** A PCI device that the fake machine has, bound to vfio-pci. */
export interface FakeDeviceOptions {
  /** `0000:3b:00.0`; the next that is free by default. */
  address?: string | undefined;
  /** 0x1234 by default. */
  vendor?: number | undefined;
  /** 0x5678 by default. */
  device?: number | undefined;
  /** The 24 bits of the class, 0x010802 for an NVMe controller; 0xff0000 by default. */
  classCode?: number | undefined;
  /** 0 by default. */
  revision?: number | undefined;
  /** Its `vendor` by default. */
  subsystemVendor?: number | undefined;
  /** Its `device` by default. */
  subsystemDevice?: number | undefined;
  /** Its BARs; without them it has none but that of MSI-X. */
  bars?: Partial<Record<BarName, FakeBarOptions>> | undefined;
  /** Whether it has INTx; true by default. */
  intx?: boolean | undefined;
  /** Vectors of MSI: a power of two up to 32; 0, none, by default. */
  msi?: number | undefined;
  /** Vectors of MSI-X, up to 2,048; 0 by default. */
  msix?: number | undefined;
  /** Where MSI-X has its table; in a BAR of its own by default, the last that is free. */
  msixTable?: { bar: BarName; offset: number } | undefined;
  /** Whether it has a function-level reset; true by default. */
  reset?: boolean | undefined;
  /**
   * More capabilities: one of the same id as ours, which are 0x01 power management, 0x10 PCI
   * Express, 0x05 MSI and 0x11 MSI-X, takes its place.
   */
  capabilities?: readonly FakeCapability[] | undefined;
  /** Its extended capabilities; none by default. */
  extendedCapabilities?: readonly FakeExtendedCapability[] | undefined;
  /** Whether it is a PCI Express function; true by default. Others report no errors (`err`). */
  express?: boolean | undefined;
  /** Whether it has power management; true by default. */
  power?: boolean | undefined;
  /** Its IOMMU group; one of its own by default. */
  group?: number | undefined;
  /** Is told of a reset, when the BARs hold what they did at first. */
  onReset?: ((kind: FakeReset) => void) | undefined;
  /** Is told of a write to the configuration space, when it is there. */
  onConfigWrite?: ((offset: number, width: number) => void) | undefined;
  /**
   * VFIO_DEVICE_FEATURE: `feature` is the number of a VFIO_DEVICE_FEATURE_*, `operation` is made of
   * these bits: 1 get (fill `bytes`), 2 set (read them), 4 probe. A probe changes nothing: 4 asks
   * whether the device has the feature at all, 5 whether it can be got, 6 whether it can be set, 7
   * both. `bytes` are the feature's data, a copy. Answers 0, or a negative errno: -25 (ENOTTY) for a
   * feature that the device does not have, -22 (EINVAL) for an operation that the feature does not
   * have. Without this the device has no features.
   */
  onFeature?: ((feature: number, operation: number, bytes: Uint8Array) => number) | undefined;
}

/** What was asked for, with what is so by default. */
export interface DeviceParts extends ConfigParts {
  /** Where MSI-X has its table; undefined where there is no MSI-X. */
  table: TablePlace | undefined;
}

/** @throws TypeError, RangeError for what no PCI function has */
export function partsOf(options: FakeDeviceOptions): DeviceParts {
  requireObject('options', options);
  for (const name of ['intx', 'reset', 'express', 'power'] as const) {
    requireBoolean(`options.${name}`, options[name]);
  }
  for (const name of ['onReset', 'onConfigWrite', 'onFeature'] as const) {
    const hook: unknown = options[name];
    if (hook !== undefined && typeof hook !== 'function') {
      throw invalidType(`options.${name}`, 'a function', hook);
    }
  }
  if (options.group !== undefined) checkInteger('options.group', options.group, 0, 2 ** 31 - 1);
  const { intx = true, reset = true, express = true, power = true } = options;
  const { capabilities = [], extendedCapabilities = [] } = options;
  checkCapabilities('options.capabilities', capabilities, 0xff);
  checkCapabilities('options.extendedCapabilities', extendedCapabilities, 0xffff);
  const vectors = vectorsOf(options);
  const bars = barsOf(options);
  const table = vectors.msix > 0 ? tableOf(options, bars) : undefined;
  const parts = { ...vectors, bars, table, msixTable: table ?? { bar: 0, offset: 0 } };
  const all = { ...idsOf(options), ...parts, intx, reset, express, power };
  return { ...all, capabilities, extendedCapabilities };
}

type Ids = Pick<
  ConfigParts,
  'vendor' | 'device' | 'classCode' | 'revision' | 'subsystemVendor' | 'subsystemDevice'
>;

function idsOf(options: FakeDeviceOptions): Ids {
  const { vendor = 0x1234, device = 0x5678, classCode = 0xff0000, revision = 0 } = options;
  const { subsystemVendor = vendor, subsystemDevice = device } = options;
  const ids = { vendor, device, classCode, revision, subsystemVendor, subsystemDevice };
  // What reads as a vendor of all ones is not there.
  const most = { vendor: 0xfffe, classCode: 0xff_ffff, revision: 0xff } as const;
  for (const [name, value] of Object.entries(ids)) {
    checkInteger(
      `options.${name}`,
      value,
      0,
      (most as Partial<Record<string, number>>)[name] ?? 0xffff,
    );
  }
  return ids;
}

function vectorsOf({ msi = 0, msix = 0 }: FakeDeviceOptions): { msi: number; msix: number } {
  const expected = 'a power of two up to 32, or 0';
  checkInteger('options.msi', msi, 0, 32, expected);
  if ((msi & (msi - 1)) !== 0) throw outOfRange('options.msi', expected, msi);
  return { msi, msix: checkInteger('options.msix', msix, 0, 2048) };
}

/** What must be there of those of which the fake itself uses registers. */
const leastBody: Partial<Record<number, number>> = { 0x01: 4, 0x10: 8 };

function checkCapabilities(
  name: string,
  capabilities: readonly FakeExtendedCapability[],
  mostId: number,
): void {
  const given: unknown = capabilities;
  if (!Array.isArray(given)) throw invalidType(name, 'an array', given);
  for (const [at, each] of capabilities.entries()) {
    requireObject(`${name}[${at}]`, each);
    const { id, body, version = 1 } = each;
    checkInteger(`${name}[${at}].id`, id, 0, mostId);
    requireBytes(`${name}[${at}].body`, body);
    if (mostId === 0xffff) checkInteger(`${name}[${at}].version`, version, 0, 15);
    const least = mostId === 0xff ? (leastBody[id] ?? 0) : 0;
    if (body.length >= least) continue;
    throw invalidValue(`${name}[${at}].body`, `at least ${counted(least, 'byte')}`, body);
  }
}

const barName = /^bar([0-5])$/;

function barsOf({ bars = {} }: FakeDeviceOptions): Map<number, FakeBarOptions> {
  requireObject('options.bars', bars);
  const all = new Map<number, FakeBarOptions>();
  for (const [name, bar] of Object.entries(bars)) {
    const index = barName.exec(name)?.[1];
    if (index === undefined) throw invalidValue('options.bars', 'of bar0 to bar5', name);
    // As an option that is undefined.
    if ((bar as unknown) === undefined) continue;
    checkBar(`options.bars.${name}`, bar);
    all.set(Number(index), bar);
  }
  for (const [index, { wide = false }] of all) {
    if (!wide) continue;
    const name = `options.bars.bar${index}.wide`;
    if (index === 5) throw invalidValue(name, 'false: there is no register after it', wide);
    if (!all.has(index + 1)) continue;
    throw invalidValue(name, `false, or bar${index + 1}, whose register it takes, not there`, wide);
  }
  return new Map([...all].sort(([one], [other]) => one - other));
}

/** Where the table of MSI-X is; makes a BAR for it where nothing is said. */
function tableOf(
  { msix = 0, msixTable }: FakeDeviceOptions,
  bars: Map<number, FakeBarOptions>,
): TablePlace {
  const bytes = tableAndPendingBytes(msix);
  if (msixTable !== undefined) return placeOf(msixTable, bytes, bars);
  const isFree = (index: number): boolean => !bars.has(index) && bars.get(index - 1)?.wide !== true;
  const bar = [5, 4, 3, 2, 1, 0].find(isFree);
  if (bar === undefined) {
    throw invalidValue('options.bars', 'fewer: there is none left for the table of MSI-X', bars);
  }
  bars.set(bar, { size: Math.max(4096, 2 ** Math.ceil(Math.log2(bytes))) });
  return { bar, offset: 0 };
}

function placeOf(
  place: NonNullable<FakeDeviceOptions['msixTable']>,
  bytes: number,
  bars: ReadonlyMap<number, FakeBarOptions>,
): TablePlace {
  requireObject('options.msixTable', place);
  const { bar: name, offset } = place;
  if (typeof name !== 'string') throw invalidType('options.msixTable.bar', 'a string', name);
  const index = Number(barName.exec(name)?.[1]);
  const bar = bars.get(index);
  if (bar === undefined || bar.io === true) {
    throw invalidValue('options.msixTable.bar', 'one of its BARs, of memory', name);
  }
  const most = bar.size - bytes;
  const expected = `a multiple of 8 with ${counted(bytes, 'byte')} behind it in ${name}`;
  checkInteger('options.msixTable.offset', offset, 0, bar.size, expected);
  if (offset % 8 === 0 && offset <= most) return { bar: index, offset };
  throw outOfRange('options.msixTable.offset', expected, offset);
}
