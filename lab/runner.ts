import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, realpath } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';

import { channelNames } from './channels.ts';
import { consoleTail, newConsoleLog } from './console-log.ts';
import { deviceLines } from './devices.ts';
import { EndMark } from './end-mark.ts';
import { guestEnvironment } from './environment.ts';
import { LabError } from './failure.ts';
import { Interruption } from './interruption.ts';
import { jobScript } from './job.ts';
import type { Kernel } from './kernel/kernel.ts';
import type { Options } from './options.ts';
import { Heartbeats, watchForStall } from './stall.ts';
import { attachTerminal, terminalOfCaller } from './terminal.ts';
import { Vm } from './vm.ts';

/**
 * QEMU's emulation of two processors loses a race with a kernel that patches itself, once in a
 * while.
 */
const BOOTS = 3;

/** Boots a VM, runs the command in it and returns the exit status to pass on. */
export async function runInVm(cache: string, kernel: Kernel, options: Options): Promise<number> {
  for (let boots = 1; ; boots++) {
    try {
      return await bootAndRun(cache, kernel, options);
    } catch (error) {
      if (!(error instanceof BootError) || boots === BOOTS) throw error;
    }
  }
}

/** The VM ended before the command began: nothing was done, and nothing of stdin was read. */
class BootError extends LabError {}

async function bootAndRun(cache: string, kernel: Kernel, options: Options): Promise<number> {
  const terminal = terminalOfCaller();
  const mark = randomBytes(16).toString('hex');
  const consoleLog = await newConsoleLog(cache);
  const results = await resultsFolder(options.results);
  const job = await jobScript({
    command: options.command,
    cwd: process.cwd(),
    env: { ...guestEnvironment(process.env, results), ...options.env },
    devices: deviceLines(kernel.lane, options.rootNvme),
    modules: await realpath(kernel.modules),
    mark,
    results,
    terminal,
  });
  const channels = channelNames(terminal !== undefined, terminal?.separateStderr ?? true);
  const interruption = new Interruption(options.deadlineSeconds);
  const over = new AbortController();
  const heartbeats = new Heartbeats(options.silenceSeconds);
  const vm = new Vm({ ...options, kernel, channels, consoleLog, results });
  let detach = (): void => undefined;
  const command = { isStarted: false };
  const attach = (): void => {
    command.isStarted = true;
    detach = terminal ? attachTerminal(vm) : attachPipes(vm);
  };
  try {
    vm.channel('job').end(job);
    const ended = vm.exited.then(() => {
      throw new LabError(`the VM ended before the command did${vm.signal}\n${vm.output}`.trimEnd());
    });
    const hangs = [watchForStall(consoleLog, over.signal), heartbeats.watch(over.signal)];
    const { happened } = interruption;
    const done = commandEnded(vm, mark, {
      started: attach,
      alive: (cpu) => {
        heartbeats.heard(cpu);
      },
    });
    return await Promise.race([done, ended, ...hangs, happened]);
  } catch (error) {
    detach();
    if (!(error instanceof LabError)) throw error;
    const message = `${error.message}\n${await consoleTail(consoleLog)}`;
    if (vm.hasExited && !command.isStarted) throw new BootError(message, error.exitCode);
    throw new LabError(message, error.exitCode);
  } finally {
    detach();
    interruption.cancel();
    over.abort();
    await vm.stop();
  }
}

/** The same absolute path serves host and guest, so links in it have to be gone. */
async function resultsFolder(path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  await mkdir(path, { recursive: true });
  return realpath(path);
}

function attachPipes(vm: Vm): () => void {
  process.stdin.pipe(vm.channel('stdin'));
  return () => {
    process.stdin.unpipe();
    process.stdin.destroy();
  };
}

/**
 * Passes the output on; resolves when the guest has told the exit status and all output is here.
 */
async function commandEnded(vm: Vm, mark: string, told: Told): Promise<number> {
  const targets = { stdout: process.stdout, tty: process.stdout, stderr: process.stderr } as const;
  const outputs: Promise<void>[] = [];
  for (const [name, target] of Object.entries(targets)) {
    const socket = vm.find(name as keyof typeof targets);
    if (socket) outputs.push(passOn(socket, mark, target));
  }
  const status = await exitStatus(vm.channel('status'), told);
  await Promise.all(outputs);
  return status;
}

async function passOn(from: Socket, mark: string, to: NodeJS.WritableStream): Promise<void> {
  const marked = from.pipe(new EndMark(Buffer.from(mark)));
  marked.pipe(to, { end: false });
  await once(marked, 'end');
  // Broken off: the VM's own end says why, and is waited for elsewhere.
  if (!marked.complete) await new Promise(() => undefined);
}

/** What the guest tells before the command ends. */
interface Told {
  started: () => void;
  alive: (processor: string) => void;
}

/** The guest's lines are "start", "alive PROCESSOR", "exit STATUS" or "fail MESSAGE". */
async function exitStatus(from: Socket, { started, alive }: Told): Promise<number> {
  for await (const line of createInterface({ input: from })) {
    const [word, ...rest] = line.split(' ');
    if (word === 'exit') return Number(rest[0]);
    if (word === 'fail') throw new LabError(`the guest could not start: ${rest.join(' ')}`);
    if (word === 'start') started();
    if (word === 'alive') alive(rest.join(' '));
  }
  return new Promise(() => undefined);
}
