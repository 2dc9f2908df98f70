import { EIO } from '../core/errno.ts';
import type { FakeBar } from './bar.ts';
import { DmaFault } from './dma.ts';
import type { FakeDevice } from './fake_device.ts';
import type { Machine } from './machine.ts';
import type { OpenFile } from './open_files.ts';
import { loadAny, storeAny } from './region_access.ts';

/** What the addon's mailbox says of an access; else -errno. */
const done = 0;
const refused = 1;

/** A BAR that a program has mapped, or a part of it. */
export interface FakeMapping {
  device: FakeDevice;
  bar: FakeBar;
  /** Where in the BAR it starts. */
  offset: number;
  size: number;
  /** What of it is not written to. */
  readOnly: { start: number; end: number };
  file: OpenFile;
}

/** Accesses of mapped memory: by the device's hooks, or its memory where it has none. */
export class MappedAccess {
  readonly #machine: Machine;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /** Reads; answers the value, or the status of what was refused. */
  load(mapping: FakeMapping, offset: number, width: number): bigint | number {
    const status = this.#status('load', mapping, offset, width);
    if (status !== done) return status;
    return withFaults(ones, () => loadAny(mapping.bar, mapping.offset + offset, width));
  }

  /** Writes; answers the status. */
  store(mapping: FakeMapping, offset: number, width: number, value: bigint): number {
    const { start, end } = mapping.readOnly;
    if (offset < end && offset + width > start) return refused;
    const status = this.#status('store', mapping, offset, width);
    if (status !== done) return status;
    withFaults(undefined, () => {
      storeAny(mapping.bar, mapping.offset + offset, width, value);
    });
    return done;
  }

  #status(call: 'load' | 'store', mapping: FakeMapping, offset: number, width: number): number {
    if (!Number.isSafeInteger(offset) || offset < 0) return refused;
    if (offset + width > mapping.size || (mapping.offset + offset) % width !== 0) return refused;
    const { address } = mapping.device;
    const injected = this.#machine.injections.take(call, address)?.answer;
    if (injected !== undefined) return injected;
    return mapping.device.answersMemory ? done : EIO;
  }
}

const ones = 2n ** 64n - 1n;

/** A transfer that the IOMMU refused is nothing that a program's access would tell. */
export function withFaults<T>(instead: T, access: () => T): T {
  try {
    return access();
  } catch (error) {
    if (error instanceof DmaFault) return instead;
    throw error;
  }
}
