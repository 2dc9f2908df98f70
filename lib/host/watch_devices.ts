import { requirePlatform } from '../addon.ts';
import { checkInteger, checkSignal, requireObject } from '../core/arguments.ts';
import { callerPlace } from '../core/caller.ts';
import type { Roots } from '../core/location.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { throwIfAborted, untilAborted } from '../core/readiness.ts';
import { closeAndThrow, Mutex } from '../core/steps.ts';
import { listDevices, type ListedDevice } from '../locate/list.ts';
import { type RootOptions, rootsOf } from '../locate/roots.ts';
import { readLinkName } from '../locate/sysfs.ts';
import { nodeIn, placeOf, type Uevent, type UeventAction } from './uevent.ts';
import { UeventSocket } from './uevent_socket.ts';

/** What the kernel tells of a device, a driver or a node of VFIO's (a uevent). */
export interface DeviceChange {
  /** The kernel's word: `add`, `remove`, `bind` and `unbind` of a driver, `change`, `move`, … */
  action: UeventAction;
  /**
   * What it is of: a device (the name of its bus: `pci`, `mdev`, `platform`, …), a driver
   * (`drivers`), a device's cdev (`vfio-dev`) or the node of a legacy group (`vfio`).
   */
  subsystem: string;
  /**
   * The bus of the device or driver; null of a group's node, and of the cdev of a device that has
   * gone from a bus that its address does not tell.
   */
  bus: string | null;
  /** The device's; null of a driver and of a group's node. */
  address: string | null;
  /** Where the kernel names it: not of `unbind` and `remove`. */
  driver: string | null;
  /** The node that came or went; null of what has none. udev may not have given it its mode yet. */
  node: ChangedNode | null;
  /** The object in sysfs, below where that is mounted: `/devices/pci0000:00/0000:00:02.0`. */
  devpath: string;
  /** Counts all uevents of this kernel. */
  seqnum: number;
  /** When it was received, in milliseconds since 1970; the kernel does not say when it was. */
  time: number;
}

/** A node in the folder of device nodes. */
export interface ChangedNode {
  /** `vfio0`, of a group `12`. */
  name: string;
  /** Where the node is, or was. */
  path: string;
  /** The node's major number. */
  major: number;
  /** The node's minor number. */
  minor: number;
}

/** The kernel had no room for some events: they are lost, and this is what there is now. */
export interface ChangesLost {
  /** What tells it from a {@link DeviceChange}. */
  action: 'lost';
  /** As `listDevices` answers them, read after the last event that was lost. */
  devices: ListedDevice[];
  /** When the loss was told, in milliseconds since 1970. */
  time: number;
}

/** What a {@link DeviceWatch} tells. */
export type DeviceEvent = DeviceChange | ChangesLost;

/** How to watch. */
export interface WatchDevicesOptions extends RootOptions {
  /** Aborting throws the signal's reason into the loop, and closes the watch. */
  signal?: AbortSignal | undefined;
  /**
   * How many bytes of events the kernel keeps until they are taken; 8 MiB, which is some thousands.
   * Without CAP_NET_ADMIN it keeps at most `net.core.rmem_max`.
   */
  receiveBuffer?: number | undefined;
}

/** Devices coming and going, for `for await`. */
export interface DeviceWatch extends AsyncIterableIterator<DeviceEvent> {
  /**
   * Waits for the next event.
   *
   * @throws the signal's reason
   * @throws VfioError what the kernel answers; the watch is closed then
   */
  next(): Promise<IteratorResult<DeviceEvent, undefined>>;
  /** What a `break` calls: {@link close}. */
  return(): Promise<IteratorResult<DeviceEvent, undefined>>;
  /**
   * Ends the loop, and closes the socket. Closing twice is harmless.
   *
   * @throws VfioError what the kernel answers; the socket is closed all the same
   */
  close(): Promise<void>;
  /** At the end of a block with `await using`: {@link close}. */
  [Symbol.asyncDispose](): Promise<void>;
  /** The watch itself: it can be gone through once. */
  [Symbol.asyncIterator](): DeviceWatch;
}

const defaultReceiveBuffer = 8 * 1024 * 1024;

/**
 * Watches devices, their drivers and VFIO's nodes come and go. The kernel tells (uevents, by a
 * netlink socket that the event loop polls); nothing is asked again and again. It covers the buses
 * with VFIO drivers: pci, mdev, platform, amba, fsl-mc, cdx, ap and css.
 *
 * It begins with this call, so that a list that is made after it misses nothing:
 *
 * ```ts
 * await using watch = watchDevices({ signal });
 * const devices = await listDevices(); // what an event tells may be in here already
 * for await (const event of watch) if (event.action === 'lost') use(event.devices);
 * ```
 *
 * Events that nobody takes stay with the kernel. Where that has no room for more, some are lost:
 * then `lost` comes, after those that were kept, with the devices that there are.
 *
 * Watching takes no right. The kernel sends these events to network namespaces that belong to the
 * initial user namespace (Linux 4.18): to those of ordinary containers, and not to those of
 * rootless ones, where nothing comes.
 *
 * A `break` ends it, and so do the signal and `close()`. Waiting keeps the event loop alive.
 *
 * @param options - the signal, and where sysfs and the device nodes are, if elsewhere
 * @throws TypeError, RangeError
 * @throws VfioError `EAFNOSUPPORT` where this process may make no netlink socket; `EMFILE` and
 *   others of the kernel; `ERR_VFIO_UNSUPPORTED_PLATFORM`
 * @throws the reason of a signal that was aborted before
 */
export function watchDevices(options: WatchDevicesOptions = {}): DeviceWatch {
  const place = callerPlace();
  requireObject('options', options);
  const { signal, receiveBuffer = defaultReceiveBuffer } = options;
  checkSignal(signal);
  checkInteger('receiveBuffer', receiveBuffer, 1, 2 ** 30);
  const roots = rootsOf(options);
  requirePlatform();
  throwIfAborted(signal);
  return new Watch(UeventSocket.open(receiveBuffer, place), roots, signal);
}

class Watch implements DeviceWatch {
  readonly #socket: UeventSocket;
  readonly #roots: Roots;
  readonly #signal: AbortSignal | undefined;
  readonly #turns = new Mutex();
  /** Some were lost, and this was not told yet. */
  #lost = false;

  static {
    defineInspect(this, 'DeviceWatch', (watch) => ({
      state: watch.#socket.closed ? 'closed' : 'open',
    }));
  }

  constructor(socket: UeventSocket, roots: Roots, signal: AbortSignal | undefined) {
    this.#socket = socket;
    this.#roots = roots;
    this.#signal = signal;
  }

  next(): Promise<IteratorResult<DeviceEvent, undefined>> {
    return this.#turns.run(() => this.#next());
  }

  async return(): Promise<IteratorResult<DeviceEvent, undefined>> {
    await this.close();
    return { value: undefined, done: true };
  }

  close(): Promise<void> {
    return this.#socket.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async #next(): Promise<IteratorResult<DeviceEvent, undefined>> {
    if (this.#isClosed()) return { value: undefined, done: true };
    try {
      throwIfAborted(this.#signal);
      return { value: await this.#event(), done: false };
    } catch (error) {
      // Closed from here while it waited: that is an end, and no failure.
      if (this.#isClosed()) return { value: undefined, done: true };
      return await closeAndThrow(error, () => this.close());
    }
  }

  #isClosed(): boolean {
    return this.#socket.closed;
  }

  async #event(): Promise<DeviceEvent> {
    for (;;) {
      const received = this.#socket.receive();
      if (received === 'lost') {
        this.#lost = true;
      } else if (received !== 'none') {
        const change = changeOf(received, this.#roots);
        if (change) return change;
      } else if (this.#lost) {
        return await this.#tellLost();
      } else {
        await this.#socket.wait(this.#signal);
      }
    }
  }

  /**
   * What came before the loss was told, so nothing is queued: only then has the kernel begun again
   * to queue what comes, and what is read now holds all that was lost.
   */
  async #tellLost(): Promise<ChangesLost> {
    const time = Date.now();
    const devices = await untilAborted(listDevices(this.#roots), this.#signal);
    this.#lost = false;
    return { action: 'lost', devices, time };
  }
}

function changeOf(event: Uevent, { sysfsRoot, devRoot }: Roots): DeviceChange | undefined {
  const place = placeOf(event);
  if (place === undefined) return undefined;
  const { action, subsystem, devpath, seqnum } = event;
  const { address, driver } = place;
  const bus = place.bus ?? (address === undefined ? undefined : busAbove(devpath, sysfsRoot));
  return {
    ...{ action, subsystem, bus: bus ?? null, address: address ?? null, driver: driver ?? null },
    node: nodeOf(event, devRoot),
    ...{ devpath, seqnum, time: Date.now() },
  };
}

/** The bus of the device that has a cdev, `…/vfio-dev/vfio0`, as long as it is there. */
function busAbove(devpath: string, sysfsRoot: string): string | undefined {
  const device = devpath.split('/').slice(0, -2).join('/');
  return readLinkName(`${sysfsRoot}${device}/subsystem`);
}

function nodeOf(event: Uevent, devRoot: string): ChangedNode | null {
  const node = nodeIn(event);
  if (node === undefined) return null;
  const { major, minor } = node;
  const name = node.name.slice(node.name.lastIndexOf('/') + 1);
  return { name, path: `${devRoot}/${node.name}`, major, minor };
}
