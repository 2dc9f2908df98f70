import type { Answer } from '../core/binding.ts';
import { type CallName, check } from '../core/call.ts';
import { EBUSY } from '../core/errno.ts';
import { explained, systemError } from '../core/errors.ts';

/**
 * Who uses an address space, a page table or a vIOMMU, as far as this thread knows: the kernel does not
 * destroy it meanwhile, and does not say why.
 */
export class Users {
  readonly #what: string;
  /** The addresses of attached devices; of a container's devices together, ''. */
  readonly #devices: string[] = [];
  readonly #pageTables = new Set<number>();
  /** Others, as the kernel calls them: `vIOMMU 5`. */
  readonly #objects = new Set<string>();

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

  addObject(what: string): void {
    this.#objects.add(what);
  }

  removeObject(what: string): void {
    this.#objects.delete(what);
  }

  /** Throws the error of an IOMMU_DESTROY, with those who are in the way. */
  checkDestroyed(answer: Answer, call: CallName): void {
    if (answer !== EBUSY) {
      check(answer, call);
      return;
    }
    const devices = this.#devices.filter((device) => device !== '');
    const pageTables = [...this.#pageTables];
    const objects = [...this.#objects];
    const count = devices.length + pageTables.length + objects.length;
    const certainty = count > 0 ? 'certain' : 'likely';
    const facts = { what: this.#what, devices, pageTables, objects };
    const error = systemError({ ...call, errno: EBUSY });
    throw explained(error, { reason: 'still-attached', certainty, facts });
  }
}
