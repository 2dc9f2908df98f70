import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Socket } from 'node:net';

import type { ChannelName } from './channels.ts';
import { searchPath } from './command.ts';
import { qemuArguments, type Machine } from './qemu.ts';

const STOP_MILLISECONDS = 3000;

/** A running QEMU with its channels. */
export class Vm {
  readonly exited: Promise<void>;
  readonly #qemu: ChildProcess;
  readonly #channels: ReadonlyMap<ChannelName, Socket>;
  #output = '';

  constructor(machine: Machine) {
    // setpriv: should we be killed without a chance to tidy up, the kernel ends QEMU too.
    const command = ['--pdeathsig', 'KILL', 'qemu-system-x86_64', ...qemuArguments(machine)];
    this.#qemu = spawn('setpriv', command, {
      stdio: ['ignore', 'pipe', 'pipe', ...machine.channels.map(() => 'pipe' as const)],
      env: { ...process.env, PATH: searchPath().join(':') },
      // A session of its own: the terminal's Ctrl-C is for us, and we end the VM in order.
      detached: true,
    });
    this.exited = once(this.#qemu, 'close').then(() => undefined);
    const streams = this.#qemu.stdio as (Socket | null | undefined)[];
    for (const stream of [streams[1], streams[2]]) {
      stream?.on('data', (text: Buffer) => (this.#output += text.toString()));
    }
    this.#channels = new Map(
      machine.channels.flatMap((name, index) => {
        const socket = streams[3 + index];
        return socket ? [[name, socket] as const] : [];
      }),
    );
    for (const socket of this.#channels.values()) {
      // A QEMU that ends resets its sockets; `exited` is what tells of it.
      socket.on('error', () => undefined);
    }
    this.channel('qmp').pipe(this.channel('monitor')).pipe(this.channel('qmp'));
  }

  /** It ended by itself; not that we stopped it. */
  get hasExited(): boolean {
    return this.#qemu.exitCode !== null || this.#qemu.signalCode !== null;
  }

  /** `, by SIGSEGV` where a signal ended it. */
  get signal(): string {
    const { signalCode } = this.#qemu;
    return signalCode === null ? '' : `, by ${signalCode}`;
  }

  /** What QEMU itself printed: complaints about its command line or the host. */
  get output(): string {
    return this.#output.trim();
  }

  find(name: ChannelName): Socket | undefined {
    return this.#channels.get(name);
  }

  channel(name: ChannelName): Socket {
    const socket = this.find(name);
    if (!socket) throw new Error(`this VM has no channel ${name}`);
    return socket;
  }

  async stop(): Promise<void> {
    this.#qemu.kill('SIGTERM');
    const force = setTimeout(() => this.#qemu.kill('SIGKILL'), STOP_MILLISECONDS);
    await this.exited;
    clearTimeout(force);
  }
}
