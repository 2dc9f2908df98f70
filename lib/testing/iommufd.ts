import { EBUSY, EINVAL, ENOENT, EOPNOTSUPP } from '../core/errno.ts';
import type { FakeDevice } from './fake_device.ts';
import { type IommuLimits, IoSpace } from './io_space.ts';

/** A page table: of a program's own, or what the kernel makes for an address space. */
interface PageTable {
  space: IoSpace;
  /** Whether the kernel made it, and destroys it when nothing is attached any more. */
  automatic: boolean;
  users: number;
  canTrack: boolean;
  /** IOVAs of pages that devices wrote; undefined where nobody asked for them. */
  dirty: Set<bigint> | undefined;
}

type Entry = { space: IoSpace } | { table: PageTable } | { device: FakeDevice };

const dirtyTracking = 2;
const page = 4096n;

/** The objects of an iommufd, by their ids. */
export class FakeIommufd {
  readonly #limits: IommuLimits;
  readonly #objects = new Map<number, Entry>();
  readonly #attached = new Map<FakeDevice, number>();
  #nextId = 1;
  /** IOMMU_OPTION_RLIMIT_MODE */
  rlimitMode = 0n;

  constructor(limits: IommuLimits) {
    this.#limits = limits;
  }

  /** Answers the id. */
  allocSpace(): number {
    const id = this.#nextId++;
    this.#objects.set(id, { space: new IoSpace(id, this.#limits) });
    return id;
  }

  space(id: number): IoSpace | undefined {
    const entry = this.#objects.get(id);
    return entry && 'space' in entry ? entry.space : undefined;
  }

  /** Answers the device's id. */
  bind(device: FakeDevice): number {
    const id = this.#nextId++;
    this.#objects.set(id, { device });
    return id;
  }

  unbind(device: FakeDevice): void {
    this.detach(device);
    this.#objects.delete(device.devId);
  }

  /** Whether it has this device. */
  has(device: FakeDevice): boolean {
    const entry = this.#objects.get(device.devId);
    return entry !== undefined && 'device' in entry && entry.device === device;
  }

  hasDevice(id: number): boolean {
    const entry = this.#objects.get(id);
    return entry !== undefined && 'device' in entry;
  }

  get isEmpty(): boolean {
    return this.#objects.size === 0;
  }

  /** Answers the page table's id, or -errno. */
  attach(device: FakeDevice, id: number): number {
    const entry = this.#objects.get(id);
    if (entry === undefined) return ENOENT;
    if ('device' in entry) return EINVAL;
    const space = 'space' in entry ? entry.space : entry.table.space;
    const problem = space.attachProblem();
    if (problem !== 0) return problem;
    const own = 'table' in entry ? id : this.#automaticTable(space);
    // The new one is there before the old one goes, which may be the same.
    this.#use(own, 1);
    this.detach(device);
    this.#attached.set(device, own);
    device.space = space;
    device.dirty = (iova, length) => {
      this.#noteWrite(own, iova, length);
    };
    return own;
  }

  detach(device: FakeDevice): void {
    const id = this.#attached.get(device);
    if (id === undefined) return;
    this.#attached.delete(device);
    device.space = device.dirty = undefined;
    this.#use(id, -1);
  }

  destroy(id: number): number {
    const entry = this.#objects.get(id);
    if (entry === undefined) return ENOENT;
    if ('device' in entry) return EBUSY;
    const answer = 'space' in entry ? entry.space.destroyAnswer : entry.table.users > 0 ? EBUSY : 0;
    if (answer !== 0) return answer;
    if ('table' in entry) entry.table.space.tables--;
    this.#objects.delete(id);
    return 0;
  }

  /** Answers the id, or -errno. */
  allocTable(deviceId: number, spaceId: number, flags: number): number {
    const device = this.#objects.get(deviceId);
    const space = this.space(spaceId);
    if (device === undefined || !('device' in device) || space === undefined) return ENOENT;
    const tracks = (flags & dirtyTracking) !== 0;
    if ((flags & ~dirtyTracking) !== 0 || (tracks && !this.#limits.canTrack)) return EOPNOTSUPP;
    return this.#addTable(space, false, tracks);
  }

  trackDirty(id: number, on: boolean): number {
    const table = this.#table(id);
    if (table === undefined) return ENOENT;
    if (!table.canTrack) return EOPNOTSUPP;
    table.dirty = on ? new Set() : undefined;
    return 0;
  }

  /** The bitmap, or -errno. */
  dirtyBitmap(
    id: number,
    range: { iova: bigint; length: bigint; pageSize: bigint; words: number },
    clear: boolean,
  ): BigUint64Array | number {
    const table = this.#table(id);
    if (table === undefined) return ENOENT;
    if (table.dirty === undefined) return EOPNOTSUPP;
    const bits = new BigUint64Array(range.words);
    for (const at of table.dirty) {
      if (at < range.iova || at >= range.iova + range.length) continue;
      const index = (at - range.iova) / range.pageSize;
      const word = Number(index >> 6n);
      bits[word] = (bits[word] ?? 0n) | (1n << (index & 63n));
      if (clear) table.dirty.delete(at);
    }
    return bits;
  }

  #table(id: number): PageTable | undefined {
    const entry = this.#objects.get(id);
    return entry && 'table' in entry ? entry.table : undefined;
  }

  #automaticTable(space: IoSpace): number {
    for (const [id, entry] of this.#objects) {
      if ('table' in entry && entry.table.automatic && entry.table.space === space) return id;
    }
    return this.#addTable(space, true, false);
  }

  #addTable(space: IoSpace, automatic: boolean, canTrack: boolean): number {
    const id = this.#nextId++;
    const table = { space, automatic, users: 0, canTrack, dirty: undefined };
    this.#objects.set(id, { table });
    space.tables++;
    return id;
  }

  #use(id: number, by: 1 | -1): void {
    const table = this.#table(id);
    if (table === undefined) return;
    table.users += by;
    table.space.users += by;
    if (table.users > 0 || !table.automatic) return;
    table.space.tables--;
    this.#objects.delete(id);
  }

  #noteWrite(id: number, iova: bigint, length: bigint): void {
    const dirty = this.#table(id)?.dirty;
    if (dirty === undefined) return;
    for (let at = iova - (iova % page); at < iova + length; at += page) dirty.add(at);
  }
}
