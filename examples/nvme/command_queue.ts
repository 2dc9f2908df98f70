import { type Command, encode } from './commands.ts';
import type { QueuePair } from './queue.ts';
import { NvmeError, statusError } from './status.ts';

/** A command under way. */
export interface Request {
  /** For errors: `read of 8 blocks at 0`. */
  readonly what: string;
  /** When it has taken too long; Infinity for what may take for ever. */
  readonly deadline: number;
  late: boolean;
  resolve(result: number): void;
  reject(error: Error): void;
}

export interface CommandQueueOptions {
  /** Milliseconds that a command may take. */
  timeout: number;
  /** Asks again and again while anything is under way; otherwise somebody calls `reap` (MSI-X). */
  polled: boolean;
  /** A command takes too long. It stays under way, and its memory the device's, until it ends. */
  onTimeout(queue: CommandQueue, request: Request): void;
  /** The controller completed a command that is not under way: somebody else uses the rings. */
  onStray(queue: CommandQueue, id: number): void;
}

/** Milliseconds between two looks for what may take for ever, where nothing else is under way. */
const idle = 50;

/**
 * The commands of a queue pair as promises. What a command costs here is a promise and some objects:
 * bench.ts shows the way without them.
 */
export class CommandQueue {
  readonly pair: QueuePair;
  readonly #options: CommandQueueOptions;
  readonly #requests: (Request | undefined)[];
  /** Identifiers that no command has. */
  readonly #free: number[];
  /** Who waits for an identifier. */
  #waiting: { go: () => void; stop: (error: Error) => void }[] = [];
  #paused = false;
  #ended: Error | undefined;
  #ringing = false;
  #spinning = false;
  /** The next look for what may take for ever. */
  #idleTimer: NodeJS.Timeout | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(pair: QueuePair, options: CommandQueueOptions) {
    this.pair = pair;
    this.#options = options;
    this.#requests = new Array<undefined>(pair.entries).fill(undefined);
    this.#free = Array.from({ length: pair.entries - 1 }, (_, id) => id).reverse();
  }

  /**
   * Runs a command and answers its result, the first word of its completion.
   *
   * @param build - makes the command, for the identifier that it gets; it does not throw
   * @throws NvmeError
   */
  async run(
    what: string,
    build: (id: number) => Command,
    timeout: number = this.#options.timeout,
  ): Promise<number> {
    while (this.#paused || this.#free.length === 0) await this.#turnComes();
    if (this.#ended) throw this.#ended;
    // From here to the doorbell nothing waits: a reset finds a command under way, or none.
    const id = this.#free.pop() ?? 0;
    return await new Promise((resolve, reject) => {
      encode(this.pair.submissions, this.pair.next, id, build(id));
      const deadline = performance.now() + timeout;
      this.#requests[id] = { what, deadline, late: false, resolve, reject };
      this.pair.push();
      this.#ringSoon();
      if (this.#options.polled) this.#poll();
      if (timeout !== Infinity) this.#watch();
    });
  }

  /** Takes what was completed. */
  reap(): void {
    try {
      // The look that finds nothing has told the controller of what those before it took.
      while (this.pair.look(this.#take) > 0);
    } catch (error) {
      this.#gone(error);
    }
  }

  isUnderWay(request: Request): boolean {
    return this.#requests.includes(request);
  }

  /** The identifier of a command under way. */
  idOf(request: Request): number {
    return this.#requests.indexOf(request);
  }

  /** Begins no more commands until {@link resume}: those that come wait. */
  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#wake();
  }

  /**
   * Ends what is under way and empties the rings. Only for a controller that is off: before that
   * the memory of a command is the device's.
   */
  drop(error: NvmeError): void {
    this.pair.clear();
    this.#rejectAll(error);
  }

  /** Begins no command any more, and ends those under way. */
  end(error: NvmeError): void {
    this.#ended ??= error;
    clearTimeout(this.#timer);
    clearTimeout(this.#idleTimer);
    this.#rejectAll(error);
    for (const { stop } of this.#waiting.splice(0)) stop(error);
  }

  #rejectAll(error: NvmeError): void {
    const rejected = this.#requests.splice(0);
    this.#requests.length = this.pair.entries;
    this.#free.splice(0);
    for (let id = this.pair.entries - 2; id >= 0; id--) this.#free.push(id);
    for (const request of rejected) request?.reject(this.#errorOf(request, error));
  }

  readonly #take = (id: number, status: number, result: number): void => {
    const request = this.#requests[id];
    // What a controller says is not trusted with more than an index.
    if (!request) {
      this.#options.onStray(this, id);
      return;
    }
    this.#requests[id] = undefined;
    this.#free.push(id);
    if (status === 0) request.resolve(result);
    else request.reject(statusError(request.what, status));
    this.#wake();
  };

  async #turnComes(): Promise<void> {
    if (this.#ended) throw this.#ended;
    await new Promise<void>((go, stop) => this.#waiting.push({ go, stop }));
  }

  #wake(): void {
    if (!this.#paused) for (const { go } of this.#waiting.splice(0, this.#free.length)) go();
  }

  /** All that is pushed before JavaScript comes to rest goes by one doorbell. */
  #ringSoon(): void {
    if (this.#ringing) return;
    this.#ringing = true;
    queueMicrotask(() => {
      this.#ringing = false;
      this.#ring();
    });
  }

  #ring(): void {
    try {
      if (!this.#ended) this.pair.ring();
    } catch (error) {
      this.#gone(error);
    }
  }

  /**
   * The device is not there any more, or its memory: then what is under way cannot be told of better.
   * Rings and looks are made by timers and microtasks, whose errors nobody could catch.
   */
  #gone(cause: unknown): void {
    this.end(new NvmeError('removed', 'the device does not answer', 0, { cause }));
  }

  /**
   * Looks once in each turn of the event loop while a command is under way that ends soon. What may
   * take for ever, as a request for events, is looked for now and then: it is no reason to keep a
   * processor busy, nor the program running.
   */
  #poll(): void {
    if (this.#requests.some((request) => request && request.deadline !== Infinity)) this.#spin();
    else if (this.#requests.some((request) => request !== undefined)) this.#idle();
  }

  #spin(): void {
    if (this.#spinning) return;
    this.#spinning = true;
    setImmediate(this.#turn);
  }

  #idle(): void {
    if (this.#idleTimer) return;
    this.#idleTimer = setTimeout(this.#turn, idle);
    this.#idleTimer.unref();
  }

  readonly #turn = (): void => {
    this.#spinning = false;
    clearTimeout(this.#idleTimer);
    this.#idleTimer = undefined;
    if (this.#ended) return;
    this.reap();
    this.#poll();
  };

  /** One timer for all commands: each but a few ends long before its time. */
  #watch(): void {
    if (this.#timer) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#ended) return;
      // It may be done, and its interrupt on the way.
      this.reap();
      this.#findLate();
    }, this.#options.timeout / 2);
    this.#timer.unref();
  }

  #findLate(): void {
    const now = performance.now();
    for (const request of this.#requests) {
      if (request === undefined || request.deadline === Infinity) continue;
      if (!request.late && request.deadline <= now) {
        request.late = true;
        this.#options.onTimeout(this, request);
      }
      this.#watch();
    }
  }

  #errorOf({ late, what }: Request, error: NvmeError): NvmeError {
    const { cause } = error;
    if (late) {
      return new NvmeError('timeout', `${what}: it took too long: ${error.message}`, 0, { cause });
    }
    return new NvmeError(error.code, `${what}: ${error.message}`, 0, { cause });
  }
}
