import { check, ioctlOf } from '../core/call.ts';
import { counted } from '../core/counted.ts';
import { ENODEV, ENOSPC } from '../core/errno.ts';
import { messageOf, VfioError } from '../core/errors.ts';
import { call, type Steps } from '../core/steps.ts';
import { badAnswer, littleEndian } from '../core/structs.ts';
import { describeDevice } from '../locate/facts.ts';
import { type DeviceState, peerOf } from './device_state.ts';
import { checkHeld, restorePeersAfter, withRetries } from './reset.ts';

/** A device that a hot reset would hit. */
export interface AffectedDevice {
  /** Such as `0000:3b:00.0`. */
  address: string;
  /** Whether it is this program's. */
  ownership: HotResetOwnership;
  /** Its id in the iommufd; undefined where it is not open in ours, or was opened by its group. */
  devId: number | undefined;
  /** Its IOMMU group, where the device that asks was opened by its group. */
  group: number | undefined;
  /** Its driver; null where it has none. */
  driver: string | null;
}

/** What a hot reset would do. */
export interface HotResetPlan {
  /**
   * All that shares the bus or slot, the device itself among them. Empty where there is no reset.
   */
  devices: AffectedDevice[];
  /** Whether the kernel would do it. */
  possible: boolean;
  /** Why it is not possible. */
  reason: string | undefined;
}

/** Room for a bus of 256 functions: asked for when fewer do not suffice. */
const rooms = [16, 256, 0xffff];

/** VFIO_DEVICE_GET_PCI_HOT_RESET_INFO */
export function* planHotReset(device: DeviceState): Steps<HotResetPlan> {
  const words = yield* readInfo(device);
  if (words === undefined) {
    const reason = 'neither its slot nor its bus can be reset';
    return { devices: [], possible: false, reason };
  }
  const { owned, devices } = decodeHotResetInfo(words, {
    isOurs: (group, address) => device.bound.hasGroup(group) && isWithVfio(device, address),
    isOpen: (address) => peerOf(device, address) !== undefined,
  });
  const affected = devices.map(describe);
  return {
    devices: affected,
    possible: owned,
    reason: owned ? undefined : explain(affected),
  };
}

/** VFIO_DEVICE_PCI_HOT_RESET, and what each of our devices had before it. */
export function* hotResetDevice(device: DeviceState): Steps<HotResetPlan> {
  const { plan, ours } = yield* prepare(device);
  yield* inTurns(ours, () => reset(device, plan, ours));
  return plan;
}

/** The plan, which is possible, and those of the devices in it that this thread has open. */
function* prepare(device: DeviceState): Steps<{ plan: HotResetPlan; ours: DeviceState[] }> {
  const plan = yield* planHotReset(device);
  if (!plan.possible) {
    const { address } = device.bound.location.device;
    throw new VfioError({
      code: 'ERR_VFIO_HOT_RESET',
      message: `a hot reset of ${address} is not possible: ${plan.reason ?? ''}`,
      device: address,
    });
  }
  const open = plan.devices.filter(({ ownership }) => ownership === 'open');
  // In one order everywhere, so that two hot resets do not wait for each other.
  const addresses = open.map(({ address }) => address).sort();
  const ours = addresses.flatMap((address) => peerOf(device, address) ?? []);
  return { plan, ours };
}

function* reset(device: DeviceState, plan: HotResetPlan, ours: DeviceState[]): Steps<void> {
  const hit = new Set(plan.devices.flatMap(({ group }) => group ?? []));
  const groups = Uint32Array.from(device.bound.groupFds([...hit]));
  const restores = ours.map((one) => one.remember());
  const isHopeless = (): boolean => ours.some(({ removal }) => removal !== undefined);
  const answer = yield* withRetries(
    () => call('hotReset', device.bound.fd.native, groups),
    isHopeless,
  );
  const named = ioctlOf(device.bound.location, 'VFIO_DEVICE_PCI_HOT_RESET');
  try {
    checkHeld(device, answer, named);
    check(answer, named);
  } catch (error) {
    return yield* restorePeersAfter(error, ours);
  }
  const errors: unknown[] = [];
  const told: string[] = [];
  for (const [at, restore] of restores.entries()) {
    try {
      yield* restore();
    } catch (error) {
      errors.push(error);
      told.push(`${ours[at]?.bound.location.device.address ?? ''}: ${messageOf(error)}`);
    }
  }
  if (errors.length === 1) throw errors[0];
  if (errors.length === 0) return;
  throw new AggregateError(errors, `devices were reset but not restored: ${told.join('; ')}`);
}

/**
 * A device of our group that has no driver is in the way all the same. One that is open has its
 * driver until it is closed, also where sysfs shows none any more.
 */
function isWithVfio(device: DeviceState, address: string): boolean {
  return peerOf(device, address) !== undefined || driverOf(address) !== null;
}

function* readInfo(device: DeviceState): Steps<Uint32Array | undefined> {
  const named = ioctlOf(device.bound.location, 'VFIO_DEVICE_GET_PCI_HOT_RESET_INFO');
  for (const room of rooms) {
    const answer = yield* withRetries(
      () => call('hotResetInfo', device.bound.fd.native, room),
      () => false,
    );
    if (typeof answer === 'object') return answer;
    if (answer === ENODEV) return undefined;
    if (answer !== ENOSPC) check(answer, named);
  }
  check(ENOSPC, named);
  return undefined;
}

function describe(dependent: Dependent): AffectedDevice {
  return { ...dependent, driver: driverOf(dependent.address) };
}

/** null also where the device has gone since, and where sysfs does not show it. */
function driverOf(address: string): string | null {
  try {
    return describeDevice(address).driver;
  } catch (error) {
    if (error instanceof VfioError && error.code === 'ERR_VFIO_NO_DEVICE') return null;
    throw error;
  }
}

function explain(devices: AffectedDevice[]): string {
  const foreign = devices.filter(({ ownership }) => ownership === 'foreign');
  if (foreign.length === 0) return 'not all that it would hit is this program’s';
  const each = foreign.map(({ address, driver }) =>
    driver === null
      ? `${address} has no driver that can be seen here, and must have a VFIO driver and be open`
      : `${address} (driver ${driver}) is not open in this iommufd or container, or is a virtual function`,
  );
  return `it would hit devices that are not this program's: ${each.join('; ')}`;
}

/** Runs a task while no interrupt of any of the devices is being enabled or disabled. */
function inTurns(devices: readonly DeviceState[], task: () => Steps<void>): Steps<void> {
  const [first, ...rest] = devices;
  return first === undefined ? task() : first.interrupts.inTurn(() => inTurns(rest, task));
}

/** Whose a device is that a hot reset would hit. */
export type HotResetOwnership =
  /** Open, in the same iommufd or container as the device that asks. */
  | 'open'
  /** Not open, and in the IOMMU group of one that is: nobody else can use it. */
  | 'owned'
  /** Somebody else's, or without a VFIO driver: it forbids the reset. */
  | 'foreign';

/** A device as struct vfio_pci_dependent_device has it. */
export interface Dependent {
  address: string;
  ownership: HotResetOwnership;
  /** Its id in the iommufd where it is open there. */
  devId: number | undefined;
  /** Its IOMMU group, which is told to devices that were opened by their group. */
  group: number | undefined;
}

/** What it takes to tell whose a device is. */
export interface Claims {
  isOurs: (group: number, address: string) => boolean;
  isOpen: (address: string) => boolean;
}

const headerSize = 12;
const dependentSize = 8;

const VFIO_PCI_HOT_RESET_FLAG_DEV_ID = 1;
const VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED = 2;
const VFIO_PCI_DEVID_OWNED = 0;
const VFIO_PCI_DEVID_NOT_OWNED = 0xffffffff;

/**
 * struct vfio_pci_hot_reset_info. Of a device that was opened by its cdev it has the ids of devices
 * in the iommufd; of one that was opened by its group, their groups.
 */
export function decodeHotResetInfo(
  words: Uint32Array,
  claims: Claims,
): { owned: boolean; devices: Dependent[] } {
  const { 1: flags = 0, 2: count = 0 } = words;
  if (headerSize + count * dependentSize > words.byteLength) {
    throw badAnswer(`the kernel tells ${counted(count, 'device')} in ${words.byteLength} bytes`);
  }
  const view = new DataView(words.buffer, words.byteOffset, words.byteLength);
  const hasIds = (flags & VFIO_PCI_HOT_RESET_FLAG_DEV_ID) !== 0;
  const devices = Array.from({ length: count }, (_, at): Dependent => {
    const place = headerSize + at * dependentSize;
    const id = view.getUint32(place, littleEndian);
    const address = decodeAddress(view, place);
    return hasIds ? byId(address, id) : byGroup(address, id, claims);
  });
  const owned = hasIds
    ? (flags & VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED) !== 0
    : devices.every(({ ownership }) => ownership !== 'foreign');
  return { owned, devices };
}

function decodeAddress(view: DataView, at: number): string {
  const segment = view.getUint16(at + 4, littleEndian);
  const bus = view.getUint8(at + 6);
  const devfn = view.getUint8(at + 7);
  return `${hex(segment, 4)}:${hex(bus, 2)}:${hex(devfn >> 3, 2)}.${devfn & 7}`;
}

function byId(address: string, devId: number): Dependent {
  const none = { address, devId: undefined, group: undefined };
  if (devId === VFIO_PCI_DEVID_NOT_OWNED) return { ...none, ownership: 'foreign' };
  if (devId === VFIO_PCI_DEVID_OWNED) return { ...none, ownership: 'owned' };
  return { address, ownership: 'open', devId, group: undefined };
}

function byGroup(address: string, group: number, { isOurs, isOpen }: Claims): Dependent {
  const ours = isOpen(address) ? 'open' : 'owned';
  return { address, ownership: isOurs(group, address) ? ours : 'foreign', devId: undefined, group };
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}
