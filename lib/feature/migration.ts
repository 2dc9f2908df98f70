import { invalidValue } from '../arguments.ts';
import { defineInspect } from '../inspect_handle.ts';
import { binding, type NativeFd } from '../binding.ts';
import { littleEndian } from '../device/capabilities.ts';
import { badAnswer } from '../device/capabilities.ts';
import { OwnedFd } from '../owned_fd.ts';
import { noData, operation, type FeatureCalls } from './call.ts';
import { MigrationSink, MigrationSource } from './migration_data.ts';
import { feature } from './names.ts';

/** States of enum vfio_device_mig_state, in its order. */
const states = [
  'error',
  'stop',
  'running',
  'stop-copy',
  'resuming',
  'running-p2p',
  'pre-copy',
  'pre-copy-p2p',
] as const;

/** See enum vfio_device_mig_state in linux/vfio.h for what a device does in each. */
export type MigrationState = (typeof states)[number];

/** States beyond `stop`, `running`, `stop-copy` and `resuming`, which every device has that migrates. */
export interface MigrationSupport {
  /** `running-p2p`, and `pre-copy-p2p` where pre-copy is supported too. */
  p2p: boolean;
  /** `pre-copy` */
  preCopy: boolean;
}

const EINVAL = -22;

/**
 * A device's state, moved out of it and into another of the same kind. `setState('stop-copy')` gives
 * the state as a stream, `setState('resuming')` takes it:
 *
 * ```ts
 * const state = await from.feature.migration.setState('stop-copy');
 * const target = await to.feature.migration.setState('resuming');
 * await pipeline(state, target);
 * await to.feature.migration.setState('running');
 * ```
 */
export class Migration {
  readonly #calls: FeatureCalls;
  #last: MigrationState = 'running';
  #source: MigrationSource | undefined;

  static {
    defineInspect(this, 'Migration', (one) => one.#calls.shown);
  }

  private constructor(calls: FeatureCalls) {
    this.#calls = calls;
  }

  /** @internal */
  static of(calls: FeatureCalls): Migration {
    return new Migration(calls);
  }

  /**
   * Which states the device has.
   *
   * @throws VfioError `ERR_VFIO_UNSUPPORTED` where it does not migrate
   */
  async support(): Promise<MigrationSupport> {
    const bytes = await this.#calls.run(feature.migration | operation.get, new Uint8Array(8));
    const flags = viewOf(bytes).getBigUint64(0, littleEndian);
    return { p2p: (flags & 2n) !== 0n, preCopy: (flags & 4n) !== 0n };
  }

  /**
   * The state that the device is in.
   *
   * @throws VfioError `ERR_VFIO_UNSUPPORTED`
   */
  async state(): Promise<MigrationState> {
    const flags = feature.migrationState | operation.get;
    const bytes = await this.#calls.run(flags, new Uint8Array(8));
    const state = viewOf(bytes).getUint32(0, littleEndian);
    const name = states[state];
    if (name === undefined) throw badAnswer(`the kernel tells the migration state ${state}`);
    return name;
  }

  /**
   * Takes the device to a state, by the shortest way through the others; each takes its time. Where
   * that begins to move data, the answer is the stream of them. It ends with the state: close it.
   *
   * @throws TypeError for what is no state to go to
   * @throws VfioError `EINVAL`: there is no way to it; `ERR_VFIO_UNSUPPORTED`; the driver's own, after
   *   which `state()` tells where the device is, and `error` is left by a reset only
   */
  async setState(state: 'resuming'): Promise<MigrationSink>;
  /** Answers the stream of the device's state; the same one from one of these states to another. */
  async setState(state: 'stop-copy' | 'pre-copy' | 'pre-copy-p2p'): Promise<MigrationSource>;
  /** No data flow in these states: a stream of before is to be closed. */
  async setState(state: 'stop' | 'running' | 'running-p2p'): Promise<undefined>;
  async setState(state: MigrationState): Promise<MigrationSource | MigrationSink | undefined> {
    const number = states.indexOf(state);
    if (number < 1) throw invalidValue('state', `one of ${states.slice(1).join(', ')}`, state);
    const answer = await binding().setMigrationState(this.#calls.native, number);
    const data = this.#calls.check(answer, feature.migrationState);
    this.#last = state;
    if (data !== 0) return this.#flow(state, data as NativeFd);
    // From one saving state to another the data flow on.
    if (isSaving(state)) this.#source?.more();
    return isSaving(state) ? this.#source : undefined;
  }

  /**
   * How many bytes a stop-copy would take, as far as the device knows.
   *
   * @throws VfioError `ERR_VFIO_UNSUPPORTED`
   */
  async dataSize(): Promise<bigint> {
    const flags = feature.migrationDataSize | operation.get;
    return viewOf(await this.#calls.run(flags, new Uint8Array(8))).getBigUint64(0, littleEndian);
  }

  /**
   * Has `precopyInfo()` tell when new initial data come up.
   *
   * @throws VfioError `ERR_VFIO_UNSUPPORTED` (the kernel has it since 7.1, for devices with pre-copy)
   */
  async enablePrecopyInfoV2(): Promise<void> {
    const flags = feature.precopyInfoV2 | operation.set;
    const answer = await binding().feature(this.#calls.native, flags, noData);
    // Alone among the features this one answers EINVAL where there is no pre-copy.
    this.#calls.bytes(answer === EINVAL ? -25 : answer, flags);
  }

  #flow(state: MigrationState, data: NativeFd): MigrationSource | MigrationSink {
    const what = `the migration data of ${this.#calls.address}`;
    const fd = OwnedFd.adopt(data, what, 'migration data');
    if (state === 'resuming') return new MigrationSink(fd);
    this.#source = new MigrationSource(fd, () => this.#last.startsWith('pre-copy'));
    return this.#source;
  }
}

function isSaving(state: MigrationState): boolean {
  return state === 'stop-copy' || state.startsWith('pre-copy');
}

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}
