import { explained, VfioError } from '../core/errors.ts';
import type { SysfsDevice } from '../core/location.ts';
import type { Steps } from '../core/steps.ts';
import { listNames, readAttribute, readLinkName } from '../locate/sysfs.ts';
import { isVfio } from './device_holders.ts';
import { type DriverState, stateOf, stateText } from './driver_report.ts';
import type { HostRoots } from './host_roots.ts';
import { type SysfsWrite, writeSysfs } from './sysfs_write.ts';

/** Where a device is to go: `driver` is undefined where the kernel is to look for one. */
export interface Destination {
  driver: string | null | undefined;
  driverOverride: string | null;
}

/** How a device is moved. */
export interface MoveOptions {
  roots: HostRoots;
  timeout: number;
  /** The descriptors of the locks. */
  locks: readonly number[];
}

/**
 * What brings a device from one driver to another. `driver_override` comes first, so that nobody
 * else takes the device meanwhile, and never `new_id`, which would take every device of the model.
 */
export function writesFor(
  { bus, address, sysfsPath }: SysfsDevice,
  from: DriverState,
  to: Destination,
  { sysfsRoot }: Pick<HostRoots, 'sysfsRoot'>,
): SysfsWrite[] {
  const folder = `${sysfsRoot}/bus/${bus}`;
  const writes: SysfsWrite[] = [];
  if (from.driverOverride !== to.driverOverride) {
    // An empty line takes the name away (driver_set_override, drivers/base/driver.c).
    const text = `${to.driverOverride ?? ''}\n`;
    writes.push({ path: `${sysfsPath}/driver_override`, text });
  }
  if (from.driver === to.driver) return writes;
  if (from.driver !== null)
    writes.push({ path: `${folder}/drivers/${from.driver}/unbind`, text: address });
  if (to.driver === undefined) writes.push({ path: `${folder}/drivers_probe`, text: address });
  else if (to.driver !== null)
    writes.push({ path: `${folder}/drivers/${to.driver}/bind`, text: address });
  return writes;
}

/**
 * Moves a device, and looks in sysfs whether it is there: an answer of the kernel to a write alone
 * proves nothing. Answers what sysfs says then.
 *
 * @throws VfioError of the write that failed, `ERR_VFIO_TIMEOUT`, or `ERR_VFIO_DRIVER_NOT_BOUND`
 */
export function* moveDevice(
  device: SysfsDevice,
  to: Destination,
  { roots, timeout, locks }: MoveOptions,
): Steps<DriverState> {
  const writes = writesFor(device, stateOf(device), to, roots);
  const { sysfsRoot } = roots;
  const error = yield* writeSysfs(writes, { timeout, device, sysfsRoot, keep: locks });
  if (error?.reason === 'kernel-waits') throw error;
  const now = stateOf(device);
  if (isThere(device, now, to)) return now;
  // Not begun: no driver refused the device.
  if (error?.code === 'ERR_VFIO_TIMEOUT') throw error;
  throw notThere(device, now, to, error);
}

/** Whether the kernel still waits in a write: then every other to the device would wait as well. */
export function isWaiting(error: unknown): error is VfioError {
  return error instanceof VfioError && error.reason === 'kernel-waits';
}

function isThere(device: SysfsDevice, now: DriverState, to: Destination): boolean {
  if (now.driverOverride !== to.driverOverride) return false;
  // Where the kernel was to look for one, none is an answer, too.
  if (to.driver === undefined) return !isVfio(device);
  return now.driver === to.driver;
}

function notThere(
  device: SysfsDevice,
  now: DriverState,
  to: Destination,
  failed: VfioError | undefined,
): VfioError {
  const { address, sysfsPath } = device;
  const error =
    failed ??
    new VfioError({
      code: 'ERR_VFIO_DRIVER_NOT_BOUND',
      message: `the driver of ${address} did not become what was asked for, though the kernel took every write`,
      device: address,
      path: sysfsPath,
    });
  const code = failed?.code ?? null;
  const facts = { address, wanted: to.driver ?? null, driver: now.driver, code };
  return explained(error, { reason: 'driver-not-bound', certainty: 'certain', facts });
}

/**
 * What no VFIO driver takes: a device without an IOMMU group, where the module vfio was not told to
 * do without. Undefined where that is not so, or the module, which would tell, is not loaded.
 */
export function noGroupError(device: SysfsDevice, { sysfsRoot }: HostRoots): VfioError | undefined {
  const { address, sysfsPath } = device;
  if (readLinkName(`${sysfsPath}/iommu_group`) !== undefined) return undefined;
  const parameters = `${sysfsRoot}/module/vfio/parameters`;
  if (listNames(`${sysfsRoot}/module/vfio`) === undefined) return undefined;
  if (readAttribute(`${parameters}/enable_unsafe_noiommu_mode`) === 'Y') return undefined;
  const error = new VfioError({
    code: 'ERR_VFIO_DRIVER_NOT_BOUND',
    message: `no VFIO driver takes ${address}, ${stateText(stateOf(device))} now`,
    device: address,
    path: sysfsPath,
  });
  const facts = {
    driver: stateOf(device).driver,
    iommus: listNames(`${sysfsRoot}/class/iommu`)?.length ?? null,
  };
  return explained(error, { reason: 'no-iommu-group', certainty: 'certain', facts });
}
