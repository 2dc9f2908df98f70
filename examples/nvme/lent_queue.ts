import { fromShared, type MappedRegion, type SharedToken } from 'vfio';
import { CommandQueue } from './command_queue.ts';
import { IoQueue } from './io_queue.ts';
import { QueuePair } from './queue.ts';
import { QueueMemory } from './queue_memory.ts';
import { type ControllerRegisters, controllerRegisters } from './registers.ts';
import { NvmeError, strayError } from './status.ts';

/**
 * A queue pair for a worker, as a message to it. Doorbells and rings are all that a queue is, and
 * both are memory: the worker drives it without this thread, without a lock and without a message.
 */
export interface LentQueue {
  id: number;
  entries: number;
  /** Where the device sees the queue's memory. */
  iova: bigint;
  stride: number;
  timeout: number;
  bar: SharedToken<'region'>;
  memory: SharedToken<'dma-buffer'>;
}

export interface BorrowedQueue {
  queue: IoQueue;
  bar: MappedRegion;
  /** To see whether the controller works. */
  registers: ControllerRegisters;
  /** Gives up the worker's part, when no command is under way. The controller's thread then takes the queue back. */
  close(): void;
}

/**
 * In the worker: the queue that was lent. It is polled. A command that takes too long, or a
 * completion that no command has, is the worker's to tell of: it cannot abort or reset, which is the
 * admin queue's.
 */
export function borrow(lent: LentQueue, onTrouble: (trouble: NvmeError) => void): BorrowedQueue {
  const bar = fromShared(lent.bar);
  const memory = new QueueMemory(fromShared(lent.memory), lent.iova, lent.entries);
  const pair = new QueuePair(bar, lent.id, lent.stride, memory.buffer, lent.entries);
  const commands = new CommandQueue(pair, {
    timeout: lent.timeout,
    polled: true,
    onTimeout: (_, { what }) => {
      onTrouble(new NvmeError('timeout', `${what} takes too long`));
    },
    onStray: ({ pair }, id) => {
      // Not from within the look at the ring, which goes on.
      queueMicrotask(() => {
        onTrouble(strayError(pair.id, id));
      });
    },
  });
  const close = (): void => {
    commands.end(new NvmeError('closed', 'the queue was given up'));
    bar.closeSync();
    memory.buffer.disposeSync();
  };
  return {
    queue: new IoQueue(commands, memory.prps),
    bar,
    registers: controllerRegisters(bar),
    close,
  };
}
