import type { Answer, NativeFd } from '../core/binding.ts';
import type { CallName } from '../core/call.ts';
import { Closable } from '../core/closable.ts';
import { closedError } from '../core/errors.ts';
import type { OwnedFd } from '../core/owned_fd.ts';
import { call, run, runSync, type Steps } from '../core/steps.ts';
import { Users } from './users.ts';

/** Where an object is made: in which iommufd, and of what. */
export interface ObjectParent {
  fd: OwnedFd;
  /** The iommufd's: ids of others may be the same. */
  iommufdIdentity: string;
  /** Of what it is made, which cannot be destroyed before it. */
  users: Users;
}

/** Something that the kernel has in an iommufd by an id, until it is destroyed. */
export abstract class IommufdObject extends Closable {
  readonly #parent: ObjectParent;
  readonly #id: number;
  readonly #what: string;
  readonly #users: Users;
  #closed = false;

  /** @internal */
  protected constructor(parent: ObjectParent, kind: string, id: number) {
    super();
    this.#parent = parent;
    this.#id = id;
    this.#what = `${kind} ${id}`;
    this.#users = new Users(this.#what);
    parent.users.addObject(this.#what);
  }

  /**
   * Its id in the iommufd.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  get id(): number {
    this.requireOpen();
    return this.#id;
  }

  /** @internal */
  requireOpen(): void {
    if (this.#isClosed()) throw closedError(this.#what, this.#parent.fd.closing);
  }

  /**
   * Destroys it (IOMMU_DESTROY). Closing twice, or after the iommufd, is harmless.
   *
   * @throws VfioError `EBUSY`, reason `still-attached`, while it is in use; it stays open then
   */
  async close(): Promise<void> {
    await run(this.closing());
  }

  /** The blocking form of {@link close}. */
  closeSync(): void {
    runSync(this.closing());
  }

  /** What closing it does. @internal */
  protected closing(): Steps<void> {
    return this.destroying();
  }

  /** @internal */
  protected *destroying(): Steps<void> {
    const iommufd = this.#take();
    if (iommufd) this.#settle(yield* call('destroy', iommufd, this.#id));
  }

  /** Whether the kernel, of whose answer it is, has no such object any more. @internal */
  protected isGone(answer: Answer): boolean {
    return answer === 0;
  }

  /** Which iommufd it is of: ids of others may be the same. @internal */
  get iommufdIdentity(): string {
    return this.#parent.iommufdIdentity;
  }

  /** For the reason why it cannot be closed. @internal */
  get users(): Users {
    return this.#users;
  }

  /** @internal */
  protected get iommufd(): OwnedFd {
    return this.#parent.fd;
  }

  /** What `inspect` shows. @internal */
  protected get shown(): object {
    const state = this.#isClosed() ? 'closed' : 'open';
    return { id: this.#id, iommufd: this.#parent.fd.path, state };
  }

  #isClosed(): boolean {
    return this.#closed || this.#parent.fd.closed;
  }

  #take(): NativeFd | undefined {
    if (this.#closed) return undefined;
    this.#closed = true;
    return this.#parent.fd.closed ? undefined : this.#parent.fd.native;
  }

  #settle(answer: Answer): void {
    this.#closed = this.isGone(answer);
    const named: CallName = {
      syscall: 'ioctl',
      request: 'IOMMU_DESTROY',
      path: this.#parent.fd.path,
    };
    if (!this.#closed) this.#users.checkDestroyed(answer, named);
    this.#parent.users.removeObject(this.#what);
  }
}
