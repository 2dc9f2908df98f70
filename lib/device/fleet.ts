import { requirePlatform } from '../addon.ts';
import {
  checkInteger,
  checkSignal,
  checkTimeout,
  invalidType,
  requireBoolean,
} from '../core/arguments.ts';
import { callerPlace, type CallerPlace } from '../core/caller.ts';
import { escapeControls } from '../core/controls.ts';
import { counted } from '../core/counted.ts';
import { messageOf } from '../core/errors.ts';
import type { DeviceSpec } from '../core/location.ts';
import { abortReason, throwIfAborted } from '../core/readiness.ts';
import { bothErrors } from '../core/steps.ts';
import { parseSpec } from '../locate/resolve.ts';
import { rootsOf } from '../locate/roots.ts';
import { VfioDevice } from './device.ts';
import { checkDeviceOptions, type OpenDeviceOptions } from './options.ts';

/** How to open many devices. */
export interface OpenDevicesOptions extends OpenDeviceOptions {
  /**
   * How many are opened at once: 64 unless told otherwise, which is also the most that can wait for
   * the kernel at once.
   */
  concurrency?: number | undefined;
  /** Called after each device, in the order in which they are done. */
  onProgress?: ((progress: FleetProgress) => void) | undefined;
  /** Report what failed beside what was opened, instead of closing everything. */
  settle?: boolean | undefined;
}

/** How far opening many devices is. */
export interface FleetProgress {
  /** Opened or failed. */
  done: number;
  /** How many of those failed. */
  failed: number;
  /** How many devices there are to open. */
  total: number;
  /** The one that is done. */
  spec: DeviceSpec;
}

const mostAtOnce = 64;

/**
 * Opens many devices at once, as {@link VfioDevice.open} does each. The kernel resets each device
 * that it can, 100 ms and more; devices on separate buses do not wait for one another.
 *
 * Where one fails, those that were opened are closed again; with `settle` they stay open, and the
 * answer has a result for each, as `Promise.allSettled` has.
 *
 * @param options - `iommufd` is where all of them are bound; without it each opens its own
 * @returns the devices in the order of `specs`
 * @throws TypeError, RangeError for arguments that cannot be right
 * @throws VfioError `ERR_VFIO_UNSUPPORTED_PLATFORM`
 * @throws AggregateError, without `settle`, with the error of every device that did not open
 * @throws the signal's reason, after what was opened is closed again
 */
export function openDevices(
  specs: readonly DeviceSpec[],
  options: OpenDevicesOptions & { settle: true },
): Promise<PromiseSettledResult<VfioDevice>[]>;

/**
 * Opens many devices at once: all, or none.
 *
 * @throws TypeError, RangeError for arguments that cannot be right
 * @throws VfioError `ERR_VFIO_UNSUPPORTED_PLATFORM`
 * @throws AggregateError with the error of every device that did not open
 * @throws the signal's reason, after what was opened is closed again
 */
export function openDevices(
  specs: readonly DeviceSpec[],
  options?: OpenDevicesOptions & { settle?: false | undefined },
): Promise<VfioDevice[]>;

export async function openDevices(
  specs: readonly DeviceSpec[],
  options: OpenDevicesOptions = {},
): Promise<VfioDevice[] | PromiseSettledResult<VfioDevice>[]> {
  const place = callerPlace();
  check(specs, options);
  // One error, not one for each device.
  requirePlatform();
  const { settle = false, signal } = options;
  throwIfAborted(signal);
  const { results, problem } = await openAll(specs, options, place);
  const opened = results
    .filter((result) => result.status === 'fulfilled')
    .map(({ value }) => value);
  if (problem) throw await afterClosing(opened, problem.error);
  if (signal?.aborted) throw await afterClosing(opened, abortReason(signal));
  if (settle) return results;
  const failed = failuresOf(results, specs.map(nameOf));
  if (failed.length === 0) return opened;
  const error = allErrors(
    failed,
    `${failed.length} of ${counted(specs.length, 'device')} did not open`,
  );
  throw await afterClosing(opened, error);
}

/** What to throw once the devices are closed: the error, or both where closing fails too. */
async function afterClosing(opened: readonly VfioDevice[], error: unknown): Promise<unknown> {
  try {
    await closeDevices(opened);
    return error;
  } catch (other) {
    return bothErrors(error, other);
  }
}

/**
 * Closes many devices at once. All of them are closed when this settles.
 *
 * @throws TypeError for what is no array of VfioDevices; nothing is closed then
 * @throws AggregateError with the error of every device that did not close well
 */
export async function closeDevices(devices: readonly VfioDevice[]): Promise<void> {
  requireArray('devices', 'an array of VfioDevice', devices);
  for (const device of devices) {
    if (!VfioDevice.isDevice(device)) throw invalidType('devices', 'VfioDevices', device);
  }
  const results = await Promise.allSettled(devices.map((device) => device.close()));
  const names = devices.map(({ device }) => device.address);
  const failed = failuresOf(results, names);
  if (failed.length === 0) return;
  throw allErrors(failed, `${failed.length} of ${counted(devices.length, 'device')} did not close`);
}

interface Failure {
  name: string;
  error: unknown;
}

function failuresOf(
  results: readonly PromiseSettledResult<unknown>[],
  names: readonly string[],
): Failure[] {
  return results.flatMap((result, at) =>
    result.status === 'rejected'
      ? [{ name: names[at] ?? '', error: result.reason as unknown }]
      : [],
  );
}

/** The device's name, as the program gave it. */
function nameOf(spec: DeviceSpec): string {
  return escapeControls(typeof spec === 'object' ? spec.address : String(spec));
}

/** Where only the message is printed, it has to say which devices they are, and why. */
function allErrors(failed: readonly Failure[], what: string): AggregateError {
  const each = failed.map(({ name, error }) => `\n  ${name}: ${messageOf(error)}`);
  const errors = failed.map(({ error }) => error);
  return new AggregateError(errors, `${what}:${each.join('')}`);
}

interface Outcome {
  results: PromiseSettledResult<VfioDevice>[];
  /** What `onProgress` threw: nothing was begun after that. */
  problem?: { error: unknown };
}

/** Opens them in their order, `concurrency` at once. */
async function openAll(
  specs: readonly DeviceSpec[],
  { concurrency = mostAtOnce, onProgress, ...options }: OpenDevicesOptions,
  place: CallerPlace,
): Promise<Outcome> {
  const outcome: Outcome = { results: [] };
  const progress = { done: 0, failed: 0, total: specs.length };
  const entries = specs.entries();
  const openNext = async (): Promise<void> => {
    // Every one of these loops takes from the same iterator.
    for (const [at, spec] of entries) {
      const [result] = await Promise.allSettled([VfioDevice.openAt(place, spec, options)]);
      outcome.results[at] = result;
      progress.done++;
      if (result.status === 'rejected') progress.failed++;
      try {
        onProgress?.({ ...progress, spec });
      } catch (error) {
        outcome.problem ??= { error };
      }
      if (outcome.problem) return;
    }
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, specs.length) }, openNext));
  return outcome;
}

function check(specs: readonly DeviceSpec[], options: OpenDevicesOptions): void {
  requireArray('specs', 'an array of devices', specs);
  checkDeviceOptions(options);
  const { concurrency, onProgress, settle, signal, timeout } = options;
  const roots = rootsOf(options);
  checkSignal(signal);
  if (timeout !== undefined) checkTimeout(timeout);
  requireBoolean('settle', settle);
  if (concurrency !== undefined) checkInteger('concurrency', concurrency, 1, mostAtOnce);
  if (onProgress !== undefined && typeof onProgress !== 'function') {
    throw invalidType('onProgress', 'a function', onProgress);
  }
  // A mistake in the last of them must not be found with the others open.
  for (const spec of specs) parseSpec(spec, roots);
}

function requireArray(name: string, expected: string, value: unknown): void {
  if (!Array.isArray(value)) throw invalidType(name, expected, value);
}
