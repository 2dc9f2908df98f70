import type { Readable, Writable } from 'node:stream';
import { binding } from '../core/binding.ts';
import { check } from '../core/call.ts';
import { EIO, ENOMSG } from '../core/errno.ts';
import { systemError, type VfioError } from '../core/errors.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import type { OwnedFd } from '../core/owned_fd.ts';
import { call, run, runSync, type Steps } from '../core/steps.ts';
import { makeUncloneable } from '../core/uncloneable.ts';

/** Bytes of one read of the kernel. */
const chunk = 1 << 20;

/** What is still to be read in a pre-copy state, as far as the device knows. */
export interface PrecopyInfo {
  /** Bytes of the state as it was at first; before they are read, stopping is premature. */
  initialBytes: bigint;
  /** Bytes of what changed since. */
  dirtyBytes: bigint;
  /** New initial data came up: only after `enablePrecopyInfoV2`. */
  reinit: boolean;
}

/**
 * A device's state, flowing out. In a pre-copy state it has temporary ends, which `idle` tells:
 * reading goes on with the next change of state, or `more()`. Its end is reached in the state
 * stop-copy.
 */
export interface MigrationSource extends Readable {
  /**
   * What is still to be read, for deciding when to go on to stop-copy (VFIO_MIG_GET_PRECOPY_INFO).
   *
   * @throws VfioError `EINVAL` in another state than pre-copy; `ERR_VFIO_CLOSED`
   */
  precopyInfo(): Promise<PrecopyInfo>;

  /** The blocking form of {@link precopyInfo}. */
  precopyInfoSync(): PrecopyInfo;

  /** Looks whether there is more after a temporary end. */
  more(): void;
}

/** A device's state, flowing in. It is judged when the device leaves the state resuming. */
export type MigrationSink = Writable;

type Streams = ReturnType<typeof defineStreams>;

/**
 * Not before a device migrates: node:stream takes a tenth of the time of an import of the library.
 */
let streams: Streams | undefined;

export function migrationSource(fd: OwnedFd, isPrecopy: () => boolean): MigrationSource {
  streams ??= defineStreams();
  return new streams.MigrationSource(fd, isPrecopy);
}

export function migrationSink(fd: OwnedFd): MigrationSink {
  streams ??= defineStreams();
  return new streams.MigrationSink(fd);
}

function defineStreams() {
  const { Readable, Writable } = process.getBuiltinModule('node:stream');
  return { MigrationSource: sourceClass(Readable), MigrationSink: sinkClass(Writable) };
}

function sourceClass(Base: typeof Readable) {
  return class MigrationSource extends Base {
    readonly #fd: OwnedFd;
    readonly #isPrecopy: () => boolean;
    /** The kernel had no more for now, and the stream wants some. */
    #idle = false;

    static {
      defineInspect(this, 'MigrationSource', (source) => {
        return { state: source.#fd.closed ? 'closed' : 'open' };
      });
    }

    constructor(fd: OwnedFd, isPrecopy: () => boolean) {
      super({ highWaterMark: chunk });
      makeUncloneable(this);
      this.#fd = fd;
      this.#isPrecopy = isPrecopy;
    }

    async precopyInfo(): Promise<PrecopyInfo> {
      return await run(this.#precopyInfo());
    }

    precopyInfoSync(): PrecopyInfo {
      return runSync(this.#precopyInfo());
    }

    more(): void {
      if (!this.#idle) return;
      this.#idle = false;
      this._read(chunk);
    }

    override _read(size: number): void {
      this.#read(Math.min(Math.max(size, 1), chunk)).catch((error: unknown) => {
        this.destroy(error as Error);
      });
    }

    override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
      closeThen(this.#fd, error, callback);
    }

    *#precopyInfo(): Steps<PrecopyInfo> {
      const answer = yield* call('precopyInfo', this.#fd.native);
      const named = { syscall: 'ioctl', request: 'VFIO_MIG_GET_PRECOPY_INFO' };
      if (typeof answer !== 'object') throw failed(answer, named);
      const { 1: flags = 0 } = answer;
      const [, initialBytes = 0n, dirtyBytes = 0n] = new BigUint64Array(answer.buffer);
      return { initialBytes, dirtyBytes, reinit: (flags & 1) !== 0 };
    }

    async #read(size: number): Promise<void> {
      const answer = await binding().readData(this.#fd.native, size);
      // Some drivers tell a temporary end as they tell the last one.
      const isEmpty = typeof answer === 'object' && answer.length === 0;
      if (answer === ENOMSG || (isEmpty && this.#isPrecopy())) {
        this.#idle = true;
        this.emit('idle');
        return;
      }
      if (typeof answer !== 'object') throw failed(answer, { syscall: 'read' });
      this.push(isEmpty ? null : answer);
    }
  };
}

function sinkClass(Base: typeof Writable) {
  return class MigrationSink extends Base {
    readonly #fd: OwnedFd;

    static {
      defineInspect(this, 'MigrationSink', (sink) => {
        return { state: sink.#fd.closed ? 'closed' : 'open' };
      });
    }

    constructor(fd: OwnedFd) {
      super({ highWaterMark: chunk });
      makeUncloneable(this);
      this.#fd = fd;
    }

    override _write(bytes: Buffer, _encoding: string, callback: (error?: Error) => void): void {
      this.#write(bytes).then(() => {
        callback();
      }, callback);
    }

    override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
      closeThen(this.#fd, error, callback);
    }

    async #write(bytes: Uint8Array): Promise<void> {
      for (let rest = bytes; rest.length > 0;) {
        const part = new Uint8Array(rest.subarray(0, chunk));
        const taken = check(await binding().writeData(this.#fd.native, part), { syscall: 'write' });
        rest = rest.subarray(taken);
      }
    }
  };
}

function failed(
  answer: number | undefined,
  call: { syscall: string; request?: string },
): VfioError {
  check(answer === undefined || answer < 0 ? answer : undefined, call);
  return systemError({ ...call, errno: EIO });
}

function closeThen(
  fd: OwnedFd,
  error: Error | null,
  callback: (error?: Error | null) => void,
): void {
  fd.close().then(
    () => {
      callback(error);
    },
    (closing: unknown) => {
      callback(error ?? (closing as Error));
    },
  );
}
