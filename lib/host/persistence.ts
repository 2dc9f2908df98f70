import { VfioError } from '../core/errors.ts';
import type { DeviceSpec, SysfsDevice } from '../core/location.ts';
import { describeDevice } from '../diagnose/explain.ts';
import { inSysfs, isPresent } from '../locate/find_cdev.ts';
import { parseSpec } from '../locate/resolve.ts';
import { hiddenDevice, readAttribute } from '../locate/sysfs.ts';
import type { Plan } from './bind_options.ts';
import type { DriverReport } from './driver_report.ts';
import type { HostRoots } from './host_roots.ts';
import { readOwnRule, type RuleFile, ruleMarker } from './rule_file.ts';

/**
 * Where the rule of a device is. The number has udev go by it before 80-drivers.rules, which loads
 * the module of the host's driver.
 */
function rulePath({ bus, address }: SysfsDevice, { etcRoot }: HostRoots): string {
  return `${etcRoot}/udev/rules.d/70-vfio-bind-${bus}-${address.replace(/[^\w:.-]/g, '_')}.rules`;
}

/**
 * The udev rule that gives a device to a driver as it appears: sets its `driver_override` (udev(7),
 * ATTR), loads the driver, and asks the bus, since a driver that was loaded before does not look
 * again. It takes the device from no other driver: "add" is told again by `udevadm trigger`, and the
 * host may use the device by then. It names the model, too: another device at the same place is
 * left alone.
 */
export function ruleOf(device: SysfsDevice, driver: string, roots: HostRoots): RuleFile {
  const { bus, address, sysfsPath } = device;
  const model = ['vendor', 'device'].flatMap((name) => {
    const value = readAttribute(`${sysfsPath}/${name}`);
    return value === undefined ? [] : [`ATTR{${name}}=="${value}"`];
  });
  const conditions = [
    'ACTION=="add"',
    `SUBSYSTEM=="${bus}"`,
    `KERNEL=="${address.replace(/[*?[\]|\\"]/g, '?')}"`,
    ...model,
  ];
  const acts = [
    `ATTR{driver_override}="${driver}"`,
    `RUN{builtin}+="kmod load ${driver}"`,
    // One that has a driver stays as it is (drivers_probe_store, drivers/base/bus.c).
    `RUN+="/bin/sh -c 'echo %k > /sys/bus/${bus}/drivers_probe'"`,
  ];
  const text = `${ruleMarker}
${[...conditions, ...acts].join(', ')}
`;
  return { path: rulePath(device, roots), text };
}

/**
 * Looks at what is there, before anything is done.
 *
 * @throws VfioError `EEXIST` where a rule would stand in the place of what `--persist` did not write
 */
export function requireOwnRules(devices: readonly SysfsDevice[], { persist, roots }: Plan): void {
  if (!persist) return;
  for (const device of devices) readOwnRule(rulePath(device, roots));
}

/** The rule of a device that is given back. Where it is to stay, the report says that it stands. */
export function ruleToRemove(
  device: SysfsDevice,
  { persist, roots }: Plan,
  { notes }: DriverReport,
): { rule?: RuleFile } {
  const path = rulePath(device, roots);
  const { address } = device;
  if (!persist) {
    if (readAttribute(path) !== undefined)
      notes.push(
        `${path} stands: ${address} is given away again at the next start (vfio unbind --persist removes it)`,
      );
    return {};
  }
  if (readOwnRule(path) !== undefined) return { rule: { path, text: null } };
  notes.push(`there is no rule of vfio bind --persist for ${address} (${path}): none was removed`);
  return {};
}

/** The devices that were pulled out, and whose rules are there still; and what names the others. */
export interface PulledOut {
  devices: SysfsDevice[];
  others: DeviceSpec[];
}

/**
 * Which of the devices are not there, but only their rules: these can be removed without them.
 *
 * @throws VfioError `ERR_VFIO_NO_DEVICE` where there is neither, or where the rule is to stay
 */
export function pulledOut({ specs, persist, roots }: Plan): PulledOut {
  const found: PulledOut = { devices: [], others: [] };
  for (const spec of specs) {
    const device = absentDevice(spec, roots);
    if (device === undefined) {
      found.others.push(spec);
      continue;
    }
    const path = rulePath(device, roots);
    const isThere = persist
      ? readOwnRule(path) !== undefined
      : readAttribute(path)?.startsWith(ruleMarker) === true;
    if (persist && isThere) found.devices.push(device);
    else if (persist) throw neither(spec, path, roots);
    else if (isThere) throw standing(spec, device, path, roots);
    else found.others.push(spec);
  }
  return found;
}

/** What is known not to be there: an address, where sysfs shows its bus. */
function absentDevice(spec: DeviceSpec, roots: HostRoots): SysfsDevice | undefined {
  const parsed = parseSpec(spec, roots);
  if (!('bus' in parsed)) return undefined;
  const device = inSysfs(parsed, roots);
  return isPresent(device) || hiddenDevice(device, roots) ? undefined : device;
}

function neither(spec: DeviceSpec, path: string, roots: HostRoots): unknown {
  return withMore(spec, roots, `, and no rule of vfio bind --persist for it (${path})`);
}

function standing(
  spec: DeviceSpec,
  { address }: SysfsDevice,
  path: string,
  roots: HostRoots,
): unknown {
  const hint = `to remove the rule: sudo npx vfio unbind --persist ${address}`;
  return withMore(spec, roots, `; its rule ${path} stands, for when it is there again`, hint);
}

/** What looking up a device that is not there throws, which says more. */
function withMore(spec: DeviceSpec, roots: HostRoots, more: string, hint?: string): unknown {
  try {
    describeDevice(spec, roots);
  } catch (error) {
    if (!(error instanceof VfioError)) throw error;
    const { code, message } = error;
    const all = { ...Object.fromEntries(Object.entries(error)), code, message: message + more };
    return new VfioError(hint === undefined ? all : { ...all, hint });
  }
  return new VfioError({ code: 'ERR_VFIO_BUSY', message: 'the device was plugged in meanwhile' });
}
