import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { closeSync, openSync, writeSync } from 'node:fs';
import { createInterface } from 'node:readline';

/** What QEMU reports unasked, for example that a device has gone. */
export interface QmpEvent {
  event: string;
  data: Record<string, unknown>;
}

interface Answer {
  id?: unknown;
  return?: unknown;
  error?: { class: string; desc: string };
}

/** QEMU said no. */
class QmpError extends Error {
  override readonly name: string = 'QmpError';
}

/**
 * The monitor of the QEMU that this guest runs in, for tests that unplug devices under themselves.
 * One program at a time can have it: the port can be opened once.
 */
export class Qmp {
  readonly #fd: number;
  readonly #reader: ChildProcess;
  readonly #answers = new EventEmitter();
  readonly #arrivals = new EventEmitter();
  readonly #events: QmpEvent[] = [];
  #greeted = false;

  private constructor(path: string) {
    this.#fd = openSync(path, 'r+');
    // A child reads, because a read of our own that waits would keep Node from ever exiting.
    this.#reader = spawn('cat', [], { stdio: [this.#fd, 'pipe', 'inherit'] });
    if (!this.#reader.stdout) throw new Error('spawn made no pipe');
    createInterface({ input: this.#reader.stdout }).on('line', (line) => {
      this.#receive(line);
    });
  }

  static async connect(path: string = process.env['VFIO_LAB_QMP'] ?? ''): Promise<Qmp> {
    const qmp = new Qmp(path);
    try {
      // The connection outlives its users: for all but the first, this has been done before, and
      // what is left of their answers comes first.
      await qmp.execute('qmp_capabilities').catch(ignoreRefusal);
    } catch (error) {
      await qmp.close();
      throw error;
    }
    qmp.#greeted = true;
    return qmp;
  }

  async execute(command: string, args: Record<string, unknown> = {}): Promise<unknown> {
    const id = randomUUID();
    const answered = once(this.#answers, id) as Promise<[Answer]>;
    writeSync(this.#fd, `${JSON.stringify({ execute: command, arguments: args, id })}\n`);
    const [answer] = await answered;
    if (answer.error) throw new QmpError(`${command}: ${answer.error.desc}`);
    return answer.return;
  }

  /** Waits for an event, which may have come at any time since the connection was made. */
  async event(name: string, matches: (event: QmpEvent) => boolean = () => true): Promise<QmpEvent> {
    for (;;) {
      const found = this.#events.find((one) => one.event === name && matches(one));
      if (found) return found;
      await once(this.#arrivals, 'event');
    }
  }

  async close(): Promise<void> {
    this.#reader.kill();
    if (this.#reader.exitCode === null && this.#reader.signalCode === null) {
      await once(this.#reader, 'exit');
    }
    closeSync(this.#fd);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #receive(line: string): void {
    const message = this.#parse(line);
    if (typeof message !== 'object' || message === null) return;
    if ('id' in message && typeof message.id === 'string') {
      this.#answers.emit(message.id, message);
    } else if (this.#greeted && 'event' in message) {
      this.#events.push(message as QmpEvent);
      this.#arrivals.emit('event');
    }
  }

  #parse(line: string): unknown {
    try {
      return JSON.parse(line);
    } catch (error) {
      // The first line may be the second half of what went to the port's last user.
      if (this.#greeted) throw error;
      return undefined;
    }
  }
}

function ignoreRefusal(error: unknown): void {
  if (!(error instanceof QmpError)) throw error;
}
