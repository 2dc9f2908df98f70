import { dirname } from 'node:path';
import { checkSignal, checkTimeout } from '../core/arguments.ts';
import { VfioError } from '../core/errors.ts';
import type { DeviceSpec, NodeLocation, Roots } from '../core/location.ts';
import { tellStep } from '../core/open_steps.ts';
import type { DeviceNode } from '../core/owned_fd.ts';
import { abortReason, throwIfAborted } from '../core/readiness.ts';
import {
  closing,
  either,
  letCallerGoOn,
  type Steps,
  undoAndThrow,
  undoing,
} from '../core/steps.ts';
import { explaining } from '../diagnose/explain.ts';
import { subjectOf } from '../diagnose/subject.ts';
import { findCdev } from '../locate/find_cdev.ts';
import { rootsOf } from '../locate/roots.ts';
import { FolderWatch } from './folder_watch.ts';
import type { OpenSyncOptions } from './kinds.ts';
import { openNode } from './node.ts';

/** Milliseconds. */
function defaultTimeout(): Steps<number> {
  return either(
    () => Promise.resolve(1000),
    () => 0,
  );
}

/** Which node of a device is to be opened. */
export interface NodeKind<Location extends NodeLocation> {
  find: (spec: DeviceSpec, roots: Roots) => Location;
  /** What the descriptor is called in errors. */
  what: (location: Location) => string;
}

/** A device's own node. */
export const cdevs: NodeKind<NodeLocation> = {
  find: findCdev,
  what: ({ device }) => `the cdev of ${device.address}`,
};

/**
 * Finds a device's node and opens it. A node that is not there yet, may not be opened yet or has
 * other numbers is waited for; when the time is up, the last reason is thrown. Without a `timeout`
 * the blocking form tries once.
 *
 * @param signal - of the promise form
 */
export function* openNodeOf<Location extends NodeLocation>(
  kind: NodeKind<Location>,
  spec: DeviceSpec,
  options: OpenSyncOptions,
  signal?: AbortSignal,
): Steps<DeviceNode<Location>> {
  const { timeout } = options;
  if (timeout !== undefined) checkTimeout(timeout);
  checkSignal(signal);
  throwIfAborted(signal);
  const roots = rootsOf(options);
  const opening = openUnlessAborted(new Attempt(kind, spec, roots), timeout, signal);
  return yield* explaining(opening, () => subjectOf(spec, roots, kind.find));
}

/** Who called may abort in the same turn: then nobody asks for the device any more. */
function* openUnlessAborted<Location extends NodeLocation>(
  attempt: Attempt<Location>,
  timeout: number | undefined,
  signal: AbortSignal | undefined,
): Steps<DeviceNode<Location>> {
  const node = yield* tryThenWait(attempt, timeout, signal);
  yield* letCallerGoOn();
  if (signal?.aborted) return yield* undoAndThrow(abortReason(signal), closing(node.fd));
  return node;
}

function* tryThenWait<Location extends NodeLocation>(
  attempt: Attempt<Location>,
  timeout: number | undefined,
  signal: AbortSignal | undefined,
): Steps<DeviceNode<Location>> {
  const first = attempt.run();
  if (!(first instanceof VfioError)) return first;
  const patience = timeout ?? (yield* defaultTimeout());
  if (patience === 0) throw first;
  const deadline = performance.now() + patience;
  const watch = openWatch(first);
  const node = yield* undoing(openLater(attempt, watch, first, deadline, signal), closing(watch));
  yield* undoing(closing(watch), closing(node.fd));
  return node;
}

function* openLater<Location extends NodeLocation>(
  attempt: Attempt<Location>,
  watch: FolderWatch,
  first: VfioError,
  deadline: number,
  signal: AbortSignal | undefined,
): Steps<DeviceNode<Location>> {
  for (let reason = first; ;) {
    const result = attempt.watched(watch, reason);
    if (!(result instanceof VfioError)) return result;
    reason = result;
    const left = remaining(deadline, reason);
    yield* either(
      () => watch.change(left, signal),
      () => {
        watch.changeSync(left);
      },
    );
    throwIfAborted(signal);
  }
}

/** Milliseconds until the deadline; after it, what stood in the way is thrown. */
function remaining(deadline: number, reason: VfioError): number {
  const left = deadline - performance.now();
  if (left <= 0) throw reason;
  return Math.ceil(left);
}

/** Where there is no inotify, the error of it says why we waited. */
function openWatch(reason: VfioError): FolderWatch {
  try {
    return FolderWatch.open();
  } catch (error) {
    throw error instanceof Error ? Object.assign(error, { cause: reason }) : error;
  }
}

/**
 * What time may mend: devtmpfs and udev are not done with the node, or a stale one is still there.
 */
const late = new Set(['ENOENT', 'EACCES', 'ENXIO', 'ERR_VFIO_NODE_MISMATCH']);

/** One try after another to open a device's node, each from the lookup in sysfs on. */
class Attempt<Location extends NodeLocation> {
  readonly #kind: NodeKind<Location>;
  readonly #spec: DeviceSpec;
  readonly #roots: Roots;

  constructor(kind: NodeKind<Location>, spec: DeviceSpec, roots: Roots) {
    this.#kind = kind;
    this.#spec = spec;
    this.#roots = roots;
  }

  /** The node, or why it is worth waiting for; throws what time does not mend. */
  run(): DeviceNode<Location> | VfioError {
    const { find, what } = this.#kind;
    try {
      const location = find(this.#spec, this.#roots);
      const { address } = location.device;
      tellStep('lookup', address);
      const node = openNode(location, this.#roots, what(location));
      tellStep('open', address);
      return node;
    } catch (error) {
      if (error instanceof VfioError && this.#isLate(error)) return error;
      throw error;
    }
  }

  /**
   * Tries like {@link run}, after it has begun to watch the folders that the last reason came from:
   * no change is lost.
   */
  watched(watch: FolderWatch, { path = '' }: VfioError): DeviceNode<Location> | VfioError {
    watch.add(dirname(path));
    watch.add(`${this.#roots.devRoot}/char`);
    return this.run();
  }

  #isLate({ code, path }: VfioError): boolean {
    return late.has(code) && path?.startsWith(`${this.#roots.devRoot}/`) === true;
  }
}
