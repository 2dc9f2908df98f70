import { EventEmitter } from 'node:events';
import {
  type AddressSpace,
  DmaPool,
  type InterruptVector,
  type MappedRegion,
  type VfioDevice,
  VfioError,
} from 'vfio';
import { AdminCommands } from './admin.ts';
import { CommandQueue, type CommandQueueOptions, type Request } from './command_queue.ts';
import { feature } from './commands.ts';
import { healthEvents, type NvmeEvent } from './events.ts';
import type { ControllerInfo, NamespaceInfo } from './identify.ts';
import type { PrpTable } from './prp.ts';
import { IoQueue } from './io_queue.ts';
import { Namespace } from './namespace.ts';
import { Power } from './power.ts';
import { QueuePair } from './queue.ts';
import { QueueMemory } from './queue_memory.ts';
import { type ControllerRegisters, controllerRegisters } from './registers.ts';
import type { LentQueue } from './lent_queue.ts';
import { Recovery } from './recovery.ts';
import { NvmeError, strayError } from './status.ts';

export interface ControllerOptions {
  /** Milliseconds that a command may take: 10,000 without this. */
  timeout?: number;
  /**
   * How many MSI-X vectors to have: the first for the admin queue, the next for the I/O queues in
   * their order. Queues without one are polled: all, without this.
   */
  vectors?: number;
  /** How many I/O queues to ask for: 8 without this. */
  ioQueues?: number;
}

interface ControllerEvents {
  /** The controller tells something. */
  event: [event: NvmeEvent];
  /** It was reset, because of a command that took too long or because somebody asked. */
  reset: [];
  /** A queue that somebody else drives is gone: its controller was reset. */
  lost: [queue: number];
  /** It is of no use any more, and every command has ended. Close it, and the device. */
  failed: [error: NvmeError];
}

/** An I/O queue, and what it needs to be made again after a reset. */
interface OwnQueue {
  id: number;
  memory: QueueMemory;
  vector: InterruptVector | undefined;
  commands: CommandQueue;
}

/** A queue pair for who drives it: a loop over its rings, without promises. */
export interface DrivenQueue {
  id: number;
  pair: QueuePair;
  prps: PrpTable;
  /** Tells that there is something to look at, where the queue has one. */
  vector: InterruptVector | undefined;
}

const adminEntries = 32;
/** The PCI class of what this driver is for: mass storage, non-volatile memory, NVMe I/O. */
const nvmeClass = 0x01_0802;

/** An NVMe controller: its life, its admin queue, its I/O queues. */
export class Controller extends EventEmitter<ControllerEvents> {
  readonly device: VfioDevice;
  /** What its DMA reaches: map memory for transfers here. */
  readonly space: AddressSpace;
  readonly registers: ControllerRegisters;
  readonly bar: MappedRegion;
  readonly admin: AdminCommands;
  readonly #timeout: number;
  readonly #stride: number;
  readonly #maxEntries: number;
  readonly #power: Power;
  readonly #pool: DmaPool;
  readonly #adminMemory: QueueMemory;
  readonly #adminQueue: CommandQueue;
  readonly #vectors: readonly InterruptVector[];
  readonly #recovery: Recovery;
  readonly #queues = new Map<number, OwnQueue>();
  /** Numbers of queues that are taken, also of those that are being made. */
  readonly #numbers = new Set<number>();
  /** Those that workers and loops drive. */
  readonly #lent = new Map<number, QueueMemory>();
  #info: ControllerInfo | undefined;
  #queueCount: number;
  #resetting: Promise<void> | undefined;
  #failure: NvmeError | undefined;
  #failing: Promise<void> | undefined;
  readonly #onRequest = (): void => {
    void this.fail(new NvmeError('removed', 'somebody wants the device back'));
  };

  private constructor(parts: {
    device: VfioDevice;
    space: AddressSpace;
    bar: MappedRegion;
    adminMemory: QueueMemory;
    vectors: readonly InterruptVector[];
    options: ControllerOptions;
  }) {
    super();
    const { device, space, bar, adminMemory, vectors, options } = parts;
    this.device = device;
    this.space = space;
    this.bar = bar;
    this.registers = controllerRegisters(bar);
    this.#timeout = options.timeout ?? 10_000;
    this.#queueCount = options.ioQueues ?? 8;
    const { doorbellStride, maxQueueEntries } = this.registers.capabilities.readFields();
    this.#stride = doorbellStride;
    this.#maxEntries = maxQueueEntries + 1;
    this.#power = new Power(bar, this.registers);
    this.#pool = new DmaPool(space);
    this.#vectors = vectors;
    this.#recovery = new Recovery(this, this.#timeout);
    this.#adminMemory = adminMemory;
    this.#adminQueue = this.#commandQueue(0, adminMemory, vectors[0]);
    this.admin = new AdminCommands(this.#adminQueue, this.#pool);
    device.on('request', this.#onRequest);
  }

  /**
   * Resets the controller of an open device and makes it ready for commands. The device stays the
   * caller's, who closes it after the controller.
   *
   * @throws NvmeError also for a device that is no NVMe controller, which is left as it is
   */
  static async start(device: VfioDevice, options: ControllerOptions = {}): Promise<Controller> {
    requireNvme(device);
    const space = device.createIoas();
    await device.attach(space);
    // Without this no DMA happens, nor any message of an interrupt; and nothing says so.
    device.pci.setBusMaster(true);
    const bar = device.region('bar0').map();
    const adminMemory = await QueueMemory.allocate(space, adminEntries);
    const { vectors: count = 0 } = options;
    const vectors = count > 0 ? await device.interrupt('msix').enable(count) : [];
    const parts = { device, space, bar, adminMemory, vectors, options };
    const controller = new Controller(parts);
    try {
      await controller.#begin();
    } catch (error) {
      await controller.fail(new NvmeError('closed', 'the controller could not be started'));
      await controller.close();
      throw error;
    }
    return controller;
  }

  /** What it says of itself. */
  get info(): ControllerInfo {
    if (!this.#info) throw new NvmeError('closed', 'the controller was not started');
    return this.#info;
  }

  /** Why it is of no use any more. */
  get failure(): NvmeError | undefined {
    return this.#failure;
  }

  /** How many I/O queues there can be at a time. */
  get ioQueueCount(): number {
    return this.#queueCount;
  }

  /** How many entries a queue can have; one fewer commands. */
  get maxEntries(): number {
    return this.#maxEntries;
  }

  get isResetting(): boolean {
    return this.#resetting !== undefined;
  }

  /** A namespace, with an I/O queue of its own. */
  async openNamespace(id = 1, entries = 64): Promise<Namespace> {
    const info = await this.identifyNamespace(id);
    return new Namespace(info, await this.createQueue(entries), this.info.maxTransfer);
  }

  /** @throws NvmeError also where the namespace has no blocks: it is not there */
  async identifyNamespace(id: number): Promise<NamespaceInfo> {
    const info = await this.admin.identifyNamespace(id);
    if (info.blocks > 0) return info;
    throw new NvmeError('status', `there is no namespace ${id}`);
  }

  /** Makes an I/O queue, which has room for `entries` - 1 commands. */
  async createQueue(entries: number): Promise<IoQueue> {
    const { id, memory } = await this.#reserve(entries);
    const vector = this.#vectors[id];
    const commands = this.#commandQueue(id, memory, vector);
    this.#queues.set(id, { id, memory, vector, commands });
    await this.admin.createQueue(id, memory, vector?.index);
    return new IoQueue(commands, memory.prps);
  }

  /**
   * Makes an I/O queue that the caller drives alone, by looking at its rings: random_reads.ts. After
   * a reset it is gone ({@link takeBack} it then, too).
   */
  async driveQueue(entries: number): Promise<DrivenQueue> {
    const { id, memory } = await this.#reserve(entries);
    const vector = this.#vectors[id];
    this.#lent.set(id, memory);
    await this.admin.createQueue(id, memory, vector?.index);
    const pair = new QueuePair(this.bar, id, this.#stride, memory.buffer, entries);
    return { id, pair, prps: memory.prps, vector };
  }

  /** Makes an I/O queue for a worker, which drives it without this thread: lent_queue.ts. */
  async lendQueue(entries: number): Promise<LentQueue> {
    const { id, memory } = await this.#reserve(entries);
    this.#lent.set(id, memory);
    await this.admin.createQueue(id, memory, undefined);
    const { iova, buffer } = memory;
    const shared = { bar: this.bar.share(), memory: buffer.share() };
    return { id, entries, iova, stride: this.#stride, timeout: this.#timeout, ...shared };
  }

  /** Takes a queue back from who drove it, who uses it no more. */
  async takeBack(id: number): Promise<void> {
    const memory = this.#lent.get(id);
    if (!memory) throw new NvmeError('closed', `nobody drives queue ${id}`);
    await this.admin.deleteQueue(id);
    this.#lent.delete(id);
    this.#numbers.delete(id);
    await memory.buffer.dispose();
  }

  /**
   * Resets it in whatever it is doing: commands under way end with an error, those that come
   * meanwhile wait, and the queues are there again afterwards.
   */
  async reset(): Promise<void> {
    this.#resetting ??= this.#resetOrFail();
    await this.#resetting;
  }

  /** Ends all commands with this error, for good. Where the device answers, it is switched off first. */
  async fail(error: NvmeError): Promise<void> {
    this.#failing ??= this.#fail(error);
    await this.#failing;
  }

  async #fail(error: NvmeError): Promise<void> {
    if (this.#failure) return;
    this.#failure = error;
    for (const { commands } of this.#all()) commands.pause();
    // Commands may write to memory until the controller is off, or not there.
    await this.#tryOff();
    for (const { commands } of this.#all()) commands.end(error);
    this.#loseLent();
    this.emit('failed', error);
  }

  /** Shuts it down, and gives back everything but the device. */
  async close(): Promise<void> {
    this.device.off('request', this.#onRequest);
    // Whether that succeeds or not is told to who asked for it.
    await this.#resetting?.catch(() => undefined);
    await this.#failing;
    if (!this.#failure) {
      this.#failure = new NvmeError('closed', 'the controller was closed');
      await this.#switchOff(() => this.#power.shutDown());
      for (const { commands } of this.#all()) commands.end(this.#failure);
    }
    if (this.#vectors.length > 0) await this.device.interrupt('msix').disable();
    for (const memory of [this.#adminMemory, ...this.#memories()]) await memory.buffer.dispose();
    await this.#pool.close();
    await this.bar.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #begin(): Promise<void> {
    await this.#power.off();
    await this.#power.on(this.#adminMemory);
    this.#info = await this.admin.identifyController();
    this.#queueCount = await this.admin.askForQueues(this.#queueCount);
    await this.admin.setFeature(feature.asyncEvents, healthEvents);
    this.#listen();
  }

  async #resetOrFail(): Promise<void> {
    if (this.#failure) throw this.#failure;
    try {
      await this.#reset();
    } catch (error) {
      await this.fail(new NvmeError('reset', 'the controller could not be reset'));
      throw error;
    } finally {
      this.#resetting = undefined;
    }
  }

  async #reset(): Promise<void> {
    const queues = this.#all();
    for (const { commands } of queues) commands.pause();
    await this.#power.off();
    const error = new NvmeError('reset', 'the controller was reset');
    for (const { commands } of queues) commands.drop(error);
    this.#loseLent();
    await this.#power.on(this.#adminMemory);
    this.#adminQueue.resume();
    this.#queueCount = await this.admin.askForQueues(this.#queueCount);
    await this.admin.setFeature(feature.asyncEvents, healthEvents);
    for (const { id, memory, vector, commands } of this.#queues.values()) {
      await this.admin.createQueue(id, memory, vector?.index);
      commands.resume();
    }
    this.#listen();
    this.emit('reset');
  }

  /** What was lent does not come back with a reset: its worker has commands that never end. */
  #loseLent(): void {
    for (const id of this.#lent.keys()) this.emit('lost', id);
  }

  /**
   * Switches it off where it can be. A device that does not answer (EIO), or does not become off in
   * its time, is kept from memory by the command register, and by the bus where it is gone.
   */
  async #tryOff(): Promise<void> {
    await this.#switchOff(() => this.#power.off());
  }

  /** A device may be gone before anything has told of it. */
  async #switchOff(how: () => Promise<void>): Promise<void> {
    try {
      await how();
    } catch (error) {
      if (!(error instanceof VfioError)) throw error;
      this.#stopDma();
    }
  }

  #stopDma(): void {
    try {
      this.device.pci.setBusMaster(false);
    } catch (error) {
      // Its configuration space answers no more either.
      if (!(error instanceof VfioError)) throw error;
    }
  }

  #commandQueue(
    id: number,
    memory: QueueMemory,
    vector: InterruptVector | undefined,
  ): CommandQueue {
    const pair = new QueuePair(this.bar, id, this.#stride, memory.buffer, memory.entries);
    const onTimeout = (queue: CommandQueue, request: Request): void => {
      void this.#recovery.recover(queue, request);
    };
    const onStray = ({ pair: { id: queue } }: CommandQueue, stray: number): void => {
      void this.fail(strayError(queue, stray));
    };
    const timeout = this.#timeout;
    const options: CommandQueueOptions = { timeout, polled: !vector, onTimeout, onStray };
    const commands = new CommandQueue(pair, options);
    vector?.on('interrupt', () => {
      commands.reap();
    });
    return commands;
  }

  /** Asks for an event, and again when one came. */
  #listen(): void {
    this.admin.nextEvent().then(
      (event) => {
        this.#listen();
        this.emit('event', event);
      },
      () => {
        // Reset, closed, removed: whoever did that begins again, or does not.
      },
    );
  }

  *#memories(): Iterable<QueueMemory> {
    for (const { memory } of this.#queues.values()) yield memory;
    yield* this.#lent.values();
  }

  #all(): { commands: CommandQueue }[] {
    return [{ commands: this.#adminQueue }, ...this.#queues.values()];
  }

  async #reserve(entries: number): Promise<{ id: number; memory: QueueMemory }> {
    if (!Number.isInteger(entries) || entries < 2 || entries > this.#maxEntries) {
      throw new RangeError(`a queue has 2 to ${this.#maxEntries} entries, not ${entries}`);
    }
    const id = this.#freeNumber();
    this.#numbers.add(id);
    return { id, memory: await QueueMemory.allocate(this.space, entries) };
  }

  #freeNumber(): number {
    for (let id = 1; id <= this.#queueCount; id++) if (!this.#numbers.has(id)) return id;
    throw new NvmeError('status', `the controller gives ${this.#queueCount} I/O queues`);
  }
}

function requireNvme(device: VfioDevice): void {
  const { class: code, responds } = device.pci.readConfig();
  if (!responds) throw new NvmeError('removed', 'the device does not answer');
  if (code === nvmeClass) return;
  const text = (value: number): string => value.toString(16).padStart(6, '0');
  throw new NvmeError(
    'status',
    `${device.device.address} is no NVMe controller: its class is ${text(code)}, not ${text(nvmeClass)}`,
  );
}
