import { setTimeout } from 'node:timers/promises';
import type { AdminCommands } from './admin.ts';
import type { CommandQueue, Request } from './command_queue.ts';
import { type ControllerRegisters, fatal, gone, readStatus } from './registers.ts';
import { NvmeError } from './status.ts';

/** What recovery needs of a controller. */
interface Recoverable {
  readonly registers: ControllerRegisters;
  readonly admin: AdminCommands;
  readonly failure: NvmeError | undefined;
  readonly isResetting: boolean;
  reset(): Promise<void>;
  fail(error: NvmeError): Promise<void>;
}

/**
 * What to do about a command that takes too long, in the order that costs others least: see whether
 * the device is there at all, abort the command, reset the controller. The command's promise is
 * settled only when the controller cannot write to its memory any more.
 */
export class Recovery {
  readonly #controller: Recoverable;
  readonly #patience: number;

  constructor(controller: Recoverable, patience: number) {
    this.#controller = controller;
    this.#patience = patience;
  }

  async recover(queue: CommandQueue, request: Request): Promise<void> {
    const controller = this.#controller;
    // That ends it anyway; an abort that waits for it would hit another command.
    if (controller.isResetting) return;
    const state = this.#look();
    try {
      if (state === 'gone') {
        await controller.fail(new NvmeError('removed', 'the device does not answer'));
        return;
      }
      if (state === 'works' && queue.pair.id > 0 && (await this.#abort(queue, request))) return;
      if (!controller.failure && queue.isUnderWay(request)) await controller.reset();
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      await controller.fail(new NvmeError('reset', `the controller does not recover: ${why}`));
    }
  }

  /** CSTS says it: a fatal state is ended by a reset only (base specification, section 9.5). */
  #look(): 'works' | 'fatal' | 'gone' {
    const value = readStatus(this.#controller.registers);
    if (value === gone) return 'gone';
    return (value & fatal) === 0 ? 'works' : 'fatal';
  }

  /** Whether the command has ended. An abort that is not answered ends in a reset by itself. */
  async #abort(queue: CommandQueue, request: Request): Promise<boolean> {
    const isOver = (): boolean => !queue.isUnderWay(request);
    let accepted: boolean;
    try {
      accepted = await this.#controller.admin.abort(queue.pair.id, queue.idOf(request));
    } catch {
      return isOver();
    }
    // Its completion may come after the abort's.
    const until = performance.now() + (accepted ? this.#patience : 0);
    while (!isOver() && performance.now() < until) {
      await setTimeout(10);
      queue.reap();
    }
    return isOver();
  }
}
