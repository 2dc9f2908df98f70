import type { DmaBlock, DmaPool } from 'vfio';
import type { CommandQueue } from './command_queue.ts';
import {
  abort,
  admin,
  type Command,
  createCompletionQueue,
  createSubmissionQueue,
  deleteQueues,
  feature,
  getLogPage,
  identify,
  identifyStructure,
  setFeature,
} from './commands.ts';
import { decodeEvent, type NvmeEvent } from './events.ts';
import {
  type ControllerInfo,
  decodeController,
  decodeNamespace,
  decodeNamespaceList,
  type NamespaceInfo,
} from './identify.ts';
import type { QueueMemory } from './queue_memory.ts';

/** The commands of the admin queue that this driver uses (base specification 2.0, section 5). */
export class AdminCommands {
  readonly #queue: CommandQueue;
  readonly #pool: DmaPool;

  constructor(queue: CommandQueue, pool: DmaPool) {
    this.#queue = queue;
    this.#pool = pool;
  }

  /** Runs any command without data; answers the first word of its completion. */
  run(what: string, command: Command, timeout?: number): Promise<number> {
    return this.#queue.run(what, () => command, timeout);
  }

  async identifyController(): Promise<ControllerInfo> {
    return await this.#identify(identifyStructure.controller, 0, decodeController);
  }

  async identifyNamespace(id: number): Promise<NamespaceInfo> {
    return await this.#identify(identifyStructure.namespace, id, (data) =>
      decodeNamespace(id, data),
    );
  }

  /** The numbers of the namespaces that are there, the first 1,024. */
  async listNamespaces(): Promise<number[]> {
    return await this.#identify(identifyStructure.activeNamespaces, 0, decodeNamespaceList);
  }

  async setFeature(which: number, value: number): Promise<number> {
    return await this.run(`setting of feature ${which}`, setFeature(which, value));
  }

  /** How many I/O queues there may be, of so many that are wanted; before the first is made. */
  async askForQueues(wanted: number): Promise<number> {
    const result = await this.setFeature(
      feature.numberOfQueues,
      ((wanted - 1) << 16) | (wanted - 1),
    );
    return Math.min(wanted, (result & 0xffff) + 1, (result >>> 16) + 1);
  }

  /** Makes both queues of a pair: completions first, for the other names them. */
  async createQueue(id: number, memory: QueueMemory, vector: number | undefined): Promise<void> {
    const { entries, completions, submissions } = memory;
    const first = createCompletionQueue(id, entries, completions, vector);
    await this.run(`making of completion queue ${id}`, first);
    const second = createSubmissionQueue(id, entries, submissions);
    await this.run(`making of submission queue ${id}`, second);
  }

  async deleteQueue(id: number): Promise<void> {
    for (const command of deleteQueues(id)) await this.run(`deletion of queue ${id}`, command);
  }

  /** Asks for a command to be aborted. Answers false where the controller would not. */
  async abort(queue: number, id: number): Promise<boolean> {
    const result = await this.run(`abort of command ${id} of queue ${queue}`, abort(queue, id));
    return (result & 1) === 0;
  }

  /** A log page's first 512 bytes. */
  async getLog(page: number): Promise<Uint8Array> {
    const bytes = 512;
    return await this.#withPage(async ({ bytes: data, iova }) => {
      await this.run(`reading of log ${page}`, getLogPage(page, iova, bytes));
      return data.slice(0, bytes);
    });
  }

  /** What the controller tells next: that may take for ever. */
  async nextEvent(): Promise<NvmeEvent> {
    const command = { opcode: admin.asyncEventRequest };
    const event = decodeEvent(await this.run('event', command, Infinity));
    return { ...event, log: await this.getLog(event.logPage) };
  }

  #identify<T>(structure: number, namespace: number, decode: (data: Uint8Array) => T): Promise<T> {
    return this.#withPage(async ({ bytes, iova }) => {
      await this.run('identify', identify(structure, namespace, iova));
      return decode(bytes);
    });
  }

  /** Lends a page, which is given back when the command is over. */
  async #withPage<T>(use: (page: DmaBlock) => Promise<T>): Promise<T> {
    const size = 4096;
    const page = await this.#pool.allocate(size, BigInt(size));
    try {
      return await use(page);
    } finally {
      this.#pool.release(page);
    }
  }
}
