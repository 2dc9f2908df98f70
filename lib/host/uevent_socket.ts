import { binding, type NativeFd } from '../core/binding.ts';
import { check, checkSteps } from '../core/call.ts';
import type { CallerPlace } from '../core/caller.ts';
import { EAFNOSUPPORT, EAGAIN, EMSGSIZE, ENOBUFS } from '../core/errno.ts';
import { systemError } from '../core/errors.ts';
import { OwnedFd } from '../core/owned_fd.ts';
import { readable, Readiness } from '../core/readiness.ts';
import { mostBytes, parseUevent, type Uevent } from './uevent.ts';

const what = 'the watch of devices';

/** What was received: a message; `none` for now; `lost`: some were, before or after this. */
export type Received = Uevent | 'none' | 'lost';

/** A socket that gets what the kernel tells of its devices (netlink(7), NETLINK_KOBJECT_UEVENT). */
export class UeventSocket {
  readonly #fd: OwnedFd;
  readonly #readiness: Readiness;
  readonly #room = new Uint8Array(mostBytes);

  private constructor(fd: OwnedFd) {
    this.#fd = fd;
    this.#readiness = new Readiness(fd);
  }

  /** @throws VfioError of socket or bind, such as `EMFILE`, `EAFNOSUPPORT` */
  static open(receiveBuffer: number, place: CallerPlace): UeventSocket {
    const call = { syscall: 'socket', path: 'NETLINK_KOBJECT_UEVENT' };
    const answer = binding().ueventOpen(receiveBuffer);
    if (answer === EAFNOSUPPORT) throw systemError({ ...call, errno: answer }, noNetlink);
    const { path } = call;
    const fd = checkSteps(answer, 'ueventOpen', { path }) as NativeFd;
    return new UeventSocket(OwnedFd.adopt(fd, what, call.path).openedAt(place));
  }

  get closed(): boolean {
    return this.#fd.closed;
  }

  /** The next message that is one of the kernel's. */
  receive(): Received {
    for (;;) {
      const answer = binding().ueventReceive(this.#fd.native, this.#room);
      if (answer === EAGAIN) return 'none';
      if (answer === ENOBUFS || answer === EMSGSIZE) return 'lost';
      const length = check(answer, { syscall: 'recvmsg', path: this.#fd.path });
      const event = parseUevent(this.#room.subarray(0, length));
      if (event) return event;
    }
  }

  /** Resolves when it is worth receiving; rejects when it is closed, or with the signal's reason. */
  wait(signal: AbortSignal | undefined): Promise<void> {
    return this.#readiness.wait(readable, signal);
  }

  close(): Promise<void> {
    this.#readiness.end(what);
    return this.#fd.close();
  }
}

const noNetlink =
  'this process may make no netlink sockets: a seccomp filter forbids them, such as ' +
  "systemd's RestrictAddressFamilies=, which has to allow AF_NETLINK";
