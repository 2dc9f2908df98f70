import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { Iommufd, openCdev, qemuArguments, type QemuProperties } from '../../lib/index.ts';
import type { TestDevice } from './devices.ts';

/** What a guest is booted with; test/lab/vmm.test.ts makes it. */
const { VFIO_TEST_QEMU: qemu, VFIO_TEST_GUEST: system } = process.env;

/** Whether there is a QEMU, and a system for it. */
export const hasQemuGuest: boolean = qemu !== undefined && system !== undefined;

/** The number that the first passed descriptor has in QEMU: behind the serial line and the monitor. */
const firstFd = 5;

/** Parameters of the guest's kernel, whose processor is emulated by an emulated one. */
const forEmulation = [
  'mitigations=off',
  // It is late for what the kernel tries its timer by.
  'no_timer_check',
  // SVM as QEMU emulates it lets an interrupt come between sti and hlt (docs/lab.md): what
  // it wakes would sleep until the next one.
  'idle=poll',
];

interface Message {
  event?: string;
  data?: Record<string, unknown>;
  return?: unknown;
  error?: { desc: string };
}

/** Of each device that a guest has: where it is plugged in, and its id. */
export const passed: readonly [QemuProperties, QemuProperties] = [
  { id: 'passed0', bus: 'port0' },
  { id: 'passed1', bus: 'port1' },
];

/** A guest of QEMU's on KVM that has passed devices: Linux with a shell on its serial line. */
export class QemuGuest implements AsyncDisposable {
  static readonly #running = new Set<ChildProcess>();
  readonly #child: ChildProcess;
  readonly #exit: Promise<string>;
  readonly #line: Readable & Writable;
  readonly #monitor: Writable;
  readonly #arrivals = new EventEmitter();
  readonly #messages: Message[] = [];
  #printed = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
    QemuGuest.#running.add(child);
    this.#exit = once(child, 'exit').then(([status, signal]) => {
      QemuGuest.#running.delete(child);
      return String(status ?? signal);
    });
    const [line, monitor] = child.stdio.slice(3) as (Readable & Writable)[];
    assert.ok(line && monitor);
    this.#line = line;
    this.#monitor = monitor;
    // Its end is told by its exit.
    for (const stream of [line, monitor]) stream.on('error', ignoreReset);
    line.setEncoding('utf8').on('data', (text: string) => {
      this.#printed += text;
      this.#arrivals.emit('line');
    });
    let rest = '';
    monitor.setEncoding('utf8').on('data', (text: string) => {
      const lines = `${rest}${text}`.split('\n');
      rest = lines.pop() ?? '';
      this.#messages.push(...lines.map((each) => JSON.parse(each) as Message));
      this.#arrivals.emit('message');
    });
  }

  /**
   * Boots one, whose QEMU has nothing but descriptors of the devices.
   *
   * @param spare - devices of which QEMU gets another descriptor, behind those of `devices`, to be
   *   plugged in later
   */
  static async boot(devices: readonly TestDevice[], spare: TestDevice[] = []): Promise<QemuGuest> {
    const [kernel = '', initrd = ''] = (system ?? '').split(':');
    const iommufd = Iommufd.open();
    const cdevs = await Promise.all(devices.map((device) => openCdev(device)));
    const spares = await Promise.all(spare.map((device) => openCdev(device)));
    const properties = passed.slice(0, cdevs.length);
    const { args, fds } = qemuArguments({ cdev: cdevs, iommufd }, { firstFd, properties });
    const ports = passed.flatMap(({ bus }, at) => [
      ...['-device', `pcie-root-port,id=${String(bus)},chassis=${at + 1}`],
    ]);
    // Of `max`, Linux 7.3 saves more of its registers than there is room for, since the emulated
    // processor says two sizes.
    const processor = ['-accel', 'kvm', '-cpu', 'qemu64'];
    const machine = ['-machine', 'q35', ...processor, '-m', '256', '-nodefaults'];
    const streams = ['line,fd=3', 'monitor,fd=4'].flatMap((each) => [
      ...['-chardev', `socket,id=${each}`],
    ]);
    const child = spawn(
      qemu ?? '',
      [
        ...['-no-reboot', '-display', 'none', ...machine, ...streams],
        ...['-serial', 'chardev:line', '-mon', 'chardev=monitor,mode=control'],
        ...['-kernel', kernel, '-initrd', initrd],
        ...['-append', `console=ttyS0 quiet loglevel=1 panic=-1 ${forEmulation.join(' ')}`],
        ...ports,
        ...args,
      ],
      {
        stdio: ['ignore', 'inherit', 'inherit', 'pipe', 'pipe', ...fds, ...spares.map((s) => s.fd)],
      },
    );
    await Promise.all([...cdevs, ...spares, iommufd].map((each) => each.close()));
    const guest = new QemuGuest(child);
    await guest.execute('qmp_capabilities');
    await guest.#printedMark(/^ready\r?\n/m);
    return guest;
  }

  /** Ends those of tests that failed, which would keep the devices and this process. */
  static killAll(): void {
    for (const child of QemuGuest.#running) child.kill('SIGKILL');
  }

  /** The number of QEMU's process. */
  get pid(): number {
    assert.ok(this.#child.pid);
    return this.#child.pid;
  }

  /** Runs a command in the guest's shell; what it printed, where it succeeded. */
  async run(command: string): Promise<string> {
    this.#line.write(`( ${command} ); echo "@$?@"\n`);
    const [all, status] = await this.#printedMark(/@(\d+)@\r?\n/);
    const text = all
      .replaceAll('\r', '')
      .replace(/@\d+@\n$/, '')
      .trim();
    assert.equal(status, '0', `${command}: ${text}`);
    return text;
  }

  /** Everything up to a mark, which is forgotten, and what the mark has in brackets. */
  async #printedMark(mark: RegExp): Promise<[text: string, inMark: string]> {
    for (;;) {
      const found = mark.exec(this.#printed);
      if (found) {
        const end = found.index + found[0].length;
        const text = this.#printed.slice(0, end);
        this.#printed = this.#printed.slice(end);
        return [text, found[1] ?? ''];
      }
      await this.#arrival('line');
    }
  }

  /** Runs a command of QEMU's monitor. */
  async execute(command: string, given: Record<string, unknown> = {}): Promise<unknown> {
    this.#monitor.write(`${JSON.stringify({ execute: command, arguments: given })}\n`);
    const { error, return: value } = await this.#message(
      (each) => 'return' in each || !!each.error,
    );
    assert.equal(error, undefined, `${command}: ${error?.desc}`);
    return value;
  }

  /** Waits until QEMU tells that a device has gone. */
  async gone(id: string): Promise<void> {
    await this.#message(({ event, data }) => event === 'DEVICE_DELETED' && data?.['device'] === id);
  }

  async #message(matches: (message: Message) => boolean): Promise<Message> {
    for (;;) {
      const at = this.#messages.findIndex(matches);
      const [found] = at < 0 ? [] : this.#messages.splice(at, 1);
      if (found) return found;
      await this.#arrival('message');
    }
  }

  async #arrival(of: 'line' | 'message'): Promise<void> {
    const over = new AbortController();
    const { signal } = over;
    const ended = this.#exit.then((status) => {
      throw new Error(`QEMU ended with ${status}; the guest said: ${this.#printed}`);
    });
    try {
      await Promise.race([once(this.#arrivals, of, { signal }), ended]);
    } finally {
      ended.catch(() => undefined);
      over.abort();
    }
  }

  /** Ends QEMU, as by its user. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null) this.#monitor.write('{"execute":"quit"}\n');
    await this.#exit;
  }
}

/** What QEMU had not read when it ended. */
function ignoreReset(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') throw error;
}
