import { VfioError } from '../errors.ts';
import { run, runSync, type Reading } from '../locate/folders.ts';
import type { Cause } from '../reasons.ts';
import { bindCause, groupCause } from './bind_causes.ts';
import { deviceCause } from './device_causes.ts';
import { explained } from './explained.ts';
import { findHolders } from './holders.ts';
import { nodeCause } from './node_causes.ts';
import type { Subject } from './subject.ts';
import type { Suspicion } from './suspicion.ts';

/** Whoever waits for a device gets the error after so many milliseconds, found out or not. */
const mostMilliseconds = 250;

/**
 * The error to throw in place of `error`: the same with `reason`, `facts`, `certainty` and `hint`,
 * where its cause is found within 250 ms. What stops the search becomes the error's `cause`.
 */
export async function explain(error: unknown, subjectOf: () => Subject): Promise<unknown> {
  if (!isUnexplained(error)) return error;
  const deadline = performance.now() + mostMilliseconds;
  try {
    const subject = subjectOf();
    const suspicion = await run(suspect(error, subject));
    if (suspicion === undefined) return error;
    return explained(error, await settle(suspicion, subject, deadline));
  } catch (problem) {
    return withProblem(error, problem);
  }
}

/** As {@link explain}, blocking; does not look for the processes that hold a device. */
export function explainSync(error: unknown, subjectOf: () => Subject): unknown {
  if (!isUnexplained(error)) return error;
  try {
    const suspicion = runSync(suspect(error, subjectOf()));
    return suspicion ? explained(error, suspicion.cause) : error;
  } catch (problem) {
    return withProblem(error, problem);
  }
}

/** A closed object says all there is to say. */
function isUnexplained(error: unknown): error is VfioError {
  if (!(error instanceof VfioError)) return false;
  return error.reason === undefined && error.code !== 'ERR_VFIO_CLOSED';
}

function* suspect(error: VfioError, subject: Subject): Reading<Suspicion | undefined> {
  const { path = '', syscall, request } = error;
  const device = deviceCause(error, subject);
  if (device) return { cause: device };
  if (request === 'VFIO_DEVICE_BIND_IOMMUFD') return yield* bindCause(error, subject);
  if (request !== undefined) return undefined;
  if (syscall === 'open' && error.code === 'EBUSY') return yield* groupCause(path, subject);
  const node = nodeCause(error, subject);
  return node && { cause: node };
}

async function settle(
  { cause, search, settle }: Suspicion,
  { own }: Subject,
  deadline: number,
): Promise<Cause> {
  if (search === undefined || settle === undefined) return cause;
  return settle(await findHolders(search, own, deadline));
}

function withProblem(error: VfioError, problem: unknown): VfioError {
  return Object.assign(error, { cause: problem });
}
