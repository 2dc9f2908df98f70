import { VfioError } from '../core/errors.ts';
import type { SysfsDevice } from '../core/location.ts';
import { readAttribute } from '../locate/sysfs.ts';
import type { DriverState } from './driver_report.ts';
import type { HostRoots } from './host_roots.ts';
import { removeFile, writeWhole } from './whole_file.ts';

/** What a device had before it was given to another driver. */
export interface DriverRecord extends DriverState {
  /** The driver that it was given to. */
  target: string;
}

type RecordRoots = Pick<HostRoots, 'procRoot' | 'runRoot'>;

/** The same with what tells that it is of this device and this start of the machine. */
interface Stored extends DriverRecord {
  version: 1;
  /** The device's vendor and id, as sysfs has them: another may be plugged in at the same place. */
  ids: string;
  boot: string;
}

function recordPath({ bus, address }: SysfsDevice, { runRoot }: RecordRoots): string {
  return `${runRoot}/bind/${bus}-${address}.json`;
}

function idsOf({ sysfsPath }: SysfsDevice): string {
  const read = (name: string): string => readAttribute(`${sysfsPath}/${name}`) ?? '';
  return [read('vendor'), read('device'), read('modalias')].join(' ');
}

function bootOf({ procRoot }: RecordRoots): string {
  return readAttribute(`${procRoot}/sys/kernel/random/boot_id`) ?? '';
}

/**
 * What is remembered of a device; undefined where nothing is, or only what was before another start
 * of the machine or of another device at the same place.
 */
export function readRecord(device: SysfsDevice, roots: RecordRoots): DriverRecord | undefined {
  const path = recordPath(device, roots);
  const text = readAttribute(path);
  if (text === undefined) return undefined;
  const stored = parse(text);
  if (stored === undefined) {
    const message = `${path}, where vfio bind remembers what ${device.address} had, is damaged. Remove it: sudo rm '${path}'. Then sudo npx vfio unbind ${device.address} gives the device to whichever driver of the host takes it`;
    throw new VfioError({ code: 'ERR_VFIO_BAD_MESSAGE', message, path, device: device.address });
  }
  if (stored.boot !== bootOf(roots) || stored.ids !== idsOf(device)) return undefined;
  const { driver, driverOverride, target } = stored;
  return { driver, driverOverride, target };
}

function parse(text: string): Stored | undefined {
  let value: Partial<Record<keyof Stored, unknown>> | null;
  try {
    value = JSON.parse(text) as typeof value;
  } catch {
    return undefined;
  }
  const isNameOrNull = (name: unknown): boolean => name === null || typeof name === 'string';
  const isRecord =
    value?.version === 1 &&
    isNameOrNull(value.driver) &&
    isNameOrNull(value.driverOverride) &&
    [value.target, value.ids, value.boot].every((each) => typeof each === 'string');
  return isRecord ? (value as Stored) : undefined;
}

/** Remembers, before anything is changed; whoever is killed after that leaves what to go by. */
export function writeRecord(device: SysfsDevice, record: DriverRecord, roots: RecordRoots): void {
  const stored: Stored = { version: 1, ...record, ids: idsOf(device), boot: bootOf(roots) };
  writeWhole(recordPath(device, roots), `${JSON.stringify(stored)}\n`);
}

export function removeRecord(device: SysfsDevice, roots: RecordRoots): void {
  removeFile(recordPath(device, roots));
}
