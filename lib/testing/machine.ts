import type { Binding } from '../core/binding.ts';
import type { FakeDevice } from './fake_device.ts';
import { type FakeCall, Injections } from './injections.ts';
import { FakeIommufd } from './iommufd.ts';
import type { IommuLimits } from './io_space.ts';
import { type OpenFile, OpenFiles } from './open_files.ts';

/** What the calls of the fake kernel share. */
export class Machine {
  /** The addon. */
  readonly native: Binding;
  readonly files: OpenFiles;
  readonly injections: Injections = new Injections();
  readonly devices: Map<string, FakeDevice> = new Map<string, FakeDevice>();
  readonly limits: IommuLimits;
  /** The node that is behind a path. */
  readonly nodeAt: (path: string) => 'iommu' | FakeDevice | undefined;
  /** Nothing of it is open any more. */
  onAllClosed: () => void = () => undefined;

  constructor(native: Binding, limits: IommuLimits, nodeAt: Machine['nodeAt']) {
    this.native = native;
    this.limits = limits;
    this.nodeAt = nodeAt;
    this.files = new OpenFiles(native, (file) => {
      try {
        this.#closed(file);
      } finally {
        if (this.files.areAllClosed) this.onAllClosed();
      }
    });
  }

  /** The device of a handle that is bound; undefined where it is none, or not bound yet. */
  bound(handle: unknown): FakeDevice | undefined {
    const what = this.files.get(handle)?.what;
    return what?.kind === 'device' && what.iommufd !== undefined ? what.device : undefined;
  }

  iommufd(handle: unknown): FakeIommufd | undefined {
    const what = this.files.get(handle)?.what;
    return what?.kind === 'iommufd' ? what.iommufd : undefined;
  }

  newIommufd(): FakeIommufd {
    return new FakeIommufd(this.limits);
  }

  /** What is injected into a call, now. */
  injected(call: FakeCall, handle: unknown): ReturnType<Injections['take']> {
    const what = this.files.get(handle)?.what;
    return this.injections.take(call, what?.kind === 'device' ? what.device.address : undefined);
  }

  /** A bound device is reset, and free again. */
  #closed({ what }: OpenFile): void {
    if (what.kind !== 'device' || what.iommufd === undefined) return;
    const { device, iommufd } = what;
    device.irqs.clear();
    if (iommufd.what.kind === 'iommufd') iommufd.what.iommufd.unbind(device);
    device.devId = 0;
    device.config.command &= ~4;
    device.onConfig();
    this.files.release(iommufd);
    // The model is told last, for what it throws is the program's to hear.
    try {
      device.doReset('close');
    } finally {
      device.released();
    }
  }
}
