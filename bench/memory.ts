// What an open device costs in memory: the heap of JavaScript and what malloc has given out, with
// all the lab's devices open and with none, the engine's garbage collected before each look.
//
//   npm run bench:memory                   in the lab
//   node --expose-gc build-test/bench/memory.js [--json]
import { createRequire } from 'node:module';
import { setTimeout } from 'node:timers/promises';
import { closeDevices, openDevices, type VfioDevice } from '../lib/index.ts';
import { devices } from '../test/support/devices.ts';
import { root } from '../test/support/root.ts';
import { showTables } from './table.ts';

const { inUse } = createRequire(import.meta.url)(
  new URL('build-baseline/malloc.node', root).pathname,
) as { inUse: () => number };

/** Bytes. */
interface Memory {
  javaScript: number;
  native: number;
}

async function look(): Promise<Memory> {
  const { gc } = globalThis as { gc?: () => void };
  if (gc === undefined) throw new Error('run me with --expose-gc');
  // Finalizers run in a turn of their own, and what they free shows after the next collection.
  for (let at = 0; at < 4; at++) {
    gc();
    await setTimeout(50);
  }
  return { javaScript: process.memoryUsage().heapUsed, native: inUse() };
}

/**
 * What an open device has that a closed one has not; `use` is what is done with it before the look.
 */
async function costOf(use: (device: VfioDevice) => unknown): Promise<Memory> {
  const opened = await openDevices(devices);
  for (const device of opened) use(device);
  const open = await look();
  await closeDevices(opened);
  opened.length = 0;
  const closed = await look();
  return {
    javaScript: (open.javaScript - closed.javaScript) / devices.length,
    native: (open.native - closed.native) / devices.length,
  };
}

const ways = {
  open: () => undefined,
  'open, info decoded': (device: VfioDevice) => device.info,
};
// What is made once, such as threads and optimized code, is there after the first rounds.
for (let round = 0; round < 3; round++) await costOf(ways['open, info decoded']);
const kib = (bytes: number): string => (bytes / 1024).toFixed(1);
const rows: string[][] = [];
for (const [name, use] of Object.entries(ways)) {
  const rounds: Memory[] = [];
  for (let round = 0; round < 5; round++) rounds.push(await costOf(use));
  const [median] = rounds
    .toSorted((a, b) => a.javaScript + a.native - b.javaScript - b.native)
    .slice(2);
  if (median === undefined) throw new Error('no round was made');
  const { javaScript, native } = median;
  rows.push([name, kib(javaScript), kib(native), kib(javaScript + native)]);
}
showTables(`memory of an open device, ${devices.length} at once, median of 5 rounds`, [
  { name: 'memory', header: ['KiB', 'JavaScript', 'native', 'both'], rows },
]);
