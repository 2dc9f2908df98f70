import { readSync, writeSync } from 'node:fs';
import type { BoundCdev } from '../device/bind.ts';
import type { RegionInfo } from '../device/decode.ts';
import type { Interrupts } from '../interrupt/interrupts.ts';

/** PCI's Command register. */
const PCI_COMMAND = 4;

/** What a reset has to know of a device, and to establish again. */
export class Resettable {
  readonly bound: BoundCdev;
  readonly interrupts: Interrupts;
  readonly #regions: () => readonly RegionInfo[];
  /** Somebody wants the device back: a reset will not get its lock any more. */
  wanted = false;

  constructor(bound: BoundCdev, interrupts: Interrupts, regions: () => readonly RegionInfo[]) {
    this.bound = bound;
    this.interrupts = interrupts;
    this.#regions = regions;
  }

  /**
   * What the device has before a reset. Calling the answer establishes it again: the bits of the
   * Command register, of which bus mastering is one, and the interrupts that are enabled.
   */
  remember(): () => Promise<void> {
    const command = this.#readCommand();
    return async () => {
      if (command !== undefined && this.#readCommand() !== command) this.#writeCommand(command);
      await this.interrupts.restore();
    };
  }

  /** As {@link remember}, blocking. */
  rememberSync(): () => void {
    const command = this.#readCommand();
    return () => {
      if (command !== undefined && this.#readCommand() !== command) this.#writeCommand(command);
      this.interrupts.restoreSync();
    };
  }

  #readCommand(): number | undefined {
    const position = this.#commandPosition();
    if (position === undefined) return undefined;
    const bytes = Buffer.alloc(2);
    readSync(this.bound.fd.number, bytes, 0, 2, position);
    return bytes.readUInt16LE();
  }

  #writeCommand(command: number): void {
    const bytes = Buffer.alloc(2);
    bytes.writeUInt16LE(command);
    writeSync(this.bound.fd.number, bytes, 0, 2, this.#commandPosition());
  }

  #commandPosition(): number | undefined {
    const config = this.#regions().find(({ name }) => name === 'config');
    return config === undefined ? undefined : Number(config.offset) + PCI_COMMAND;
  }
}
