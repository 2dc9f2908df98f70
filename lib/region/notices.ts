import { binding } from '../core/binding.ts';
import { VfioError } from '../core/errors.ts';
import { Mailbox } from './mailbox.ts';

/** What a device tells of itself, as the addon numbers it. */
export const notice = { request: 0, error: 1 } as const;

export type Notice = (typeof notice)[keyof typeof notice];

const irqNames = { [notice.request]: 'req', [notice.error]: 'err' } as const;

/** How many kinds there are: above their bits are those of whether anybody would hear. */
const kinds = 2;

/** Who asks what a device told, without the event loop: a device, or a mapping of its memory. */
export class Notices {
  readonly #box = new Mailbox(binding().mailbox());
  readonly #call: 'noticesOfDevice' | 'noticesOfMapping';
  readonly #address: string;
  /** A bit for each kind that it told, which it does not take back. */
  #told = 0;

  constructor(call: 'noticesOfDevice' | 'noticesOfMapping', address: string) {
    this.#call = call;
    this.#address = address;
  }

  /** It told, and the loop heard of it. */
  tell(kind: Notice): void {
    this.#told |= 1 << kind;
  }

  /** What is known without asking, also when it is closed. */
  isKnown(kind: Notice): boolean {
    return (this.#told & (1 << kind)) !== 0;
  }

  /**
   * Whether it told.
   *
   * @param handle - of the device or the mapping, which is open
   * @throws VfioError `ERR_VFIO_IRQ_DISABLED` where nobody in this process would hear
   */
  ask(kind: Notice, handle: number): boolean {
    this.#box.name(handle);
    binding()[this.#call]();
    const { status } = this.#box;
    if (status >= 0 && (status & (1 << kind)) !== 0) {
      this.#told |= 1 << kind;
      return true;
    }
    if (status >= 0 && (status & (1 << (kinds + kind))) !== 0) return false;
    throw this.#unheard(kind);
  }

  #unheard(kind: Notice): VfioError {
    const why =
      'it was opened with requestEvents: false, its descriptor was handed out, or who heard of it closed it';
    const message = `nobody in this process hears of the interrupt ${irqNames[kind]} of ${this.#address}: ${why}`;
    return new VfioError({ code: 'ERR_VFIO_IRQ_DISABLED', message, device: this.#address });
  }
}
