import { invalidType, requireBytes, requireObject } from '../core/arguments.ts';
import { binding } from '../core/binding.ts';
import { util } from '../core/builtins.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { makeUncloneable } from '../core/uncloneable.ts';
import type { RegionCapability, RegionInfo } from '../info/decode.ts';
import {
  checkAccess,
  checkHalves,
  checkLength,
  checkRange,
  checkValue,
  type Extent,
  type Width,
} from './checks.ts';
import { done, Mailbox } from './mailbox.ts';
import { mapRegion, type RegionMapOptions } from './map.ts';
import type { MappedRegion } from './mapped_region.ts';
import type { RegionOwner } from './owner.ts';
import { makeRegisters, type RegisterMap, type Registers } from './registers.ts';
import { placeOf, readBytes, type RegionPlace, wordError, writeBytesSync } from './transfer.ts';

/**
 * A region of a device, read and written through the kernel (pread and pwrite on the device's
 * descriptor). Slower than a mapping, and it reaches every region: I/O ports, the configuration
 * space, the ROM.
 *
 * Regions are little-endian. The kernel makes of a transfer naturally aligned accesses of 8, 4, 2
 * and 1 bytes, so an access by {@link read32} reaches the device as one of that width; one of 8
 * bytes may be two of 4, on kernels before 6.14 and in I/O ports and ROMs. Each call is made here
 * and now and keeps the event loop: a long transfer does so for as long as the device takes.
 *
 * What the kernel shows is not always the bare device: it filters the configuration space, and
 * hides the MSI-X table, which reads as ones and swallows what is written. All ones are also what a
 * device answers that is gone.
 */
export class Region {
  readonly #place: RegionPlace;
  readonly #info: RegionInfo;
  readonly #extent: Extent;
  readonly #box = new Mailbox(binding().mailbox());

  static {
    defineInspect(this, 'Region', (region) => {
      const { location, fd } = region.#place.owner;
      const { name, size, flags } = region.#info;
      const state = fd.closed ? 'closed' : 'open';
      return { address: location.device.address, name, size, flags, state };
    });
  }

  private constructor(owner: RegionOwner, info: RegionInfo) {
    makeUncloneable(this);
    this.#place = placeOf(owner, info);
    this.#info = info;
    this.#extent = { size: info.size, start: 0 };
  }

  /** @internal */
  static of(owner: RegionOwner, info: RegionInfo): Region {
    return new Region(owner, info);
  }

  /** Whose and which it is; undefined for what is no Region. @internal */
  static identify(value: unknown): { owner: RegionOwner; info: RegionInfo } | undefined {
    if (typeof value !== 'object' || value === null || !(#place in value)) return undefined;
    return { owner: value.#place.owner, info: value.#info };
  }

  /** In `device.info.regions`. */
  get index(): number {
    return this.#info.index;
  }

  /** `bar0` … `bar5`, `rom`, `config`, `vga` on PCI; `region<index>` otherwise. */
  get name(): string {
    return this.#info.name;
  }

  /** Bytes. */
  get size(): number {
    return this.#info.size;
  }

  /** `read`, `write`, `mmap`, `caps`. */
  get flags(): readonly string[] {
    return this.#info.flags;
  }

  /** What `device.info.regions` has of it. */
  get capabilities(): readonly RegionCapability[] {
    return this.#info.capabilities;
  }

  /**
   * Reads bytes.
   *
   * @param offset - from the region's start, in bytes
   * @param target - how many, or the array to fill
   * @returns the array: a new one, or the one given
   * @throws TypeError, RangeError for what does not lie in the region
   * @throws VfioError `EIO` (memory decoding is off, or the device is in a low-power state),
   *   `EFAULT`, `EINVAL` and others of the kernel; `ERR_VFIO_SHORT_TRANSFER`; `ERR_VFIO_CLOSED`
   */
  read(offset: number, target: number | Uint8Array): Uint8Array {
    if (util.types.isUint8Array(target)) {
      this.#checkBytes('target.length', offset, target.length);
      return readBytes(this.#place, offset, target);
    }
    if (typeof target !== 'number') {
      throw invalidType('target', 'a number of bytes or a Uint8Array', target);
    }
    this.#checkBytes('target', offset, target);
    return readBytes(this.#place, offset, new Uint8Array(target));
  }

  /**
   * Writes bytes.
   *
   * @param offset - from the region's start, in bytes
   * @throws as {@link read}
   */
  write(offset: number, bytes: Uint8Array): void {
    requireBytes('bytes', bytes);
    this.#checkBytes('bytes.length', offset, bytes.length);
    writeBytesSync(this.#place, offset, bytes);
  }

  /**
   * Reads one byte. This and the other accesses of one register take offsets that are multiples of
   * their width.
   *
   * @param offset - from the region's start, in bytes
   * @throws as {@link read}
   */
  read8(offset: number): number {
    checkAccess(offset, 1, this.#extent);
    this.#aim(offset);
    binding().pread8();
    this.#check('pread', offset, 1);
    return this.#box.value;
  }

  /** Reads two bytes, like {@link read8}. */
  read16(offset: number): number {
    checkAccess(offset, 2, this.#extent);
    this.#aim(offset);
    binding().pread16();
    this.#check('pread', offset, 2);
    return this.#box.value;
  }

  /** Reads four bytes, like {@link read8}. */
  read32(offset: number): number {
    checkAccess(offset, 4, this.#extent);
    this.#aim(offset);
    binding().pread32();
    this.#check('pread', offset, 4);
    return this.#box.value;
  }

  /** Reads eight bytes, like {@link read8}. */
  read64(offset: number): bigint {
    checkAccess(offset, 8, this.#extent);
    this.#aim(offset);
    binding().pread64();
    this.#check('pread', offset, 8);
    return this.#box.value64;
  }

  /**
   * Reads eight bytes, like {@link read8}, in two accesses of four, the low half first. A multiple
   * of 4 is enough.
   */
  read64LoHi(offset: number): bigint {
    checkHalves(offset, this.#extent);
    const low = this.read32(offset);
    return (BigInt(this.read32(offset + 4)) << 32n) | BigInt(low);
  }

  /**
   * Writes one byte. This and the others take what fits their width, without a sign
   * (`value >>> 0`).
   *
   * @param offset - from the region's start, in bytes
   * @param value - what is written
   * @throws TypeError, RangeError also for a value that does not fit; otherwise as {@link read}
   */
  write8(offset: number, value: number): void {
    checkAccess(offset, 1, this.#extent);
    checkValue(value, 1);
    this.#aim(offset);
    this.#box.value = value;
    binding().pwrite8();
    this.#check('pwrite', offset, 1);
  }

  /** Writes two bytes, like {@link write8}. */
  write16(offset: number, value: number): void {
    checkAccess(offset, 2, this.#extent);
    checkValue(value, 2);
    this.#aim(offset);
    this.#box.value = value;
    binding().pwrite16();
    this.#check('pwrite', offset, 2);
  }

  /** Writes four bytes, like {@link write8}. */
  write32(offset: number, value: number): void {
    checkAccess(offset, 4, this.#extent);
    checkValue(value, 4);
    this.#aim(offset);
    this.#box.value = value;
    binding().pwrite32();
    this.#check('pwrite', offset, 4);
  }

  /** Writes eight bytes, like {@link write8}. */
  write64(offset: number, value: bigint): void {
    checkAccess(offset, 8, this.#extent);
    checkValue(value, 8);
    this.#aim(offset);
    this.#box.value64 = value;
    binding().pwrite64();
    this.#check('pwrite', offset, 8);
  }

  /**
   * Writes eight bytes, like {@link write8}, in two accesses of four, the low half first. A multiple
   * of 4 is enough.
   */
  write64LoHi(offset: number, value: bigint): void {
    checkHalves(offset, this.#extent);
    checkValue(value, 8);
    this.write32(offset, Number(BigInt.asUintN(32, value)));
    this.write32(offset + 4, Number(value >> 32n));
  }

  /** Gives registers their names, as {@link MappedRegion.registers} does. */
  registers<const Given extends RegisterMap>(map: Given): Registers<Given> {
    return makeRegisters(this, map, 0);
  }

  /**
   * Maps a part of the region, all of it by default. Only what the kernel lets be mapped: where it
   * lists areas ({@link capabilities}), a part of one of them; the pages of the MSI-X table only
   * where it says so. Does not block.
   *
   * @throws TypeError, RangeError for what does not lie in the region
   * @throws VfioError `ERR_VFIO_NOT_MAPPABLE` with the reason; `EINVAL`, `ENOMEM`, `EBUSY` and
   *   others of mmap; `EIO` where the device does not answer; `ERR_VFIO_CLOSED`
   */
  map(options: RegionMapOptions = {}): MappedRegion {
    requireObject('options', options);
    return mapRegion(this.#place, this.#info, options);
  }

  #checkBytes(name: string, offset: unknown, length: number): void {
    checkLength(name, length, 0, this.#info.size);
    checkRange(offset, length, this.#info.size);
  }

  #aim(offset: number): void {
    const { owner, high, low } = this.#place;
    this.#box.aimAt(owner.fd.native, high, low, offset);
  }

  #check(syscall: string, offset: number, width: Width): void {
    const { status } = this.#box;
    if (status !== done) throw wordError(this.#place, syscall, offset, width, status);
  }
}
