import { dirname } from 'node:path';
import { onAbort } from '../core/aborts.ts';
import { binding, type NativeFd } from '../core/binding.ts';
import { check, checkSteps } from '../core/call.ts';
import { EACCES, ENOENT, ENOTDIR } from '../core/errno.ts';
import { OwnedFd } from '../core/owned_fd.ts';
import { readable, Readiness, throwIfAborted } from '../core/readiness.ts';

/** Tells when a name in a folder comes, goes, is replaced or gets other rights (inotify). */
export class FolderWatch {
  readonly #fd: OwnedFd;
  readonly #readiness: Readiness;

  private constructor(fd: OwnedFd) {
    this.#fd = fd;
    this.#readiness = new Readiness(fd);
  }

  /** @throws VfioError of inotify_init1, such as `EMFILE` */
  static open(): FolderWatch {
    const fd = check(binding().watchOpen(), { syscall: 'inotify_init1' });
    return new FolderWatch(OwnedFd.adopt(fd as NativeFd, 'the watch', 'inotify'));
  }

  /**
   * Watches a folder, or the nearest parent that is there. What changes from here on ends the next
   * wait: also the coming of the folder between the look at it and the watch on its parent, since
   * the way up is walked again until it ends where it ended before.
   */
  add(folder: string): void {
    let last: string | undefined;
    for (;;) {
      const watched = this.#addNearest(folder);
      if (watched === folder || watched === last) return;
      last = watched;
    }
  }

  #addNearest(folder: string): string {
    for (let at = folder; ; at = dirname(at)) {
      const answer = binding().watchFolder(this.#fd.native, at);
      // A folder that may not be read is a name in its parent, where a change of its rights shows.
      const goUp = answer === ENOENT || answer === ENOTDIR || answer === EACCES;
      if (goUp && at !== dirname(at)) continue;
      check(answer, { syscall: 'inotify_add_watch', path: at });
      return at;
    }
  }

  /**
   * Waits for a change since {@link add}; resolves after this time too, and soon after an abort.
   * The event loop polls the descriptor: a wait of any length takes no thread from the calls that
   * are short.
   *
   * @throws the reason of a signal that was aborted before
   */
  async change(milliseconds: number, signal?: AbortSignal): Promise<void> {
    throwIfAborted(signal);
    const enough = new AbortController();
    const stop = (): void => {
      enough.abort();
    };
    const ring = setTimeout(stop, milliseconds);
    const unhear = signal && onAbort(signal, stop);
    try {
      await this.#readiness.wait(readable, enough.signal);
    } catch (error) {
      if (!enough.signal.aborted) throw error;
    } finally {
      clearTimeout(ring);
      unhear?.();
    }
    // What was told by now is not told again.
    this.changeSync(0);
  }

  /** The blocking form of {@link change}. */
  changeSync(milliseconds: number): void {
    checkSteps(binding().waitForChangeSync(this.#fd.native, milliseconds), 'waitForChangeSync');
  }

  close(): Promise<void> {
    this.#readiness.end('the watch');
    return this.#fd.close();
  }

  closeSync(): void {
    this.#readiness.end('the watch');
    this.#fd.closeSync();
  }
}
