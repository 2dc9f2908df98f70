import { messageOf, VfioError } from '../core/errors.ts';
import type { SysfsDevice } from '../core/location.ts';
import type { Steps } from '../core/steps.ts';
import type { Plan } from './bind_options.ts';
import { requireNoRemoval } from './chosen_devices.ts';
import { type DeviceLocks, withLocks } from './device_locks.ts';
import { loadedDriver, modprobe, noSuchDriver } from './driver_choice.ts';
import { type Destination, isWaiting, moveDevice, writesFor } from './driver_move.ts';
import { type DriverRecord, removeRecord, writeRecord } from './driver_record.ts';
import { type DriverReport, type DriverState, stateOf, stateText } from './driver_report.ts';
import { isInPlace, prepareRules, type RuleFile, ruleStep } from './rule_file.ts';

/** What is to become of a device. */
export interface Change {
  device: SysfsDevice;
  before: DriverState;
  /** Undefined where it is already as it shall be. */
  to: Destination | undefined;
  /** What to remember of it before anything is changed. */
  remember?: DriverRecord | undefined;
  /** What was remembered of it until then. */
  remembered?: DriverRecord | undefined;
  /** Afterwards nothing of it is to be remembered. */
  forget?: boolean | undefined;
  /** A file to write, or to remove, when all devices are where they shall be. */
  rule?: RuleFile | undefined;
  /** It was pulled out: there is only its rule. */
  absent?: boolean | undefined;
}

/** Where a driver may be missing, by its name and bus. */
export interface NeededDriver {
  bus: string;
  driver: string;
}

/**
 * Has the drivers loaded that are not; answers the names under which the kernel has them. In a dry
 * run nothing is loaded, and a driver that is not there is taken at its name.
 */
export function* loadDrivers(
  needed: readonly NeededDriver[],
  { roots, dryRun, timeout }: Plan,
  report: DriverReport,
): Steps<Map<string, string>> {
  const names = new Map<string, string>();
  for (const { bus, driver } of needed) {
    const key = driverKey(bus, driver);
    if (names.has(key)) continue;
    let loaded = loadedDriver(bus, driver, roots.sysfsRoot);
    if (loaded === undefined) {
      report.steps.push({ kind: 'modprobe', module: driver });
      const said = dryRun ? undefined : yield* modprobe(driver, timeout);
      loaded = dryRun ? guessed(driver) : loadedDriver(bus, driver, roots.sysfsRoot);
      if (loaded === undefined) throw noSuchDriver(bus, driver, said);
    }
    names.set(key, loaded);
  }
  return names;
}

export function driverKey(bus: string, driver: string): string {
  return `${bus}/${driver}`;
}

/** The module vfio_pci has the driver vfio-pci. */
function guessed(driver: string): string {
  return driver === 'vfio_pci' ? 'vfio-pci' : driver;
}

/**
 * Changes the drivers of devices: of all, or of none. Where one cannot be changed, those before it
 * are taken back; the error says what came of that.
 */
export function* changeDrivers(
  devices: readonly SysfsDevice[],
  plan: Plan,
  report: DriverReport,
  changesOf: () => Steps<Change[]>,
): Steps<DriverReport> {
  if (plan.dryRun) {
    devices.forEach(requireNoRemoval);
    return foretell(yield* changesOf(), plan, report);
  }
  return yield* withLocks(devices, plan.roots, plan.timeout, function* (locks) {
    // Read under the lock: what another program left is what counts.
    devices.forEach(requireNoRemoval);
    const changes = yield* changesOf();
    const rules = prepareRules(changes.flatMap(({ rule }) => rule ?? []));
    const done: Change[] = [];
    try {
      for (const change of changes) {
        done.push(change);
        yield* changeOne(change, plan, locks, report);
      }
      rules.apply(report);
    } catch (error) {
      throw rules.undo(yield* takenBack(error, done.toReversed(), plan, locks));
    }
    for (const { device, forget } of changes) if (forget) removeRecord(device, plan.roots);
    return report;
  });
}

function foretell(changes: readonly Change[], { roots }: Plan, report: DriverReport): DriverReport {
  for (const { device, before, to, rule, absent } of changes) {
    const writes = to ? writesFor(device, before, to, roots) : [];
    report.steps.push(...writes.map((write) => ({ kind: 'write' as const, ...write })));
    if (!absent) noteChange(report, device, before, to ?? before);
    if (rule !== undefined && !isInPlace(rule)) report.steps.push(ruleStep(rule));
  }
  return report;
}

function noteChange(
  report: DriverReport,
  { bus, address }: SysfsDevice,
  before: DriverState,
  { driver, driverOverride }: Destination,
): void {
  const changed = before.driver !== driver || before.driverOverride !== driverOverride;
  report.devices.push({ bus, address, before, after: { driver, driverOverride }, changed });
}

function* changeOne(
  { device, before, to, remember, absent }: Change,
  { roots, timeout }: Plan,
  { numbers }: DeviceLocks,
  report: DriverReport,
): Steps<void> {
  if (to === undefined) {
    if (!absent) noteChange(report, device, before, before);
    return;
  }
  if (remember) writeRecord(device, remember, roots);
  const writes = writesFor(device, before, to, roots);
  const after = yield* moveDevice(device, to, { roots, timeout, locks: numbers });
  report.steps.push(...writes.map((write) => ({ kind: 'write' as const, ...write })));
  noteChange(report, device, before, after);
}

/** The error, with what became of the devices that had been changed when it came. */
function* takenBack(
  error: unknown,
  changes: readonly Change[],
  { roots, timeout }: Plan,
  { numbers }: DeviceLocks,
): Steps<unknown> {
  const said: string[] = [];
  const errors: unknown[] = [];
  for (const { device, before, to, remember, remembered } of changes) {
    if (to === undefined) continue;
    const { address } = device;
    if (isWaiting(error) && error.device === address) {
      said.push(
        `${address} is left as it is: sudo npx vfio unbind ${address} mends it when the kernel is done`,
      );
      continue;
    }
    try {
      const now = yield* moveDevice(device, before, { roots, timeout, locks: numbers });
      if (remember && remembered) writeRecord(device, remembered, roots);
      else if (remember) removeRecord(device, roots);
      said.push(`${address} is ${stateText(now)} again`);
    } catch (problem) {
      errors.push(problem);
      said.push(`${address} is ${stateText(stateOf(device))}, and did not go back`);
    }
  }
  const told = withOutcome(error, said);
  if (errors.length === 0) return told;
  const all = [told, ...errors];
  return new AggregateError(all, all.map(messageOf).join('; '), { cause: error });
}

function withOutcome(error: unknown, said: readonly string[]): unknown {
  if (!(error instanceof VfioError) || said.length === 0) return error;
  const { code, message, cause } = error;
  return new VfioError({
    ...Object.fromEntries(Object.entries(error)),
    ...{ code, message: `${message}. ${said.join('; ')}`, cause },
  });
}
