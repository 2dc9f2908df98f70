import { invalidValue } from '../core/arguments.ts';
import type { NativeFd } from '../core/binding.ts';
import { EINVAL, ENOTTY } from '../core/errno.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { OwnedFd } from '../core/owned_fd.ts';
import { call, run, runSync, type Steps } from '../core/steps.ts';
import { badAnswer, littleEndian } from '../core/structs.ts';
import { makeUncloneable } from '../core/uncloneable.ts';
import { feature, type FeatureCalls, noData, operation } from './call.ts';
import {
  type MigrationSink,
  migrationSink,
  type MigrationSource,
  migrationSource,
} from './migration_data.ts';

/** See enum vfio_device_mig_state in linux/vfio.h for what a device does in each. */
export type MigrationState =
  | 'error'
  | 'stop'
  | 'running'
  | 'stop-copy'
  | 'resuming'
  | 'running-p2p'
  | 'pre-copy'
  | 'pre-copy-p2p';

/** States of enum vfio_device_mig_state, in its order. */
const states: readonly MigrationState[] = [
  'error',
  'stop',
  'running',
  'stop-copy',
  'resuming',
  'running-p2p',
  'pre-copy',
  'pre-copy-p2p',
];

/**
 * States beyond `stop`, `running`, `stop-copy` and `resuming`, which every device has that
 * migrates.
 */
export interface MigrationSupport {
  /** `running-p2p`, and `pre-copy-p2p` where pre-copy is supported too. */
  p2p: boolean;
  /** `pre-copy` */
  preCopy: boolean;
}

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
    makeUncloneable(this);
    this.#calls = calls;
  }

  /** @internal */
  static of(calls: FeatureCalls): Migration {
    return new Migration(calls);
  }

  /**
   * Which states the device has.
   *
   * @throws VfioError `ERR_VFIO_UNSUPPORTED` where it does not migrate; `ERR_VFIO_CLOSED`
   */
  async support(): Promise<MigrationSupport> {
    return await run(this.#support());
  }

  /** The blocking form of {@link support}. */
  supportSync(): MigrationSupport {
    return runSync(this.#support());
  }

  /**
   * The state that the device is in.
   *
   * @throws VfioError `ERR_VFIO_UNSUPPORTED`, `ERR_VFIO_CLOSED`
   */
  async state(): Promise<MigrationState> {
    return await run(this.#state());
  }

  /** The blocking form of {@link state}. */
  stateSync(): MigrationState {
    return runSync(this.#state());
  }

  /**
   * Takes the device to a state, by the shortest way through the others; each takes its time. Where
   * that begins to move data, the answer is the stream of them. It ends with the state: close it.
   *
   * @throws TypeError for what is no state to go to
   * @throws VfioError `EINVAL`: there is no way to it; `ERR_VFIO_UNSUPPORTED`, `ERR_VFIO_CLOSED`;
   *   the driver's own, after which `state()` tells where the device is, and `error` is left by a reset only
   */
  async setState(state: 'resuming'): Promise<MigrationSink>;
  /**
   * Answers the stream of the device's state; the same one from one of these states to another.
   *
   * @throws as for `resuming`
   */
  async setState(state: 'stop-copy' | 'pre-copy' | 'pre-copy-p2p'): Promise<MigrationSource>;
  /**
   * No data flow in these states: a stream of before is to be closed.
   *
   * @throws as for `resuming`
   */
  async setState(state: 'stop' | 'running' | 'running-p2p'): Promise<undefined>;
  async setState(state: MigrationState): Promise<MigrationSource | MigrationSink | undefined> {
    return await run(this.#setState(state));
  }

  /** The blocking form of {@link setState}; the streams flow as ever. */
  setStateSync(state: 'resuming'): MigrationSink;
  setStateSync(state: 'stop-copy' | 'pre-copy' | 'pre-copy-p2p'): MigrationSource;
  setStateSync(state: 'stop' | 'running' | 'running-p2p'): undefined;
  setStateSync(state: MigrationState): MigrationSource | MigrationSink | undefined {
    return runSync(this.#setState(state));
  }

  /**
   * How many bytes a stop-copy would take, as far as the device knows.
   *
   * @throws VfioError `ERR_VFIO_UNSUPPORTED`, `ERR_VFIO_CLOSED`
   */
  async dataSize(): Promise<bigint> {
    return await run(this.#dataSize());
  }

  /** The blocking form of {@link dataSize}. */
  dataSizeSync(): bigint {
    return runSync(this.#dataSize());
  }

  /**
   * Has `precopyInfo()` tell when new initial data come up.
   *
   * @throws VfioError `ERR_VFIO_UNSUPPORTED` (the kernel has it since 7.1, for devices with
   *   pre-copy); `ERR_VFIO_CLOSED`
   */
  async enablePrecopyInfoV2(): Promise<void> {
    await run(this.#enablePrecopyInfoV2());
  }

  /** The blocking form of {@link enablePrecopyInfoV2}. */
  enablePrecopyInfoV2Sync(): void {
    runSync(this.#enablePrecopyInfoV2());
  }

  *#support(): Steps<MigrationSupport> {
    const flags = (yield* this.#get(feature.migration)).getBigUint64(0, littleEndian);
    return { p2p: (flags & 2n) !== 0n, preCopy: (flags & 4n) !== 0n };
  }

  *#state(): Steps<MigrationState> {
    const state = (yield* this.#get(feature.migrationState)).getUint32(0, littleEndian);
    const name = states[state];
    if (name === undefined) throw badAnswer(`the kernel tells the migration state ${state}`);
    return name;
  }

  *#setState(state: MigrationState): Steps<MigrationSource | MigrationSink | undefined> {
    const number = states.indexOf(state);
    if (number < 1) throw invalidValue('state', `one of ${states.slice(1).join(', ')}`, state);
    const answer = yield* call('setMigrationState', this.#calls.native, number);
    const data = this.#calls.check(answer, feature.migrationState);
    this.#last = state;
    if (data !== 0) return this.#flow(state, data as NativeFd);
    // From one saving state to another the data flow on.
    if (isSaving(state)) this.#source?.more();
    return isSaving(state) ? this.#source : undefined;
  }

  *#dataSize(): Steps<bigint> {
    return (yield* this.#get(feature.migrationDataSize)).getBigUint64(0, littleEndian);
  }

  *#enablePrecopyInfoV2(): Steps<void> {
    const flags = feature.precopyInfoV2 | operation.set;
    const answer = yield* call('feature', this.#calls.native, flags, noData);
    // Alone among the features this one answers EINVAL where there is no pre-copy.
    this.#calls.bytes(answer === EINVAL ? ENOTTY : answer, flags);
  }

  /** The struct of a feature of 8 bytes. */
  *#get(index: number): Steps<DataView> {
    const bytes = yield* this.#calls.bytesOf(index | operation.get, new Uint8Array(8));
    return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  #flow(state: MigrationState, data: NativeFd): MigrationSource | MigrationSink {
    const what = `the migration data of ${this.#calls.address}`;
    const fd = OwnedFd.adopt(data, what, 'migration data');
    if (state === 'resuming') return migrationSink(fd);
    this.#source = migrationSource(fd, () => this.#last.startsWith('pre-copy'));
    return this.#source;
  }
}

function isSaving(state: MigrationState): boolean {
  return state === 'stop-copy' || state.startsWith('pre-copy');
}
