import type { MappedRegion } from 'vfio';
import type { QueueMemory } from './queue_memory.ts';
import type { ControllerRegisters } from './registers.ts';
import { NvmeError } from './status.ts';

/** CC.SHN: a normal shutdown; CSTS.SHST when it is complete. */
const normal = 0b01;
const complete = 0b10 << 2;

/** Switching a controller on and off (base specification 2.0, sections 3.5.1 and 3.6.1). */
export class Power {
  readonly #bar: MappedRegion;
  readonly #registers: ControllerRegisters;
  /** How long CSTS.RDY may take: the controller says so itself. */
  readonly #patience: number;

  constructor(bar: MappedRegion, registers: ControllerRegisters) {
    this.#bar = bar;
    this.#registers = registers;
    const { timeout, minPageSize } = registers.capabilities.readFields();
    this.#patience = Math.max(1, timeout) * 500;
    if (minPageSize > 0) throw new NvmeError('status', 'the controller has no pages of 4 KiB');
  }

  /**
   * Switches it off: queues are forgotten, and commands with them. When this is done the controller
   * makes no DMA any more, so the memory of commands is the program's again.
   */
  async off(): Promise<void> {
    this.#registers.configuration.update({ enable: 0 });
    await this.#bar.poll32(this.#registers.status.offset, 1, 0, { timeout: this.#patience });
  }

  /** Switches it on, with this admin queue. */
  async on(admin: QueueMemory): Promise<void> {
    const registers = this.#registers;
    const last = admin.entries - 1;
    registers.adminQueueSizes.writeFields({ submission: last, completion: last });
    registers.adminSubmissions.write(admin.submissions);
    registers.adminCompletions.write(admin.completions);
    // Entries of 2 ** 6 and 2 ** 4 bytes; pages of 4 KiB and the NVM command set are 0.
    registers.configuration.writeFields({
      enable: 1,
      submissionEntrySize: 6,
      completionEntrySize: 4,
    });
    // Ready, and not fatally wrong.
    await this.#bar.poll32(registers.status.offset, 0b11, 0b01, { timeout: this.#patience });
  }

  /** Has it write down what it has in caches, then switches it off. */
  async shutDown(): Promise<void> {
    this.#registers.configuration.update({ shutdown: normal });
    await this.#bar.poll32(this.#registers.status.offset, 0b11 << 2, complete, {
      timeout: this.#patience,
    });
    await this.off();
  }
}
