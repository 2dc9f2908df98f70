import { explained, VfioError } from '../core/errors.ts';
import type { CdevLocation, DeviceSpec } from '../core/location.ts';
import type { Cause } from '../core/reasons.ts';
import { either, runSync, type Steps } from '../core/steps.ts';
import { describeDevice as describe, type DeviceFacts } from '../locate/facts.ts';
import { findCdev as find } from '../locate/find_cdev.ts';
import { type RootOptions, rootsOf } from '../locate/roots.ts';
import { bindCause, groupCause, groupNodeCause } from './bind_causes.ts';
import { deviceCause, hiddenCause } from './device_causes.ts';
import { findHolders, foundNobody } from './holders.ts';
import { nodeCause } from './node_causes.ts';
import { type Subject, subjectOf, type Suspicion } from './subject.ts';

/** Whoever waits for a device gets the error after so many milliseconds, found out or not. */
const mostMilliseconds = 250;

/** Runs a task; where it fails, its error is explained and thrown. */
export function* explaining<T>(task: Steps<T>, subjectOf: () => Subject): Steps<T> {
  try {
    return yield* task;
  } catch (error) {
    throw yield* explain(error, subjectOf);
  }
}

/**
 * The error to throw in place of `error`: the same with `reason`, `facts`, `certainty` and `hint`,
 * where its cause is found within 250 ms. What stops the search becomes the error's `cause`. The
 * blocking form does not look for the processes that hold a device.
 */
export function* explain(error: unknown, subjectOf: () => Subject): Steps<unknown> {
  if (!isUnexplained(error)) return error;
  const deadline = performance.now() + mostMilliseconds;
  try {
    const subject = subjectOf();
    const suspicion = yield* suspect(error, subject);
    if (suspicion === undefined) return error;
    const cause = yield* either(
      () => settle(suspicion, subject, deadline),
      () => suspicion.cause,
    );
    return explained(error, cause);
  } catch (problem) {
    return withProblem(error, problem);
  }
}

/** The blocking form of {@link explain}. */
export function explainSync(error: unknown, subjectOf: () => Subject): unknown {
  return runSync(explain(error, subjectOf));
}

/** These say all there is to say. */
const complete = new Set(['ERR_VFIO_CLOSED', 'ERR_VFIO_NO_THREAD']);

function isUnexplained(error: unknown): error is VfioError {
  if (!(error instanceof VfioError)) return false;
  return error.reason === undefined && !complete.has(error.code);
}

/** What groups and containers refuse, and a code of ours. */
const groupRequests = new Set([
  'VFIO_GROUP_SET_CONTAINER',
  'VFIO_SET_IOMMU',
  'VFIO_GROUP_GET_DEVICE_FD',
  'ERR_VFIO_GROUP_NOT_VIABLE',
]);

function* suspect(error: VfioError, subject: Subject): Steps<Suspicion | undefined> {
  const { path = '', syscall, request } = error;
  const hidden = hiddenCause(error, subject);
  if (hidden) return { cause: hidden };
  const device = deviceCause(error, subject);
  if (device) return { cause: device };
  if (request === 'VFIO_DEVICE_BIND_IOMMUFD') return yield* bindCause(error, subject);
  if (groupRequests.has(request ?? error.code)) return yield* groupCause(error, subject);
  if (request !== undefined) return undefined;
  if (syscall === 'open' && error.code === 'EBUSY') return yield* groupNodeCause(path, subject);
  const node = nodeCause(error, subject);
  return node && { cause: node };
}

async function settle(suspicion: Suspicion, subject: Subject, deadline: number): Promise<Cause> {
  const { cause, search, settle: settled, otherwise } = suspicion;
  if (search === undefined || settled === undefined) return cause;
  const found = await findHolders(search, subject.own, deadline);
  if (otherwise === undefined || !foundNobody(found)) return settled(found);
  return await settle(otherwise, subject, deadline);
}

function withProblem(error: VfioError, problem: unknown): VfioError {
  return Object.assign(error, { cause: problem });
}

// What people look up without opening it: the same answers, their errors explained.

/**
 * The cdev of the device that `spec` names: `<device>/vfio-dev/vfioN/dev` in sysfs holds its
 * numbers. Its node is not looked for; only where `spec` is a node is that one the location's path.
 *
 * @throws TypeError, RangeError for what cannot name a device
 * @throws VfioError `ERR_VFIO_NO_DEVICE`, `ERR_VFIO_NOT_BOUND_TO_VFIO`, `ERR_VFIO_NO_CDEV`; where
 *   `spec` is a node, `ERR_VFIO_NODE_MISMATCH` and of stat `ENOENT`; where it is a descriptor
 *   `EBADF`
 */
export function findCdev(spec: DeviceSpec, options: RootOptions = {}): CdevLocation {
  return lookUp(spec, options, () => find(spec, options));
}

/**
 * Reads what sysfs says of a device.
 *
 * @throws TypeError, RangeError for what cannot name a device
 * @throws VfioError `ERR_VFIO_NO_DEVICE`
 */
export function describeDevice(spec: DeviceSpec, options: RootOptions = {}): DeviceFacts {
  return lookUp(spec, options, () => describe(spec, options));
}

function lookUp<T>(spec: DeviceSpec, options: RootOptions, look: () => T): T {
  try {
    return look();
  } catch (error) {
    throw explainSync(error, () => subjectOf(spec, rootsOf(options)));
  }
}
