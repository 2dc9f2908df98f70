import type { Binding, NativeFd } from '../core/binding.ts';
import { allocate, failed, fileOf } from './bar.ts';
import type { FakeDevice } from './fake_device.ts';
import type { FakeIommufd } from './iommufd.ts';

/** What a program has open: a device's cdev, or the node of iommufds. */
export type OpenKind =
  | { kind: 'device'; device: FakeDevice; iommufd: OpenFile | undefined }
  | { kind: 'iommufd'; iommufd: FakeIommufd };

/** An open file of the fake kernel: descriptors, mappings and other files keep it. */
export class OpenFile {
  readonly what: OpenKind;
  /** How many keep it. */
  users = 0;

  constructor(what: OpenKind) {
    this.what = what;
  }
}

/**
 * The open files, by the handles of their descriptors. Each descriptor is a real one, of an empty
 * file of its own, so that all that is done with descriptors can be done with it; by that file's
 * inode a duplicate is known again.
 */
export class OpenFiles {
  readonly #native: Binding;
  readonly #byHandle = new Map<number, OpenFile>();
  readonly #byInode = new Map<bigint, OpenFile>();
  readonly #onLast: (file: OpenFile) => void;

  constructor(native: Binding, onLast: (file: OpenFile) => void) {
    this.#native = native;
    this.#onLast = onLast;
  }

  /** What a handle stands for; undefined where the real kernel knows it. */
  get(handle: unknown): OpenFile | undefined {
    return this.#byHandle.get(handle as number);
  }

  /** Makes a descriptor; answers its handle. */
  open(what: OpenKind): NativeFd {
    const memory = allocate(this.#native, this.#native.pageSize());
    const handle = fileOf(this.#native, memory);
    this.#native.memoryRelease(memory);
    const file = new OpenFile(what);
    this.#byInode.set(this.#inodeOf(handle), file);
    this.#add(handle, file);
    return handle;
  }

  /** A handle that the addon made: perhaps of a file of ours. */
  adopt(handle: NativeFd): void {
    const file = this.#byInode.get(this.#inodeOf(handle));
    if (file) this.#add(handle, file);
  }

  /** Forgets a descriptor that is to be closed. */
  forget(handle: number): void {
    const file = this.#byHandle.get(handle);
    if (file === undefined) return;
    this.#byHandle.delete(handle);
    this.release(file);
  }

  keep(file: OpenFile): void {
    file.users++;
  }

  release(file: OpenFile): void {
    if (--file.users > 0) return;
    for (const [inode, each] of this.#byInode) if (each === file) this.#byInode.delete(inode);
    this.#onLast(file);
  }

  /** Whether nothing is open, or mapped. */
  get areAllClosed(): boolean {
    return this.#byInode.size === 0;
  }

  /** What each descriptor of this process stands for, by its number. */
  byNumber(): [number: number, what: OpenKind][] {
    return [...this.#byHandle].flatMap(([handle, { what }]): [number, OpenKind][] => {
      const number = this.#native.fdNumber(handle as NativeFd);
      return number === undefined || number < 0 ? [] : [[number, what]];
    });
  }

  #add(handle: NativeFd, file: OpenFile): void {
    this.#byHandle.set(handle, file);
    file.users++;
  }

  #inodeOf(handle: NativeFd): bigint {
    const number = this.#native.fdNumber(handle);
    if (number === undefined || number < 0) throw failed('fdNumber', number);
    return process.getBuiltinModule('node:fs').fstatSync(number, { bigint: true }).ino;
  }
}
