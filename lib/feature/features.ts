import {
  checkInteger,
  invalidType,
  invalidValue,
  outOfRange,
  parseUuid,
  requireBytes,
} from '../core/arguments.ts';
import { ENOMSG } from '../core/errno.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import type { DeviceNode } from '../core/owned_fd.ts';
import { call, run, runSync, type Steps } from '../core/steps.ts';
import { littleEndian } from '../core/structs.ts';
import { makeUncloneable } from '../core/uncloneable.ts';
import type { PeerMaps } from '../region/owner.ts';
import {
  feature,
  FeatureCalls,
  type FeatureName,
  featureNames,
  noData,
  operation,
} from './call.ts';
import { Display } from './display.ts';
import { DmaLogging } from './dma_logging.ts';
import { Dmabuf } from './dmabuf.ts';
import { LowPower } from './low_power.ts';
import { Migration } from './migration.ts';

/** What can be done with a feature. */
export type FeatureOperation = 'get' | 'set';

/** A feature that a device has. */
export interface FeatureInfo extends FeatureName {
  /** What can be done with it. */
  operations: FeatureOperation[];
}

/** Their data are pointers or descriptors, which bytes cannot hold; this class has them by name. */
const notBytes: readonly number[] = [
  feature.migrationState,
  feature.lowPowerEntryWithWakeup,
  feature.dmaLoggingStart,
  feature.dmaLoggingReport,
  feature.dmaBuf,
  feature.zpciError,
];

/**
 * A device's features (VFIO_DEVICE_FEATURE): any by its index and bytes, and the known ones by
 * name. What the kernel, or the device's driver, lacks is `ERR_VFIO_UNSUPPORTED`.
 */
export class Features {
  readonly #calls: FeatureCalls;
  /** Moving the device's state to another. */
  readonly migration: Migration;
  /** Which pages the device wrote to. */
  readonly dmaLogging: DmaLogging;
  /** Low power while nobody uses the device. */
  readonly lowPower: LowPower;
  /** What a display shows. */
  readonly display: Display;

  static {
    defineInspect(this, 'Features', (features) => features.#calls.shown);
  }

  private constructor(bound: Pick<DeviceNode, 'fd' | 'location'>, peers: PeerMaps) {
    makeUncloneable(this);
    this.#calls = new FeatureCalls(bound);
    this.migration = Migration.of(this.#calls);
    this.dmaLogging = DmaLogging.of(this.#calls);
    this.lowPower = LowPower.of(this.#calls, peers);
    this.display = Display.of(this.#calls);
  }

  /** @internal */
  static of(bound: Pick<DeviceNode, 'fd' | 'location'>, peers: PeerMaps): Features {
    return new Features(bound, peers);
  }

  /**
   * Whether the device has a feature, or an operation of it. Changes nothing.
   *
   * @param index - the feature's number
   * @param what - reading it or setting it; without it, either
   * @throws TypeError, RangeError; VfioError `ERR_VFIO_CLOSED`
   */
  async probe(index: number, what?: FeatureOperation): Promise<boolean> {
    return await run(this.#probe(index, what));
  }

  /** The blocking form of {@link probe}. */
  probeSync(index: number, what?: FeatureOperation): boolean {
    return runSync(this.#probe(index, what));
  }

  /**
   * Reads a feature's data, so many bytes, in the kernel's struct.
   *
   * @param index - the feature's number
   * @param length - bytes of the struct
   * @throws TypeError, RangeError also for features whose data are pointers or descriptors
   * @throws VfioError `ERR_VFIO_UNSUPPORTED`, `EINVAL`, `ERR_VFIO_CLOSED`
   */
  async get(index: number, length: number): Promise<Uint8Array> {
    return await run(
      this.#calls.bytesOf(plainFlags(index) | operation.get, room('length', length)),
    );
  }

  /** The blocking form of {@link get}. */
  getSync(index: number, length: number): Uint8Array {
    return runSync(this.#calls.bytesOf(plainFlags(index) | operation.get, room('length', length)));
  }

  /**
   * Writes a feature's data: bytes of the kernel's struct, or none. An index that this package does
   * not know goes to the kernel unchecked.
   *
   * @param index - the feature's number
   * @returns the bytes as the kernel left them
   * @throws as {@link get}
   */
  async set(index: number, bytes: Uint8Array): Promise<Uint8Array> {
    return await run(this.#calls.bytesOf(plainFlags(index) | operation.set, checkBytes(bytes)));
  }

  /** The blocking form of {@link set}. */
  setSync(index: number, bytes: Uint8Array): Uint8Array {
    return runSync(this.#calls.bytesOf(plainFlags(index) | operation.set, checkBytes(bytes)));
  }

  /**
   * The features that the device has, of those of Linux 7.3.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`, and others of the kernel
   */
  async list(): Promise<FeatureInfo[]> {
    return await run(this.#list());
  }

  /** The blocking form of {@link list}. */
  listSync(): FeatureInfo[] {
    return runSync(this.#list());
  }

  /**
   * Sets the secret with which this physical function's virtual functions are opened: `vfToken` of
   * `VfioDevice.open`. Only while none of them is open.
   *
   * @throws TypeError for what is no UUID; VfioError `ERR_VFIO_UNSUPPORTED` where the device is no
   *   physical function with virtual ones
   */
  async setVfToken(uuid: string): Promise<void> {
    await run(this.#calls.bytesOf(feature.vfToken | operation.set, parseUuid('uuid', uuid)));
  }

  /** The blocking form of {@link setVfToken}. */
  setVfTokenSync(uuid: string): void {
    runSync(this.#calls.bytesOf(feature.vfToken | operation.set, parseUuid('uuid', uuid)));
  }

  /**
   * Lets a CDX device do DMA, or not. A PCI device has a bit for that in its Command register.
   *
   * @param enabled - whether it may
   * @throws TypeError; VfioError `ERR_VFIO_UNSUPPORTED`, `ERR_VFIO_CLOSED`
   */
  async setBusMaster(enabled: boolean): Promise<void> {
    await run(this.#calls.bytesOf(feature.busMaster | operation.set, switchOf(enabled)));
  }

  /** The blocking form of {@link setBusMaster}. */
  setBusMasterSync(enabled: boolean): void {
    runSync(this.#calls.bytesOf(feature.busMaster | operation.set, switchOf(enabled)));
  }

  /**
   * Exports ranges of a region as a dma-buf, for other devices' DMA: {@link Ioas.mapRegion} does
   * that for devices of VFIO. A reset, low power, and memory decoding that goes off take it from
   * whoever has it.
   *
   * @param region - index of a BAR
   * @throws TypeError, RangeError
   * @throws VfioError `ERR_VFIO_UNSUPPORTED` (the kernel has it since 6.19), `EINVAL`;
   *   `ERR_VFIO_CLOSED`
   */
  async exportDmabuf(
    region: number,
    ranges: readonly { offset: number | bigint; length: number | bigint }[],
  ): Promise<Dmabuf> {
    return await run(Dmabuf.export(this.#calls, region, ranges));
  }

  /** The blocking form of {@link exportDmabuf}. */
  exportDmabufSync(
    region: number,
    ranges: readonly { offset: number | bigint; length: number | bigint }[],
  ): Dmabuf {
    return runSync(Dmabuf.export(this.#calls, region, ranges));
  }

  /**
   * The pending PCI error of an s390 function, `size` bytes of struct zpci_ccdf_err; undefined
   * where none is pending.
   *
   * @throws TypeError, RangeError; VfioError `ERR_VFIO_UNSUPPORTED`, `ERR_VFIO_CLOSED`
   */
  async zpciError(size: number): Promise<Uint8Array | undefined> {
    return await run(this.#zpciError(size));
  }

  /** The blocking form of {@link zpciError}. */
  zpciErrorSync(size: number): Uint8Array | undefined {
    return runSync(this.#zpciError(size));
  }

  *#probe(index: number, what?: FeatureOperation): Steps<boolean> {
    const flags = probeFlags(index, what);
    return this.#calls.isThere(yield* call('feature', this.#calls.native, flags, noData));
  }

  *#list(): Steps<FeatureInfo[]> {
    const infos: FeatureInfo[] = [];
    for (const one of featureNames) {
      const operations: FeatureOperation[] = [];
      for (const what of ['get', 'set'] as const) {
        if (yield* this.#probe(one.index, what)) operations.push(what);
      }
      if (operations.length > 0) infos.push({ ...one, operations });
    }
    return infos;
  }

  *#zpciError(size: number): Steps<Uint8Array | undefined> {
    const { byteLength } = room('size', size);
    const answer = yield* call('zpciError', this.#calls.native, byteLength);
    if (answer === ENOMSG) return undefined;
    return this.#calls.bytes(answer, feature.zpciError);
  }
}

/** The data of a feature that is on or off. */
function switchOf(enabled: unknown): Uint8Array {
  if (typeof enabled !== 'boolean') throw invalidType('enabled', 'a boolean', enabled);
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, Number(enabled), littleEndian);
  return bytes;
}

function checkIndex(index: unknown): number {
  return checkInteger('index', index, 0, 0xffff, 'the index of a feature, from 0 to 65535');
}

function probeFlags(index: unknown, what: unknown): number {
  const flags = checkIndex(index) | operation.probe;
  if (what === undefined) return flags;
  if (what === 'get') return flags | operation.get;
  if (what === 'set') return flags | operation.set;
  throw invalidValue('what', "'get', 'set' or undefined", what);
}

function plainFlags(index: unknown): number {
  const checked = checkIndex(index);
  if (!notBytes.includes(checked)) return checked;
  const { name = '' } = featureNames[checked] ?? {};
  throw invalidValue('index', `a feature whose data are plain bytes; ${name} is not`, index);
}

const mostBytes = 0xffff;

function room(name: string, length: unknown): Uint8Array {
  const expected = `a number of bytes from 0 to ${mostBytes}`;
  return new Uint8Array(checkInteger(name, length, 0, mostBytes, expected));
}

function checkBytes(bytes: unknown): Uint8Array {
  requireBytes('bytes', bytes);
  if (bytes.length <= mostBytes) return bytes;
  throw outOfRange('bytes.length', `${mostBytes} at most`, bytes.length);
}
