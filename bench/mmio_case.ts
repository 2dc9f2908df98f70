// One case of bench/mmio.ts, in a process of its own: cases that share one spoil each other's
// optimized code. Prints its nanoseconds.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GCProfiler } from 'node:v8';
import { measure } from 'mitata';
import { DmaBuffer } from '../lib/iommu/dma_buffer.ts';
import { OwnedFd } from '../lib/core/owned_fd.ts';
import { OpenMappings, PeerMaps } from '../lib/region/owner.ts';
import { Region } from '../lib/region/region.ts';
import { root } from '../test/support/root.ts';

const size = 4096;
/** Values that fit no small integer are the worse half: engines box them. */
const folder = mkdtempSync(join(tmpdir(), 'vfio-bench-'));
const path = join(folder, 'file');

writeFileSync(path, new Uint8Array(size).fill(0xa5));

const device = { bus: 'pci', address: '0000:00:00.0', sysfsPath: '' };
const owner = {
  fd: OwnedFd.open(path, 'the file'),
  location: { device, name: 'vfio0', major: 0, minor: 0, path },
  mappings: new OpenMappings(),
  peers: new PeerMaps(),
  config: undefined,
};
const info = { index: 0, name: 'bar0', size, offset: 0n, capabilities: [] };
const bar = Region.of(owner, { ...info, flags: ['read', 'write', 'mmap'] }).map();

const offsets = Uint32Array.from({ length: 64 }, (_, at) => at * 4);
const values = new Uint32Array(64);
const doorbells = Uint32Array.of(16, 32);
const two = Uint32Array.of(0xdead_beef, 0xdead_beef);
const sixteenOffsets = offsets.slice(0, 16);
const sixteen = new Uint32Array(16).fill(0xdead_beef);
const bells = bar.prepare([
  { op: 'write', offset: 16 },
  { op: 'write', offset: 32 },
]);
bells.values.fill(0xdead_beef);
const depth = 32;
const queue = DmaBuffer.allocateSync(16 * depth);
/** A device that has always completed everything: its phase is the same at each wrap. */
const phase = 0x1_0000;
const ring = { offset: 12, stride: 16, count: depth, mask: phase, value: phase };
const entries = new Uint32Array(queue.buffer);
for (let at = 0; at < depth; at++) entries[at * 4 + 3] = phase;
const one = queue.pollEntries({ ...ring, most: 1 });
const all = queue.pollEntries(ring);
const { noop } = createRequire(import.meta.url)(
  new URL('build-baseline/noop.node', root).pathname,
) as { noop: () => void };

const cases: Record<string, () => unknown> = {
  noop: () => {
    noop();
  },
  read8: () => bar.read8(16),
  read32: () => bar.read32(16),
  read64: () => bar.read64(16),
  write32: () => {
    bar.write32(16, 0xdead_beef);
  },
  write64: () => {
    bar.write64(16, 0xdead_beefn);
  },
  readBatch32: () => bar.readBatch32(offsets, values),
  writeBatch32: () => {
    bar.writeBatch32(offsets, values);
  },
  twoReads32: () => {
    bar.read32(16);
    bar.read32(32);
  },
  readBatchOf2: () => bar.readBatch32(doorbells, two),
  twoWrites32: () => {
    bar.write32(16, 0xdead_beef);
    bar.write32(32, 0xdead_beef);
  },
  writeBatchOf2: () => {
    bar.writeBatch32(doorbells, two);
  },
  sixteenReads32: () => {
    for (let offset = 0; offset < 64; offset += 4) bar.read32(offset);
  },
  readBatchOf16: () => bar.readBatch32(sixteenOffsets, sixteen),
  sixteenWrites32: () => {
    for (let offset = 0; offset < 64; offset += 4) bar.write32(offset, 0xdead_beef);
  },
  writeBatchOf16: () => {
    bar.writeBatch32(sixteenOffsets, sixteen);
  },
  preparedPair: () => {
    bells.run();
  },
  poll: () => one.poll(),
  ringAndPoll: () => one.ringAndPoll(bells),
  ios: () => {
    inAndOut();
  },
  readBlock: () => bar.readBlock(0, values),
};

const commands = new Uint32Array(16 * depth);
const { values: bellValues } = bells;
let finished = 0;
let tail = 0;

/** As many I/Os as the queue is deep, on a device that takes no time: what is the driver's own. */
function inAndOut(): void {
  for (let left = depth; left > 0; left--) {
    const at = tail * 16;
    commands[at] = (tail << 16) | 2;
    commands[at + 6] = 0x1000;
    commands[at + 10] = finished;
    tail = tail + 1 === depth ? 0 : tail + 1;
  }
  bellValues[0] = tail;
  bellValues[1] = all.head;
  let fresh = all.ringAndPoll(bells);
  for (let at = all.first; fresh > 0; fresh--) {
    if (entries[at * 4 + 3] === phase) finished = (finished + 1) & 0x3fff_ffff;
    at = at + 1 === depth ? 0 : at + 1;
  }
}

/** Ten million accesses: what they leave on the heap when the garbage is out. */
function heapGrowth(): number {
  const collect = (globalThis as { gc?: () => void }).gc;
  if (collect === undefined) throw new Error('run me with --expose-gc');
  const run = cases['read32'];
  for (let at = 0; at < 100_000; at++) run?.();
  collect();
  const before = process.memoryUsage().heapUsed;
  for (let at = 0; at < 10_000_000; at++) run?.();
  collect();
  return process.memoryUsage().heapUsed - before;
}

/** Garbage collections in ten seconds of I/Os. */
function collections(): number {
  for (let at = 0; at < 100_000; at++) inAndOut();
  const profiler = new GCProfiler();
  profiler.start();
  const end = performance.now() + 10_000;
  while (performance.now() < end) for (let at = 0; at < 10_000; at++) inAndOut();
  return profiler.stop().statistics.length;
}

const [name = ''] = process.argv.slice(2);
const run = cases[name];

if (name === 'heap') console.log(heapGrowth());
else if (name === 'collections') console.log(collections());
else if (run === undefined) throw new Error(`there is no case ${name}`);
else console.log((await measure(run)).p50);

const makesIos = name === 'ios' || name === 'collections';
if (makesIos && finished === 0) throw new Error('no I/O was finished');

queue.disposeSync();

bar.closeSync();

owner.fd.closeSync();

rmSync(folder, { recursive: true });
