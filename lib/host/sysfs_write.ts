import type { ChildProcess } from 'node:child_process';
import { fs } from '../core/builtins.ts';
import { explained, systemError, VfioError } from '../core/errors.ts';
import type { SysfsDevice } from '../core/location.ts';
import { either, type Steps } from '../core/steps.ts';
import { driverLeft } from '../locate/driver_override.ts';
import { readAttribute } from '../locate/sysfs.ts';
import { virtualFunctionsOf } from '../locate/virtual_functions.ts';
import { nodesOf, whoHolds } from './device_holders.ts';

// A write to sysfs can wait for ever: `driver/unbind` of a device that somebody has open waits in
// the kernel until it is closed, where no signal reaches it (vfio_unregister_group_dev,
// drivers/vfio/vfio_main.c). So each is made by a process of its own, which is not waited for
// longer than the caller said, and which a Ctrl-C of the caller's terminal does not reach.

/** One text for one file. */
export interface SysfsWrite {
  path: string;
  text: string;
}

/** How to write. */
export interface WriteOptions {
  /** Milliseconds for all of the writes. */
  timeout: number;
  /** Of which device the files are: where the time is up, those who have it open are named. */
  device?: SysfsDevice | undefined;
  sysfsRoot?: string | undefined;
  /** Descriptors that the process keeps open as long as it lives: locks. */
  keep?: readonly number[] | undefined;
}

/**
 * Writes texts to files of sysfs, one after the other, until one fails. Answers undefined where the
 * kernel took all of them, otherwise the error of the one that failed (`path` says which), or
 * `ERR_VFIO_TIMEOUT`: with the reason `kernel-waits` where the kernel did not answer in time, whose
 * write goes on, and without where that write was not begun. None after it is begun. What a write
 * did is for sysfs to say, not for its answer.
 *
 * @throws VfioError `ERR_VFIO_NO_HELPER` where the process that writes did not start, or ended
 */
export function* writeSysfs(
  writes: readonly SysfsWrite[],
  options: WriteOptions,
): Steps<VfioError | undefined> {
  if (writes.length === 0) return undefined;
  const { device, sysfsRoot = '/sys' } = options;
  // Before the first: what is taken away shows its nodes no more.
  const functions = device ? virtualFunctionsOf(device, sysfsRoot) : [];
  const nodes = device ? [device, ...functions].flatMap((each) => nodesOf(each, sysfsRoot)) : [];
  const answers = openAnswers();
  try {
    const helper = start(writes, answers, options.keep ?? []);
    yield* either(
      () => untilEnd(helper, options.timeout),
      () => {
        waitForEnd(helper, answers, writes.length, options.timeout);
      },
    );
    const { given } = readAnswers(answers);
    const [failed] = given.filter(({ errno }) => errno !== 0);
    if (failed) return errorOf(failed, writes[given.length - 1]);
    if (given.length === writes.length) return undefined;
    const pending = writes[given.length];
    if (hasEnded(helper)) throw helperEnded(helper);
    fs.ftruncateSync(answers, stopSize);
    // What it has not said to begin until now, it does not begin.
    if (readAnswers(answers).begun <= given.length) return notBegun(pending, options);
    return yield* kernelWaits(pending, options, { nodes, functions });
  } finally {
    fs.closeSync(answers);
  }
}

interface Helper {
  child: ChildProcess;
  /** Why it did not start. */
  error?: Error;
}

interface WriteAnswer {
  errno: number;
  syscall: string;
}

/** A file of this size tells the process to begin no further write. */
const stopSize = 1 << 20;

/**
 * What the process runs. It begins a write only while its parent lives and waits for it: what a
 * killed program had half done is repaired by whoever asks for it, and not behind their back.
 */
const program = `
const fs = require('fs');
const [parent, stopSize, writes] = JSON.parse(process.argv[1]);
for (const [path, text] of writes) {
  fs.writeSync(1, 'begun\\n');
  if (process.ppid !== parent || fs.fstatSync(1).size >= stopSize) break;
  const answer = { errno: 0, syscall: '' };
  try {
    const fd = fs.openSync(path, fs.constants.O_WRONLY);
    try { fs.writeSync(fd, text); } finally { fs.closeSync(fd); }
  } catch ({ errno, syscall }) {
    Object.assign(answer, { errno, syscall });
  }
  fs.writeSync(1, JSON.stringify(answer) + '\\n');
  if (answer.errno !== 0) break;
}`;

/** A file without a name, to which the process writes what the kernel answered. */
function openAnswers(): number {
  const { tmpdir } = process.getBuiltinModule('node:os');
  const path = `${tmpdir()}/vfio-${process.pid}-${process.hrtime.bigint()}`;
  const fd = fs.openSync(path, 'wx+', 0o600);
  fs.unlinkSync(path);
  return fd;
}

function start(writes: readonly SysfsWrite[], answers: number, keep: readonly number[]): Helper {
  const list = writes.map(({ path, text }) => [path, text]);
  const task = JSON.stringify([process.pid, stopSize, list]);
  const { spawn } = process.getBuiltinModule('node:child_process');
  const child = spawn(process.execPath, ['-e', program, task], {
    cwd: '/',
    detached: true,
    // Without what would have Node load more; Electron is Node by this one.
    env: { ELECTRON_RUN_AS_NODE: '1' },
    stdio: ['ignore', answers, 'ignore', ...keep],
  });
  const helper: Helper = { child };
  child.on('error', (error) => (helper.error = error));
  child.unref();
  return helper;
}

function hasEnded({ child, error }: Helper): boolean {
  if (error !== undefined || child.pid === undefined) return true;
  if (child.exitCode !== null || child.signalCode !== null) return true;
  const state = /^\d+ \(.*\) (\w)/s.exec(readAttribute(`/proc/${child.pid}/stat`) ?? '')?.[1];
  return state === undefined || state === 'Z' || state === 'X';
}

async function untilEnd(helper: Helper, timeout: number): Promise<void> {
  const { child } = helper;
  let ring: NodeJS.Timeout | undefined;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      resolve();
    };
    child.once('exit', done);
    child.once('error', done);
    ring = setTimeout(done, timeout);
  });
  clearTimeout(ring);
}

function waitForEnd(helper: Helper, answers: number, count: number, timeout: number): void {
  const deadline = performance.now() + timeout;
  const clock = new Int32Array(new SharedArrayBuffer(4));
  while (performance.now() < deadline && !hasEnded(helper)) {
    const { given } = readAnswers(answers);
    if (given.length === count || given.some(({ errno }) => errno !== 0)) return;
    Atomics.wait(clock, 0, 0, 2);
  }
}

/** How many writes it was to begin so far, and their answers: whole lines. */
function readAnswers(fd: number): { begun: number; given: WriteAnswer[] } {
  const room = Buffer.alloc(4096);
  const text = room.toString('utf8', 0, fs.readSync(fd, room, 0, room.length, 0));
  const lines = text.split('\n').slice(0, -1);
  const given = lines.filter((line) => line !== 'begun');
  return {
    begun: lines.length - given.length,
    given: given.map((line) => JSON.parse(line) as WriteAnswer),
  };
}

function errorOf({ errno, syscall }: WriteAnswer, write: SysfsWrite | undefined): VfioError {
  return systemError({ errno, syscall, path: write?.path });
}

function helperEnded({ child, error }: Helper): VfioError {
  const how = error ? error.message : `it ended with ${child.signalCode ?? child.exitCode ?? '?'}`;
  return new VfioError({
    code: 'ERR_VFIO_NO_HELPER',
    message: `the process that writes to sysfs (${process.execPath}) did not do so: ${how}`,
    cause: error,
  });
}

/** Nothing waits then: the process that writes is slow to start, or was kept from it. */
function notBegun(write: SysfsWrite | undefined, { timeout, device }: WriteOptions): VfioError {
  const path = write?.path ?? '';
  return new VfioError({
    code: 'ERR_VFIO_TIMEOUT',
    message: `the ${timeout} ms were over before ${path} was written to, and it will not be`,
    hint: `give it more time than ${timeout} ms (--timeout, { timeout }): that writes is a process of its own, which has to start`,
    path,
    device: device?.address,
  });
}

function* kernelWaits(
  write: SysfsWrite | undefined,
  { timeout, device }: WriteOptions,
  { nodes, functions }: { nodes: string[]; functions: SysfsDevice[] },
): Steps<VfioError> {
  const path = write?.path ?? '';
  const error = new VfioError({
    code: 'ERR_VFIO_TIMEOUT',
    message: `the kernel did not answer within ${timeout} ms what was written to ${path}`,
    path,
    device: device?.address,
  });
  const holding = yield* whoHolds(nodes);
  const left = [device, ...functions].find((each) => each && driverLeft(each) !== undefined);
  // For whom it waits is guessed where it is to wait for somebody, and nobody was found.
  const isGuess = left !== undefined && nodes.length > 0 && holding.holders.length === 0;
  const facts = {
    ...{ path, address: device?.address ?? null, timeout, ...holding },
    ...(functions.length > 0 && { functions: functions.map(({ address }) => address) }),
    driver: left === undefined ? null : (driverLeft(left) ?? null),
    openable: nodes.length > 0,
  };
  return explained(error, {
    reason: 'kernel-waits',
    certainty: isGuess ? 'likely' : 'certain',
    facts,
  });
}
