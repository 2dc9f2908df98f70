import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import {
  closeDevices,
  type DeviceAddress,
  type DeviceSpec,
  type OpenDeviceOptions,
  openDevices,
  type OpenStep,
  VfioDevice,
  VfioError,
} from '../../index.ts';

/** The ways that a kernel may have to a device behind an IOMMU. */
export const backends = ['cdev', 'group', 'compat'] as const;

export type Backend = (typeof backends)[number] | 'noiommu';

/** What each is made of. */
export const backendText: Readonly<Record<Backend, string>> = {
  cdev: 'device cdev, iommufd',
  group: 'group, type1 container',
  compat: 'group, iommufd as its container',
  noiommu: 'group, container without an IOMMU',
};

export const forms = ['sync', 'async'] as const;

export type Form = (typeof forms)[number];

/** Opens and closes a device once. */
export async function openAndClose(
  backend: Backend,
  form: Form,
  device: DeviceAddress,
  watches: Watches,
): Promise<Round> {
  const watch = watches.start(device.address);
  if (form === 'sync') roundSync(backend, device, watch);
  else await roundAsync(backend, device, watch);
  return watch.round;
}

/** Nothing else of the program's own: who wants the device back waits until it is closed anyway. */
function openOptions(backend: Backend): OpenDeviceOptions {
  return { backend, requestEvents: false };
}

function roundSync(backend: Backend, spec: DeviceAddress, watch: Stopwatch): void {
  const device = VfioDevice.openSync(spec, openOptions(backend));
  watch.lap('info');
  if (attaches(backend)) {
    device.attachSync(device.createIoas());
    watch.lap('attach');
  }
  device.closeSync();
  watch.lap('close');
}

async function roundAsync(backend: Backend, spec: DeviceAddress, watch: Stopwatch): Promise<void> {
  const device = await VfioDevice.open(spec, openOptions(backend));
  watch.lap('info');
  if (attaches(backend)) {
    await device.attach(device.createIoas());
    watch.lap('attach');
  }
  await device.close();
  watch.lap('close');
}

/** A group is attached to its container by opening the device. */
function attaches(backend: Backend): boolean {
  return backend === 'cdev';
}

/** A backend that does not open the device, and why. */
export interface Missing {
  backend: Backend;
  why: string;
}

/** Tries each backend on the devices. Throws where none opens them, for the reason of the first. */
export async function probe(
  wanted: readonly Backend[],
  devices: readonly DeviceAddress[],
): Promise<{ found: Backend[]; missing: Missing[] }> {
  const found: Backend[] = [];
  const missing: Missing[] = [];
  let first: VfioError | undefined;
  for (const backend of wanted) {
    try {
      for (const spec of devices) {
        const device = await VfioDevice.open(spec, openOptions(backend));
        await device.close();
      }
      found.push(backend);
    } catch (error) {
      if (!(error instanceof VfioError)) throw error;
      first ??= error;
      missing.push({ backend, why: error.message });
    }
  }
  if (found.length === 0 && first) throw first;
  return { found, missing };
}

/** Nanoseconds until the last device was open, and until the last was closed. */
export interface Fleet {
  open: number;
  close: number;
}

/** Opens all devices, so many at once, then closes them likewise. */
export async function openAndCloseAll(
  backend: Backend,
  devices: readonly DeviceSpec[],
  concurrency: number,
): Promise<Fleet> {
  const start = process.hrtime.bigint();
  const opened = await openDevices(devices, { ...openOptions(backend), concurrency });
  const middle = process.hrtime.bigint();
  for (let at = 0; at < opened.length; at += concurrency) {
    await closeDevices(opened.slice(at, at + concurrency));
  }
  const end = process.hrtime.bigint();
  return { open: Number(middle - start), close: Number(end - middle) };
}

/** The steps from an address to closed descriptors. */
export const steps = ['lookup', 'open', 'bind', 'info', 'attach', 'close'] as const;

export type Step = (typeof steps)[number];

/** Nanoseconds of each step that a path has. */
export type Round = Partial<Record<Step, number>>;

/** Measures a round. */
export class Stopwatch {
  readonly round: Round = {};
  #last = process.hrtime.bigint();

  /** What passed since the last lap belongs to `step`, and is added to what it has. */
  lap(step: Step): void {
    const now = process.hrtime.bigint();
    this.round[step] = (this.round[step] ?? 0) + Number(now - this.#last);
    this.#last = process.hrtime.bigint();
  }
}

/** The stopwatches of the devices that are being opened, by address. */
export class Watches {
  readonly #watches = new Map<string | undefined, Stopwatch>();
  readonly #hear = (message: unknown): void => {
    const { step, device } = message as OpenStep;
    this.#watches.get(device)?.lap(step);
  };

  /** Listens to the library's own word of each step, until it is disposed of. */
  constructor() {
    subscribe('vfio:open', this.#hear);
  }

  start(address: string): Stopwatch {
    const watch = new Stopwatch();
    this.#watches.set(address, watch);
    return watch;
  }

  [Symbol.dispose](): void {
    unsubscribe('vfio:open', this.#hear);
  }
}
