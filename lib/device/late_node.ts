import { dirname } from 'node:path';
import { VfioError } from '../errors.ts';
import type { DeviceSpec } from '../locate/address.ts';
import { explain, explainSync } from '../diagnose/explain.ts';
import { subjectOf } from '../diagnose/subject.ts';
import { findCdev } from '../locate/find_cdev.ts';
import { rootsOf, type Roots } from '../locate/roots.ts';
import { closeAndThrow, closeSyncAndThrow } from '../undo.ts';
import { FolderWatch } from './folder_watch.ts';
import { openNode, type CdevNode } from './node.ts';
import {
  checkSignal,
  checkTimeout,
  type OpenOptions,
  type OpenSyncOptions,
} from './open_options.ts';

const defaultTimeout = 1000;

/**
 * Finds a device's cdev and opens its node. A node that is not there yet, may not be opened yet or
 * has other numbers is waited for; when the time is up, the last reason is thrown.
 */
export async function openDeviceNode(spec: DeviceSpec, options: OpenOptions): Promise<CdevNode> {
  const { timeout = defaultTimeout, signal } = options;
  checkTimeout(timeout);
  checkSignal(signal);
  signal?.throwIfAborted();
  const roots = rootsOf(options);
  try {
    const node = await tryThenWait(new Attempt(spec, roots), timeout, signal);
    // Aborted in the turn in which it was called: nobody asks for the device any more.
    if (signal?.aborted) return await closeAndThrow(signal.reason, () => node.fd.close());
    return node;
  } catch (error) {
    throw await explain(error, () => subjectOf(spec, roots));
  }
}

async function tryThenWait(
  attempt: Attempt,
  timeout: number,
  signal: AbortSignal | undefined,
): Promise<CdevNode> {
  const first = attempt.run();
  if (!(first instanceof VfioError)) return first;
  if (timeout === 0) throw first;
  return await openLater(attempt, first, timeout, signal);
}

/** As {@link openDeviceNode}, blocking; without a `timeout` it tries once. */
export function openDeviceNodeSync(spec: DeviceSpec, options: OpenSyncOptions): CdevNode {
  const { timeout = 0 } = options;
  checkTimeout(timeout);
  const roots = rootsOf(options);
  try {
    const attempt = new Attempt(spec, roots);
    const first = attempt.run();
    if (!(first instanceof VfioError)) return first;
    if (timeout === 0) throw first;
    return openLaterSync(attempt, first, timeout);
  } catch (error) {
    throw explainSync(error, () => subjectOf(spec, roots));
  }
}

async function openLater(
  attempt: Attempt,
  first: VfioError,
  timeout: number,
  signal: AbortSignal | undefined,
): Promise<CdevNode> {
  const deadline = performance.now() + timeout;
  const watch = openWatch(first);
  let node: CdevNode | undefined;
  try {
    for (let reason = first; ;) {
      const result = attempt.watched(watch, reason);
      if (!(result instanceof VfioError)) {
        node = result;
        break;
      }
      reason = result;
      await watch.change(remaining(deadline, reason), signal);
      signal?.throwIfAborted();
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

function openLaterSync(attempt: Attempt, first: VfioError, timeout: number): CdevNode {
  const deadline = performance.now() + timeout;
  const watch = openWatch(first);
  let node: CdevNode | undefined;
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
class Attempt {
  readonly #spec: DeviceSpec;
  readonly #roots: Roots;

  constructor(spec: DeviceSpec, roots: Roots) {
    this.#spec = spec;
    this.#roots = roots;
  }

  /** The node, or why it is worth waiting for; throws what time does not mend. */
  run(): CdevNode | VfioError {
    try {
      return openNode(findCdev(this.#spec, this.#roots), this.#roots);
    } catch (error) {
      if (error instanceof VfioError && this.#isLate(error)) return error;
      throw error;
    }
  }

  /** As {@link run}, watching first the folders that the last reason came from: no change is lost. */
  watched(watch: FolderWatch, { path = '' }: VfioError): CdevNode | VfioError {
    watch.add(dirname(path));
    watch.add(`${this.#roots.devRoot}/char`);
    return this.run();
  }

  #isLate({ code, path }: VfioError): boolean {
    return late.has(code) && path?.startsWith(`${this.#roots.devRoot}/`) === true;
  }
}
