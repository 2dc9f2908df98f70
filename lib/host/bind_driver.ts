import { invalidValue } from '../core/arguments.ts';
import type { DeviceSpec, SysfsDevice } from '../core/location.ts';
import { vfioDrivers } from '../core/messages.ts';
import { told } from '../core/operations.ts';
import type { HostNeed } from '../core/reasons.ts';
import { run, runSync, type Steps } from '../core/steps.ts';
import { listNames, readAttribute, readLinkName } from '../locate/sysfs.ts';
import { virtfnsOf } from '../locate/virtual_functions.ts';
import {
  type BindDriverOptions,
  type Plan,
  planOf,
  type RestoreDriverOptions,
} from './bind_options.ts';
import { binds } from './channels.ts';
import { chosenDevices } from './chosen_devices.ts';
import { isVfio, nodesOf, whoHolds } from './device_holders.ts';
import { type Change, changeDrivers, driverKey, loadDrivers } from './driver_change.ts';
import { moduleName, vfioDriverFor } from './driver_choice.ts';
import { driverless, matchOf, mismatchError } from './driver_match.ts';
import { noGroupError } from './driver_move.ts';
import { type DriverRecord, readRecord } from './driver_record.ts';
import { type DriverReport, type DriverState, stateOf, stateText } from './driver_report.ts';
import { pulledOut, requireOwnRules, ruleOf, ruleToRemove } from './persistence.ts';
import { functionsNeeds, hostNeeds, neededError, userNeeds } from './refusals.ts';

/**
 * Gives devices to VFIO's driver, or to another, by `driver_override`: all of them, or none. What
 * each had before is remembered until the next start of the machine, and {@link restoreDriver}
 * gives it back, also where this program was killed in the middle. Takes root.
 *
 * @param devices - one device, or several
 * @throws TypeError, RangeError for arguments that cannot be right
 * @throws VfioError `ERR_VFIO_IN_USE` where the host or a program needs a device (reason
 *   `needed-by-host`); `ERR_VFIO_DRIVER_NOT_BOUND` (reason `driver-mismatch` among others), `ERR_VFIO_TIMEOUT`, `ERR_VFIO_NO_DEVICE`,
 *   `ERR_VFIO_UNSUPPORTED`, `ERR_VFIO_BUSY`, `ERR_VFIO_NO_HELPER`, `ERR_VFIO_BAD_MESSAGE`; and of
 *   the kernel `EACCES` and others
 */
export async function bindDriver(
  devices: DeviceSpec | readonly DeviceSpec[],
  options: BindDriverOptions = {},
): Promise<DriverReport> {
  return await run(toldBind(devices, options));
}

/**
 * The blocking form of {@link bindDriver}, which does not look for the processes that have a device
 * open.
 */
export function bindDriverSync(
  devices: DeviceSpec | readonly DeviceSpec[],
  options: BindDriverOptions = {},
): DriverReport {
  return runSync(toldBind(devices, options));
}

/**
 * Gives devices back to the drivers that they had before {@link bindDriver}; a VFIO device of which
 * nothing is remembered to whichever driver of the host takes it. Takes root.
 *
 * @param devices - one device, or several
 * @throws TypeError, RangeError, VfioError as {@link bindDriver} does
 */
export async function restoreDriver(
  devices: DeviceSpec | readonly DeviceSpec[],
  options: RestoreDriverOptions = {},
): Promise<DriverReport> {
  return await run(toldRestore(devices, options));
}

/**
 * The blocking form of {@link restoreDriver}, which does not look for the processes that have a
 * device open.
 */
export function restoreDriverSync(
  devices: DeviceSpec | readonly DeviceSpec[],
  options: RestoreDriverOptions = {},
): DriverReport {
  return runSync(toldRestore(devices, options));
}

function toldBind(devices: DeviceSpecs, options: BindDriverOptions): Steps<DriverReport> {
  return told(binds, () => ({ devices, restore: false }), bind(devices, options));
}

function toldRestore(devices: DeviceSpecs, options: RestoreDriverOptions): Steps<DriverReport> {
  return told(binds, () => ({ devices, restore: true }), restore(devices, options));
}

type DeviceSpecs = DeviceSpec | readonly DeviceSpec[];

function* bind(
  specs: DeviceSpec | readonly DeviceSpec[],
  options: BindDriverOptions,
): Steps<DriverReport> {
  const plan = planOf(specs, options);
  const { devices, leftOut, notes } = yield* chosenDevices(plan);
  const report: DriverReport = { dryRun: plan.dryRun, devices: [], leftOut, steps: [], notes };
  const wanted = devices.map((device) => ({ device, driver: driverFor(device, plan) }));
  return yield* changeDrivers(devices, plan, report, function* () {
    requireOwnRules(devices, plan);
    // Before a module is loaded, which takes devices by itself; and by what it turned out to be.
    requireMatches(wanted, plan);
    yield* refuseNeeded(wanted, plan, report);
    const needed = wanted.map(({ device: { bus }, driver }) => ({ bus, driver }));
    const names = yield* loadDrivers(needed, plan, report);
    requireMatches(wanted, plan, report);
    return wanted.map(({ device, driver }): Change => {
      const name = names.get(driverKey(device.bus, driver)) ?? driver;
      return changeTo(device, name, plan);
    });
  });
}

function driverFor(device: SysfsDevice, plan: Plan): string {
  const driver = plan.driver ?? vfioDriverFor(device, plan.roots);
  if (driver !== undefined) return driver;
  throw invalidValue('driver', `given for the bus ${device.bus}, which has no VFIO driver`, driver);
}

interface Wanted {
  device: SysfsDevice;
  driver: string;
}

/** What is there already is taken from nobody. */
function isWith({ device, driver }: Wanted): boolean {
  const now = stateOf(device).driver;
  return now !== null && moduleName(now) === moduleName(driver);
}

/**
 * A driver that was named must be made for the device. One that is not there is not judged before
 * it was looked for, with a report; what is forced is noted in that.
 */
function requireMatches(wanted: readonly Wanted[], plan: Plan, report?: DriverReport): void {
  if (plan.driver === undefined) return;
  for (const each of wanted) {
    if (isWith(each)) continue;
    const { device, driver } = each;
    const match = matchOf(device, driver, plan.roots);
    if (match.isMatch || (match.isAbsent && report === undefined)) continue;
    if (!plan.force) throw mismatchError(device, driver, match);
    report?.notes.push(
      `taken by force, ${device.address}: ${driver} ${match.unread === undefined ? 'is not made for it' : 'may not be made for it'}, and may crash the kernel`,
    );
  }
}

function* refuseNeeded(
  wanted: readonly Wanted[],
  { roots, force }: Plan,
  report: DriverReport,
): Steps<void> {
  const found: { device: SysfsDevice; needs: HostNeed[] }[] = [];
  for (const each of wanted) {
    if (isWith(each)) continue;
    const { device } = each;
    const { needs, unseen } = yield* hostNeeds(device, roots);
    found.push({ device, needs });
    report.notes.push(...unseen.map((what) => `not looked at: ${what}`));
  }
  const error = neededError(found, force);
  if (error) throw error;
  noteForced(found, report);
  for (const each of wanted) {
    const isToVfio = Object.values(vfioDrivers).includes(each.driver);
    if (!isToVfio || isWith(each)) continue;
    const without = noGroupError(each.device, roots);
    if (without) throw without;
    if (readLinkName(`${each.device.sysfsPath}/iommu_group`) === undefined)
      report.notes.push(
        `${each.device.address} has no IOMMU: by its DMA whoever opens it reaches all memory of the machine`,
      );
  }
}

function noteForced(
  found: readonly { device: SysfsDevice; needs: HostNeed[] }[],
  report: DriverReport,
): void {
  for (const { device, needs } of found) {
    for (const { text } of needs) report.notes.push(`taken by force, ${device.address}: ${text}`);
  }
}

function changeTo(device: SysfsDevice, driver: string, plan: Plan): Change {
  const before = stateOf(device);
  const rule = plan.persist ? { rule: ruleOf(device, driver, plan.roots) } : {};
  if (before.driver === driver) return { device, before, to: undefined, ...rule };
  // What was there first is what to go back to, also where an attempt before this was killed.
  const record = readRecord(device, plan.roots);
  const remembered = record && isOf(record, device, before) ? record : undefined;
  const remember = { ...(remembered ?? before), target: driver };
  return { device, before, to: { driver, driverOverride: driver }, remember, remembered, ...rule };
}

/** Whether a device is where a record of it can have led: nobody of the host took it since. */
function isOf({ target }: DriverRecord, device: SysfsDevice, { driver }: DriverState): boolean {
  return driver === null || driver === target || isVfio(device);
}

function* restore(
  specs: DeviceSpec | readonly DeviceSpec[],
  options: RestoreDriverOptions,
): Steps<DriverReport> {
  const plan = planOf(specs, options);
  const absent = pulledOut(plan);
  const { devices, leftOut, notes } = yield* chosenDevices({ ...plan, specs: absent.others }, true);
  const report: DriverReport = { dryRun: plan.dryRun, devices: [], leftOut, steps: [], notes };
  const all = [...devices, ...absent.devices];
  const done = yield* changeDrivers(all, plan, report, function* () {
    requireOwnRules(all, plan);
    const changes = [
      ...devices.map((device) => changeBack(device, plan, report)),
      ...absent.devices.map((device) => withoutDevice(device, plan, report)),
    ];
    yield* refuseHeld(changes, plan, report);
    const needed = changes.flatMap(({ device: { bus }, to, before }) =>
      to?.driver != null && to.driver !== before.driver ? [{ bus, driver: to.driver }] : [],
    );
    yield* loadDrivers(needed, plan, report);
    return changes;
  });
  if (!plan.dryRun) {
    for (const device of devices) {
      noteNoDriver(device, plan, done);
      noteInterfaces(device, done);
    }
  }
  return done;
}

const IFF_UP = 1;

/** A card that comes back is as at the start of the machine: somebody must configure it again. */
function noteInterfaces({ address, sysfsPath }: SysfsDevice, report: DriverReport): void {
  if (report.devices.find((device) => device.address === address)?.changed !== true) return;
  for (const name of listNames(`${sysfsPath}/net`) ?? []) {
    const flags = Number(readAttribute(`${sysfsPath}/net/${name}/flags`) ?? IFF_UP);
    if ((flags & IFF_UP) === 0)
      report.notes.push(
        `the network interface ${name} is there again, and is down: the host's network configuration has to set it up anew`,
      );
  }
}

/** The kernel looks among the loaded drivers only. Where there had been none, there is none to miss. */
function noteNoDriver(device: SysfsDevice, { roots }: Plan, report: DriverReport): void {
  const { address } = device;
  const isSought = report.steps.some(
    (step) =>
      step.kind === 'write' && step.path.endsWith('/drivers_probe') && step.text === address,
  );
  if (isSought && stateOf(device).driver === null)
    report.notes.push(`${address} has no driver now: ${driverless(device, roots)}`);
}

function changeBack(device: SysfsDevice, plan: Plan, report: DriverReport): Change {
  const before = stateOf(device);
  const record = readRecord(device, plan.roots);
  const to = destinationOf(device, before, record, report);
  return { device, before, to, forget: true, ...ruleToRemove(device, plan, report) };
}

/** Of a device that was pulled out there is only the rule to remove. */
function withoutDevice(device: SysfsDevice, plan: Plan, report: DriverReport): Change {
  report.notes.push(`${device.address} is not there: only its rule is removed`);
  const before = { driver: null, driverOverride: null };
  return { device, before, to: undefined, absent: true, ...ruleToRemove(device, plan, report) };
}

function destinationOf(
  device: SysfsDevice,
  now: DriverState,
  record: DriverRecord | undefined,
  report: DriverReport,
): Change['to'] {
  const { address } = device;
  if (record && (now.driver === record.driver || isOf(record, device, now))) {
    const { driver, driverOverride } = record;
    const isBack = now.driver === driver && now.driverOverride === driverOverride;
    return isBack ? undefined : { driver, driverOverride };
  }
  // Without a driver: an unbinding may have waited in the kernel, and ended after its command.
  if (isVfio(device) || now.driver === null) {
    const note = `nothing is remembered of ${address}: the kernel looks for a driver of the host`;
    report.notes.push(note);
    return { driver: undefined, driverOverride: null };
  }
  report.notes.push(`${address} is ${stateText(now)}, and nothing is remembered of it`);
  return undefined;
}

/**
 * Taking a device from its VFIO driver waits for whoever has it open, or one of its virtual functions,
 * which the driver removes.
 */
function* refuseHeld(
  changes: readonly Change[],
  { roots, force }: Plan,
  report: DriverReport,
): Steps<void> {
  const found: { device: SysfsDevice; needs: HostNeed[] }[] = [];
  for (const { device, before, to } of changes) {
    if (to === undefined || before.driver === null || to.driver === before.driver) continue;
    const users = userNeeds(device, yield* whoHolds(nodesOf(device, roots.sysfsRoot)));
    const functions = yield* functionsNeeds(device, roots);
    found.push({ device, needs: [...users.needs, ...functions.needs] });
    const unseen = [...users.unseen, ...functions.unseen];
    report.notes.push(...unseen.map((what) => `not looked at: ${what}`));
    report.notes.push(...functionsNote(device));
  }
  const error = neededError(found, force);
  if (error) throw error;
  noteForced(found, report);
}

function functionsNote(device: SysfsDevice): string[] {
  const functions = virtfnsOf(device);
  if (functions.length === 0) return [];
  const those =
    functions.length === 1 ? 'the virtual function' : `the ${functions.length} virtual functions`;
  const go = functions.length === 1 ? 'goes' : 'go';
  return [`${those} of ${device.address} ${go} with its driver: ${functions.join(', ')}`];
}
