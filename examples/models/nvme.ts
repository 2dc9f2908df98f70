/**
 * A model of an NVMe controller over `vfio/testing`, as small as the driver of examples/nvme lets it
 * be: what tests of a driver need of one (NVM Express Base Specification 2.0).
 */
import { DmaFault, type FakeDeviceOptions, type FakeHost } from 'vfio/testing';

type Host = Pick<FakeHost, 'addDevice'>;
type Device = ReturnType<Host['addDevice']>;

export interface NvmeModelOptions extends FakeDeviceOptions {
  serial?: string;
  /** Bytes of its one namespace; a MiB without this. */
  size?: number;
  /** Whether it aborts commands that are held, as it is asked to; true without this. */
  aborts?: boolean;
}

/** A ring of submissions or completions. */
interface Ring {
  iova: bigint;
  entries: number;
  head: number;
  tail: number;
}

interface CompletionQueue extends Ring {
  vector: number | undefined;
  phase: number;
}

interface SubmissionQueue extends Ring {
  id: number;
  completions: number;
}

/** A command, and where its completion goes. */
interface Command {
  queue: SubmissionQueue;
  id: number;
  opcode: number;
  words: DataView;
}

/** What became of a command; undefined: it is not over. */
type Outcome = { status: number; result?: number } | undefined;

const page = 4096;
const blockSize = 512;
const [CAP, VS, CC, CSTS, AQA, ASQ, ACQ, DOORBELLS] = [
  0, 0x08, 0x14, 0x1c, 0x24, 0x28, 0x30, 0x1000,
];
const temperature = 323;

const status = {
  done: 0,
  unknownOpcode: 0x001,
  badField: 0x002,
  transfer: 0x004,
  aborted: 0x007,
  badNamespace: 0x00b,
  outside: 0x080,
  badQueue: 0x101,
  badVector: 0x108,
} as const;

export class NvmeModel {
  readonly device: Device;
  /** What is on its disk. */
  readonly disk: Uint8Array;
  readonly #serial: string;
  readonly #aborts: boolean;
  readonly #vectors: number;
  readonly #submissions = new Map<number, SubmissionQueue>();
  readonly #completions = new Map<number, CompletionQueue>();
  /** Commands of I/O queues that are held. */
  #held: Command[] | undefined;
  /** Event requests, which wait for events. */
  #waiting: Command[] = [];
  /** An event was told, and its log page was not read. */
  #isMasked = false;
  #hasEvent = false;
  /** How many I/O commands were completed. */
  completed = 0;

  constructor(
    host: Host,
    {
      serial = 'model',
      size = 2 ** 20,
      aborts = true,
      msix = 65,
      ...options
    }: NvmeModelOptions = {},
  ) {
    this.#serial = serial;
    this.#aborts = aborts;
    this.#vectors = msix;
    this.disk = new Uint8Array(size);
    this.device = host.addDevice({
      vendor: 0x1b36,
      device: 0x0010,
      classCode: 0x010802,
      msix,
      msixTable: { bar: 'bar0', offset: 0x2000 },
      bars: {
        bar0: {
          size: 0x4000,
          wide: true,
          write: (offset, value) => {
            this.#write(offset, value);
          },
        },
      },
      onReset: () => {
        this.#off();
        this.#setCapabilities();
      },
      ...options,
    });
    this.#setCapabilities();
  }

  get #registers(): DataView {
    return this.device.bar('bar0').view;
  }

  /** Commands of I/O queues are not completed any more, until {@link release}. */
  hold(): void {
    this.#held ??= [];
  }

  /** Completes what was held, and what comes. */
  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const command of held) this.#finish(command, this.#runIo(command));
  }

  /** 2,048 entries, contiguous queues, ready within 500 ms; version 1.4. */
  #setCapabilities(): void {
    this.#registers.setUint32(CAP, 0x0101_07ff, true);
    this.#registers.setUint32(CAP + 4, 0x20, true);
    this.#registers.setUint32(VS, 0x0001_0400, true);
  }

  #write(offset: number, value: number): void {
    if (offset === CC) this.#configure(value);
    else if (offset >= DOORBELLS && offset < DOORBELLS + 0x1000)
      this.#doorbell((offset - DOORBELLS) >> 2, value);
    // What is read only, and was written all the same.
    else if (offset < CC) this.#setCapabilities();
  }

  #configure(value: number): void {
    const shutdown = ((value >> 14) & 3) !== 0 ? 0b1000 : 0;
    if ((value & 1) === 0) this.#off();
    else if (this.#submissions.size === 0) this.#on();
    this.#registers.setUint32(CSTS, (value & 1) | shutdown, true);
  }

  #on(): void {
    const sizes = this.#registers.getUint32(AQA, true);
    const ring = (at: number, entries: number): Ring => {
      const iova = this.#registers.getBigUint64(at, true);
      return { iova, entries: (entries & 0xfff) + 1, head: 0, tail: 0 };
    };
    this.#submissions.set(0, { ...ring(ASQ, sizes), id: 0, completions: 0 });
    const vector = this.#vectors > 0 ? 0 : undefined;
    this.#completions.set(0, { ...ring(ACQ, sizes >> 16), vector, phase: 1 });
  }

  #off(): void {
    this.#submissions.clear();
    this.#completions.clear();
    this.#waiting = [];
    this.#isMasked = this.#hasEvent = false;
    if (this.#held) this.#held = [];
    this.#registers.setUint32(CSTS, 0, true);
  }

  #doorbell(index: number, value: number): void {
    const ring = (index & 1) === 0 ? this.#submissions : this.#completions;
    const queue = ring.get(index >> 1);
    if (queue === undefined) return;
    if ('phase' in queue) {
      queue.head = value;
      return;
    }
    queue.tail = value;
    this.#fetch(queue);
  }

  #fetch(queue: SubmissionQueue): void {
    while (queue.head !== queue.tail && this.#submissions.get(queue.id) === queue) {
      const bytes = this.device.readMemory(queue.iova + BigInt(queue.head * 64), 64);
      queue.head = (queue.head + 1) % queue.entries;
      const words = new DataView(bytes.buffer);
      const command = { queue, id: words.getUint16(2, true), opcode: words.getUint8(0), words };
      if (queue.id === 0)
        this.#finish(
          command,
          this.#guarded(() => this.#runAdmin(command)),
        );
      else if (this.#held) this.#held.push(command);
      else this.#finish(command, this.#runIo(command));
    }
  }

  #finish({ queue, id }: Command, outcome: Outcome): void {
    if (outcome === undefined) return;
    const ring = this.#completions.get(queue.completions);
    if (ring === undefined || this.#submissions.get(queue.id) !== queue) return;
    const entry = new DataView(new ArrayBuffer(16));
    entry.setUint32(0, outcome.result ?? 0, true);
    entry.setUint16(8, queue.head, true);
    entry.setUint16(10, queue.id, true);
    entry.setUint16(12, id, true);
    entry.setUint16(14, (outcome.status << 1) | ring.phase, true);
    this.device.writeMemory(ring.iova + BigInt(ring.tail * 16), new Uint8Array(entry.buffer));
    ring.tail = (ring.tail + 1) % ring.entries;
    if (ring.tail === 0) ring.phase ^= 1;
    if (queue.id > 0) this.completed++;
    if (ring.vector !== undefined) this.device.interrupt('msix', ring.vector);
  }

  #guarded(run: () => Outcome): Outcome {
    try {
      return run();
    } catch (error) {
      if (error instanceof DmaFault) return { status: status.transfer };
      throw error;
    }
  }

  #runIo(command: Command): Outcome {
    return this.#guarded(() => this.#transfer(command));
  }

  #transfer({ opcode, words }: Command): Outcome {
    if (opcode === 0) return { status: status.done };
    if (opcode > 2) return { status: status.unknownOpcode };
    if (words.getUint32(4, true) !== 1) return { status: status.badNamespace };
    const start = Number(words.getBigUint64(40, true)) * blockSize;
    const length = (words.getUint16(48, true) + 1) * blockSize;
    if (start + length > this.disk.length) return { status: status.outside };
    let at = start;
    for (const [iova, bytes] of this.#pages(words, length)) {
      const part = this.disk.subarray(at, at + bytes);
      if (opcode === 1) part.set(this.device.readMemory(iova, bytes));
      else this.device.writeMemory(iova, part);
      at += bytes;
    }
    return { status: status.done };
  }

  /** Where the data is: one page, two, or a list of one page. */
  *#pages(words: DataView, length: number): Generator<[iova: bigint, bytes: number]> {
    const prp1 = words.getBigUint64(24, true);
    const prp2 = words.getBigUint64(32, true);
    const first = Math.min(length, page - Number(prp1 % BigInt(page)));
    yield [prp1, first];
    const left = length - first;
    if (left <= 0) return;
    if (left <= page) {
      yield [prp2, left];
      return;
    }
    const count = Math.ceil(left / page);
    const list = new DataView(this.device.readMemory(prp2, count * 8).buffer);
    for (let at = 0; at < count; at++) {
      yield [list.getBigUint64(at * 8, true), Math.min(page, left - at * page)];
    }
  }

  #runAdmin(command: Command): Outcome {
    const { opcode, words } = command;
    const cdw10 = words.getUint32(40, true);
    const cdw11 = words.getUint32(44, true);
    if (opcode === 0x00) return this.#delete(this.#submissions, cdw10 & 0xffff);
    if (opcode === 0x04) return this.#delete(this.#completions, cdw10 & 0xffff);
    if (opcode === 0x01 || opcode === 0x05) return this.#create(opcode, words, cdw10, cdw11);
    if (opcode === 0x02) return this.#log(words);
    if (opcode === 0x06) return this.#identify(words, cdw10 & 0xff);
    if (opcode === 0x08) return this.#abort(cdw10);
    if (opcode === 0x09) return this.#setFeature(cdw10 & 0xff, cdw11);
    if (opcode === 0x0c) return this.#awaitEvent(command);
    return { status: status.unknownOpcode };
  }

  #create(opcode: number, words: DataView, cdw10: number, cdw11: number): Outcome {
    const id = cdw10 & 0xffff;
    const iova = words.getBigUint64(24, true);
    const ring = { iova, entries: (cdw10 >>> 16) + 1, head: 0, tail: 0 };
    if (opcode === 0x05) {
      const vector = (cdw11 & 2) === 0 ? undefined : cdw11 >>> 16;
      if (vector !== undefined && vector >= this.#vectors) return { status: status.badVector };
      this.#completions.set(id, { ...ring, vector, phase: 1 });
    } else {
      if (!this.#completions.has(cdw11 >>> 16)) return { status: 0x100 };
      this.#submissions.set(id, { ...ring, id, completions: cdw11 >>> 16 });
    }
    return { status: status.done };
  }

  #delete(queues: Map<number, Ring>, id: number): Outcome {
    return { status: id > 0 && queues.delete(id) ? status.done : status.badQueue };
  }

  #identify(words: DataView, structure: number): Outcome {
    const bytes = new Uint8Array(page);
    const view = new DataView(bytes.buffer);
    const namespace = words.getUint32(4, true);
    const text = (at: number, length: number, value: string): void => {
      bytes.set(new TextEncoder().encode(value.padEnd(length)), at);
    };
    if (structure === 1) {
      text(4, 20, this.#serial);
      text(24, 40, 'Model NVMe Ctrl');
      text(64, 8, '1');
      // 512 KiB a command; four aborts and four event requests; one namespace; a write cache.
      bytes[77] = 7;
      bytes[258] = bytes[259] = 3;
      view.setUint32(516, 1, true);
      bytes[525] = 1;
    } else if (structure === 0 && namespace === 1) {
      view.setBigUint64(0, BigInt(this.disk.length / blockSize), true);
      bytes[130] = Math.log2(blockSize);
    } else if (structure === 2) {
      view.setUint32(0, 1, true);
    } else if (structure !== 0) {
      return { status: status.badField };
    }
    this.#answer(words, bytes);
    return { status: status.done };
  }

  #answer(words: DataView, bytes: Uint8Array): void {
    let at = 0;
    for (const [iova, length] of this.#pages(words, bytes.length)) {
      this.device.writeMemory(iova, bytes.subarray(at, at + length));
      at += length;
    }
  }

  /** SMART, the one page that it has. */
  #log(words: DataView): Outcome {
    const bytes = new Uint8Array((words.getUint16(42, true) + 1) * 4);
    new DataView(bytes.buffer).setUint16(1, temperature, true);
    this.#answer(words, bytes);
    this.#isMasked = false;
    this.#tellEvent();
    return { status: status.done };
  }

  #abort(cdw10: number): Outcome {
    const [queue, id] = [cdw10 & 0xffff, cdw10 >>> 16];
    const held = this.#aborts ? this.#held : undefined;
    const at = held?.findIndex((each) => each.queue.id === queue && each.id === id) ?? -1;
    const command = at < 0 ? undefined : held?.splice(at, 1)[0];
    if (command) this.#finish(command, { status: status.aborted });
    return { status: status.done, result: command ? 0 : 1 };
  }

  #setFeature(which: number, value: number): Outcome {
    if (which === 0x07) return { status: status.done, result: 0x0007_0007 };
    if (which === 0x04 && (value & 0xffff) <= temperature) {
      this.#hasEvent = true;
      queueMicrotask(() => {
        this.#tellEvent();
      });
    }
    return { status: status.done };
  }

  #awaitEvent(command: Command): Outcome {
    this.#waiting.push(command);
    this.#tellEvent();
    return undefined;
  }

  /** The temperature is beyond its threshold: type 1, information 1, log page 2. */
  #tellEvent(): void {
    const [command] = this.#waiting;
    if (!this.#hasEvent || this.#isMasked || command === undefined) return;
    this.#waiting.shift();
    this.#hasEvent = false;
    this.#isMasked = true;
    this.#finish(command, { status: status.done, result: 0x0002_0101 });
  }
}
