import type { Answer } from '../core/binding.ts';
import { type CallName, check } from '../core/call.ts';
import { EBUSY } from '../core/errno.ts';
import { explained, systemError } from '../core/errors.ts';

/**
 * Who uses an address space, or a page table, as far as this thread knows: the kernel does not
 * destroy it meanwhile, and does not say why.
 */
export class Users {
  readonly #what: string;
  /** The addresses of attached devices; of a container's devices together, ''. */
  readonly #devices: string[] = [];
  readonly #pageTables = new Set<number>();

  constructor(what: string) {
    this.#what = what;
  }

  get attached(): boolean {
    return this.#devices.length > 0;
  }

  attach(device: string): void {
    this.#devices.push(device);
  }

  detach(device: string): void {
    const at = this.#devices.indexOf(device);
    if (at >= 0) this.#devices.splice(at, 1);
  }

  addTable(id: number): void {
    this.#pageTables.add(id);
  }

  removeTable(id: number): void {
    this.#pageTables.delete(id);
  }

  /** Throws the error of an IOMMU_DESTROY, with those who are in the way. */
  checkDestroyed(answer: Answer, call: CallName): void {
    if (answer !== EBUSY) {
      check(answer, call);
      return;
    }
    const devices = this.#devices.filter((device) => device !== '');
    const pageTables = [...this.#pageTables];
    const certainty = devices.length + pageTables.length > 0 ? 'certain' : 'likely';
    const facts = { what: this.#what, devices, pageTables };
    const error = systemError({ ...call, errno: EBUSY });
    throw explained(error, { reason: 'still-attached', certainty, facts });
  }
}
