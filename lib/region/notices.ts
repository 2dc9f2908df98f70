import { binding } from '../core/binding.ts';
import { VfioError } from '../core/errors.ts';
import { Mailbox } from './mailbox.ts';

/** What a device tells of itself, as the addon numbers it. */
export const notice = { request: 0, error: 1 } as const;

export type Notice = (typeof notice)[keyof typeof notice];

const irqNames = { [notice.request]: 'req', [notice.error]: 'err' } as const;

/**
 * How many kinds there are: above their bits are those of whether anybody would hear, then those of
 * why not any more, as native/notices.h has them.
 */
const kinds = 2;
const [heard, left, givenUp] = [1, 2, 3];

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
    const says = (what: number): boolean => {
      return status >= 0 && (status & (1 << (kinds * what + kind))) !== 0;
    };
    if (says(heard)) return false;
    throw this.#unheard(kind, says(left), says(givenUp));
  }

  #unheard(kind: Notice, hasLeft: boolean, isGivenUp: boolean): VfioError {
    const irq = `the interrupt ${irqNames[kind]} of ${this.#address}`;
    const unknown = kind === notice.request ? 'is wanted back' : 'reported an error';
    let message = `nobody in this process hears of ${irq}: it was opened with requestEvents: false, or by another program, and taken without requestEvents: true`;
    if (hasLeft) {
      message = `who opened ${this.#address} and heard of it has closed it: whether it ${unknown} cannot be told any more`;
    } else if (isGivenUp) {
      message = `nobody in this process hears of ${irq} any more: its descriptor was handed out, or the interrupt disabled`;
    }
    return new VfioError({ code: 'ERR_VFIO_IRQ_DISABLED', message, device: this.#address });
  }
}
