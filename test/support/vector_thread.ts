import assert from 'node:assert/strict';
import { Worker } from 'node:worker_threads';
import type { SharedToken } from '../../lib/index.ts';

interface Message {
  value?: unknown;
  code?: string;
  told?: number;
  over?: boolean;
}

/** Another thread, which runs test/support/vector_worker.ts or interrupt_worker.ts. */
export class VectorThread {
  readonly worker: Worker;
  readonly #messages: Message[] = [];
  #wake: (() => void) | undefined;

  constructor(worker: Worker) {
    this.worker = worker;
    worker.on('message', (message: Message) => {
      this.#messages.push(message);
      this.#wake?.();
    });
  }

  /** Has what was shared in it. */
  static async of<Token extends SharedToken>(
    token: Token,
    start: (token: Token) => Worker,
  ): Promise<VectorThread> {
    const thread = new VectorThread(start(token));
    assert.equal(await thread.next('value'), 'ready');
    return thread;
  }

  /** The next message that is of one of the kinds. */
  async #message(...names: (keyof Message)[]): Promise<Message> {
    for (;;) {
      const at = this.#messages.findIndex((message) => names.some((name) => name in message));
      const [found] = at >= 0 ? this.#messages.splice(at, 1) : [];
      if (found) return found;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** What the next message of the kind says. */
  async next(name: keyof Message): Promise<unknown> {
    return (await this.#message(name))[name];
  }

  /** What came of an order, or the code of its error. */
  async does(order: string, argument?: number | string): Promise<unknown> {
    this.worker.postMessage([order, argument]);
    return this.next('value');
  }

  async fails(order: string, argument?: number | string): Promise<unknown> {
    this.worker.postMessage([order, argument]);
    return this.next('code');
  }

  /** Repeats an order until it fails with the code. */
  async until(order: string, code: string): Promise<void> {
    for (;;) {
      this.worker.postMessage([order]);
      if ((await this.#message('value', 'code')).code === code) return;
    }
  }

  /** Resolves when so many were told to it in all. */
  async hears(total: number): Promise<void> {
    while ((await this.next('told')) !== total);
  }
}
