import { dirname } from 'node:path';
import { checkSignal, checkTimeout } from '../core/arguments.ts';
import { VfioError } from '../core/errors.ts';
import type { DeviceSpec, NodeLocation, Roots } from '../core/location.ts';
import { tellStep } from '../core/open_steps.ts';
import type { DeviceNode } from '../core/owned_fd.ts';
import { abortReason, throwIfAborted } from '../core/readiness.ts';
import { closeAndThrow, closeSyncAndThrow } from '../core/steps.ts';
import { explain, explainSync } from '../diagnose/explain.ts';
import { subjectOf } from '../diagnose/subject.ts';
import { findCdev } from '../locate/find_cdev.ts';
import { rootsOf } from '../locate/roots.ts';
import { FolderWatch } from './folder_watch.ts';
import { openNode } from './node.ts';
import type { OpenOptions, OpenSyncOptions } from './open_options.ts';

const defaultTimeout = 1000;

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
 * Finds a device's node, its cdev unless `kind` says otherwise, and opens it. A node that is not there yet, may not be opened yet or
 * has other numbers is waited for; when the time is up, the last reason is thrown.
 */
export function openDeviceNode(spec: DeviceSpec, options: OpenOptions): Promise<DeviceNode> {
  return openNodeOf(cdevs, spec, options);
}

/** As {@link openDeviceNode}, of whatever kind. */
export async function openNodeOf<Location extends NodeLocation>(
  kind: NodeKind<Location>,
  spec: DeviceSpec,
  options: OpenOptions,
): Promise<DeviceNode<Location>> {
  const { timeout = defaultTimeout, signal } = options;
  checkTimeout(timeout);
  checkSignal(signal);
  throwIfAborted(signal);
  const roots = rootsOf(options);
  try {
    const node = await tryThenWait(new Attempt(kind, spec, roots), timeout, signal);
    // Aborted in the turn in which it was called: nobody asks for the device any more.
    if (signal?.aborted) return await closeAndThrow(abortReason(signal), () => node.fd.close());
    return node;
  } catch (error) {
    throw await explain(error, () => subjectOf(spec, roots, kind.find));
  }
}

async function tryThenWait<Location extends NodeLocation>(
  attempt: Attempt<Location>,
  timeout: number,
  signal: AbortSignal | undefined,
): Promise<DeviceNode<Location>> {
  const first = attempt.run();
  if (!(first instanceof VfioError)) return first;
  if (timeout === 0) throw first;
  return await openLater(attempt, first, timeout, signal);
}

/** As {@link openDeviceNode}, blocking; without a `timeout` it tries once. */
export function openDeviceNodeSync(spec: DeviceSpec, options: OpenSyncOptions): DeviceNode {
  return openNodeOfSync(cdevs, spec, options);
}

/** As {@link openNodeOf}, blocking. */
export function openNodeOfSync<Location extends NodeLocation>(
  kind: NodeKind<Location>,
  spec: DeviceSpec,
  options: OpenSyncOptions,
): DeviceNode<Location> {
  const { timeout = 0 } = options;
  checkTimeout(timeout);
  const roots = rootsOf(options);
  try {
    const attempt = new Attempt(kind, spec, roots);
    const first = attempt.run();
    if (!(first instanceof VfioError)) return first;
    if (timeout === 0) throw first;
    return openLaterSync(attempt, first, timeout);
  } catch (error) {
    throw explainSync(error, () => subjectOf(spec, roots, kind.find));
  }
}

async function openLater<Location extends NodeLocation>(
  attempt: Attempt<Location>,
  first: VfioError,
  timeout: number,
  signal: AbortSignal | undefined,
): Promise<DeviceNode<Location>> {
  const deadline = performance.now() + timeout;
  const watch = openWatch(first);
  let node: DeviceNode<Location> | undefined;
  try {
    for (let reason = first; ;) {
      const result = attempt.watched(watch, reason);
      if (!(result instanceof VfioError)) {
        node = result;
        break;
      }
      reason = result;
      await watch.change(remaining(deadline, reason), signal);
      throwIfAborted(signal);
    }
    await watch.close();
    return node;
  } catch (error) {
    return await closeAndThrow(error, async () => {
      await node?.fd.close();
      await watch.close();
    });
  }
}

function openLaterSync<Location extends NodeLocation>(
  attempt: Attempt<Location>,
  first: VfioError,
  timeout: number,
): DeviceNode<Location> {
  const deadline = performance.now() + timeout;
  const watch = openWatch(first);
  let node: DeviceNode<Location> | undefined;
  try {
    for (let reason = first; ;) {
      const result = attempt.watched(watch, reason);
      if (!(result instanceof VfioError)) {
        node = result;
        break;
      }
      reason = result;
      watch.changeSync(remaining(deadline, reason));
    }
    watch.closeSync();
    return node;
  } catch (error) {
    return closeSyncAndThrow(error, () => {
      node?.fd.closeSync();
      watch.closeSync();
    });
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

/** What time may mend: devtmpfs and udev are not done with the node, or a stale one is still there. */
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

  /** As {@link run}, watching first the folders that the last reason came from: no change is lost. */
  watched(watch: FolderWatch, { path = '' }: VfioError): DeviceNode<Location> | VfioError {
    watch.add(dirname(path));
    watch.add(`${this.#roots.devRoot}/char`);
    return this.run();
  }

  #isLate({ code, path }: VfioError): boolean {
    return late.has(code) && path?.startsWith(`${this.#roots.devRoot}/`) === true;
  }
}
