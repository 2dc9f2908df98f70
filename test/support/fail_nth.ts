import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './root.ts';
import { tree } from './tree.ts';

/** How a device is opened. */
export type Way = 'cdev' | 'group' | 'compat';

/** What came of an operation in which one allocation after the other failed. */
export interface FailReport {
  /** How many allocations were made to fail, one in each try. */
  points: number;
  /** How often each error, by its code, or `success`. */
  outcomes: Record<string, number>;
  /** The code of each error with the reason that it gives, where it gives one. */
  reasons: string[];
  warnings: string[];
  /** What is open, or counted as pinned, after all tries and was not before. */
  leaked: { descriptors: number; pinned: string };
}

const debug = '/sys/kernel/debug';

/** Whether the kernel can fail allocations of one thread's calls. */
export const canFail: boolean = existsSync('/proc/thread-self/fail-nth');

/** Has allocations fail that may wait as well, and says nothing of each in the kernel's log. */
export function prepareFailures(): void {
  if (readdirSync(debug).length === 0) {
    mkdirSync(debug, { recursive: true });
    const { status } = spawnSync('mount', ['-t', 'debugfs', 'debugfs', debug], {
      stdio: 'inherit',
    });
    assert.equal(status, 0);
  }
  for (const [file, value] of [
    ['failslab/ignore-gfp-wait', 'N'],
    ['failslab/verbose', '0'],
    ['fail_iommufd/verbose', '0'],
  ] as const) {
    writeFileSync(join(debug, file), value);
  }
  const { start, end } = interpreterOfAcpi();
  writeFileSync(join(debug, 'failslab/reject-start'), `0x${start}`);
  writeFileSync(join(debug, 'failslab/reject-end'), `0x${end}`);
}

/**
 * iommufd has faults of its own, which fail_nth counts as well. One says of an object that is there
 * that it is not (ENOENT of `iommufd_get_object`). Of unmapping that is no failure but a lie: what
 * is not there is unmapped.
 */
function tellTruth(operation: string): void {
  const { start, end } = operation === 'unmap' ? placeOf('iommufd_get_object') : nowhere;
  writeFileSync(join(debug, 'fail_iommufd/reject-start'), `0x${start}`);
  writeFileSync(join(debug, 'fail_iommufd/reject-end'), `0x${end}`);
}

const nowhere = { start: '0', end: '0' };

/** From one function of the kernel to the next. */
function placeOf(name: string): { start: string; end: string } {
  const symbols = readFileSync('/proc/kallsyms', 'utf8').trimEnd().split('\n').sort();
  const start = symbols.find((line) => line.endsWith(` ${name}`))?.split(' ')[0];
  assert.ok(start, name);
  const end = symbols.map((line) => line.split(' ')[0] ?? '').find((address) => address > start);
  assert.ok(end, name);
  return { start, end };
}

/**
 * Where the kernel has its interpreter of ACPI's tables, which enabling a device asks for the line of
 * its INTx. It does not live without memory: the kernel crashes (Linux 7.3), whoever drives the
 * device, so that what it allocates is not made to fail.
 */
function interpreterOfAcpi(): { start: string; end: string } {
  const symbols = readFileSync('/proc/kallsyms', 'utf8').split('\n').filter(isOfInterpreter);
  const addresses = symbols.map((line) => line.slice(0, line.indexOf(' '))).sort();
  const [start = '0', end = '0'] = [addresses[0], addresses.at(-1)];
  const size = Number(BigInt(`0x${end}`) - BigInt(`0x${start}`));
  assert.ok(size > 0 && size < 1 << 20, `the interpreter is of ${size} bytes`);
  return { start, end };
}

/** The first part of ACPICA (drivers/acpi/acpica) and the last, as they are linked. */
const isOfInterpreter = (line: string): boolean => / t acpi_(?:ds|ut)_/i.test(line);

/** Runs one operation of fail_nth_program.ts until nothing is left to fail in it. */
export function failEach(device: string, way: Way, operation: string): FailReport {
  const control = join(tree({ control: '' }), 'control');
  writeFileSync(control, new Uint8Array(4096));
  tellTruth(operation);
  const programs = new URL('build-test/programs/', root).pathname;
  const { status, signal, stdout, stderr } = spawnSync(
    process.execPath,
    ['--expose-gc', join(programs, 'fail_nth_program.js')],
    {
      encoding: 'utf8',
      env: {
        ...process.env,
        LD_PRELOAD: join(programs, 'fail_nth.so'),
        FAIL_NTH_CONTROL: control,
        FAIL_NTH_JOB: JSON.stringify({ device, way, operation }),
      },
    },
  );
  assert.deepEqual({ status, signal }, { status: 0, signal: null }, stderr);
  return JSON.parse(stdout) as FailReport;
}
