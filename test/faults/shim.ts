// nth_call.c and fake_vfio.c, compiled; and the file by which the first is told what to do.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, readSync, writeFileSync, writeSync } from 'node:fs';
import { constants as os } from 'node:os';
import { join } from 'node:path';
import { root } from '../support/root.ts';
import { failingCalls, type FailingCall } from './calls.ts';

/** Where the sources are, also for what is compiled to build-test/. */
const sources = new URL('test/faults/', root).pathname;

/** Compiles a library to a folder; answers its path. */
function compile(folder: string, source: string, ...options: readonly string[]): string {
  const library = join(folder, `${source}.so`);
  const args = ['-shared', '-fPIC', '-O1', '-Wall', '-Werror', '-o', library];
  const compiler = source.endsWith('.c') ? 'gcc' : 'g++';
  const command = [...args, ...options, `${sources}${source}`, '-ldl'];
  const { status, stderr } = spawnSync(compiler, command, { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  return library;
}

/** What a program's environment needs, so that a {@link Shim} can be made in it. */
export function shimEnvironment(folder: string, { fake }: { fake: boolean }): NodeJS.ProcessEnv {
  const calls = join(folder, 'calls.h');
  const rows = failingCalls.map(
    ({ symbol, kind, caller }) => `CALL(${symbol}, ${kind}, ${caller})\n`,
  );
  writeFileSync(calls, rows.join(''));
  const control = join(folder, 'control');
  writeFileSync(control, new Uint8Array(pageSize));
  // The first is asked first.
  const libraries = [compile(folder, 'nth_call.c', `-DCALLS="${calls}"`)];
  if (fake) libraries.push(compile(folder, 'fake_vfio.cc', '-std=c++20'));
  return { LD_PRELOAD: libraries.join(':'), VFIO_FAULTS_CONTROL: control };
}

const pageSize = 4096;

// The fields of Control in nth_call.c.
const [begin, end, fails, nth, error, failed, argument, from, counts] = [0, 1, 2, 3, 4, 5, 6, 7, 8];

/** A call that is to fail. */
export interface Fault {
  call: FailingCall;
  /** From 1 on. */
  nth: number;
  errno: keyof typeof os.errno;
}

/** What did fail. */
export interface Failed {
  /** An ioctl's request. */
  argument: number;
  /** Where in the addon it was called. */
  from: number;
}

/** The shim of this process. */
export class Shim {
  readonly #fd: number;
  readonly #words: BigInt64Array = new BigInt64Array(counts + failingCalls.length);
  readonly #code: { begin: bigint; end: bigint };

  /** Once the addon is loaded. */
  constructor() {
    const path = process.env['VFIO_FAULTS_CONTROL'];
    assert.ok(path, 'nth_call.c is preloaded');
    this.#fd = openSync(path, 'r+');
    this.#code = addonsCode();
    // What this process starts is left alone.
    delete process.env['LD_PRELOAD'];
    delete process.env['VFIO_FAULTS_CONTROL'];
  }

  /** Counts from now on, and has that call fail. */
  arm(fault?: Fault): void {
    const words = this.#words.fill(0n);
    words[begin] = this.#code.begin;
    words[end] = this.#code.end;
    words[fails] = -1n;
    if (fault !== undefined) {
      words[fails] = BigInt(failingCalls.indexOf(fault.call));
      words[nth] = BigInt(fault.nth);
      words[error] = BigInt(errnoOf(fault.errno));
    }
    this.#write();
  }

  /** Lets all calls be. */
  disarm(): void {
    this.#read();
    this.#words[end] = 0n;
    this.#words[begin] = 0n;
    this.#write();
  }

  /** How often each was called since it was armed. */
  counts(): Map<FailingCall, number> {
    this.#read();
    const all = failingCalls.map((call, at) => [call, Number(this.#words[counts + at])] as const);
    return new Map(all.filter(([, count]) => count > 0));
  }

  /** Undefined where the call that was to fail was not made. */
  failed(): Failed | undefined {
    this.#read();
    if (this.#words[failed] === 0n) return undefined;
    return { argument: Number(this.#words[argument]), from: Number(this.#words[from]) };
  }

  close(): void {
    closeSync(this.#fd);
  }

  #read(): void {
    readSync(this.#fd, this.#words, 0, this.#words.byteLength, 0);
  }

  #write(): void {
    writeSync(this.#fd, this.#words, 0, this.#words.byteLength, 0);
  }
}

/** Node has no name for it. */
const unnamed: Record<string, number> = { EHWPOISON: 133, ENOLCK: os.errno.ENOLCK };

function errnoOf(name: Fault['errno']): number {
  return unnamed[name] ?? os.errno[name];
}

function addonsCode(): { begin: bigint; end: bigint } {
  const lines = readFileSync('/proc/self/maps', 'utf8').split('\n');
  const code = lines.filter((line) => /r-xp.*vfio[^/]*\.node$/.test(line));
  assert.equal(code.length, 1, 'the addon is loaded once');
  const [first = '', last = ''] = /^([0-9a-f]+)-([0-9a-f]+)/.exec(code[0] ?? '')?.slice(1) ?? [];
  return { begin: BigInt(`0x${first}`), end: BigInt(`0x${last}`) };
}
