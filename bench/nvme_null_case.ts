// What a read costs the processor: the NVMe example's loop over rings and doorbells that are
// ordinary memory, whose entries complete when the doorbell is written. In a process of its own, as
// cases that share one spoil each other's optimized code. Prints nanoseconds a read, of the best
// slice and of the median, and how often the garbage collector ran meanwhile.
//
//   node build-test/bench/nvme_null_case.js <depth> <milliseconds>
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DmaBuffer as PublicBuffer, MappedRegion } from 'vfio';
import { PrpTable } from '../examples/nvme/prp.ts';
import { QueuePair, ringLayout } from '../examples/nvme/queue.ts';
import { controllerRegisters } from '../examples/nvme/registers.ts';
import { RandomReads } from '../examples/nvme/random_reads.ts';
import { median } from '../lib/cli/bench/rounds.ts';
import { OwnedFd } from '../lib/core/owned_fd.ts';
import { DmaBuffer } from '../lib/iommu/dma_buffer.ts';
import { OpenMappings, PeerMaps } from '../lib/region/owner.ts';
import { Region } from '../lib/region/region.ts';
import { Collections } from './collections.ts';

const [depth = 32, milliseconds = 1000] = process.argv.slice(2).map(Number);
const entries = 256;
/** Milliseconds that are timed at a time: what another program takes spoils some of them. */
const slice = 20;
const size = 8192;
const folder = mkdtempSync(join(tmpdir(), 'vfio-bench-'));
const path = join(folder, 'file');
writeFileSync(path, new Uint8Array(size));
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
rmSync(folder, { recursive: true });

// What the example takes are the package's objects, of which these are the sources.
const mapped = bar as unknown as MappedRegion;
const buffer = DmaBuffer.allocateSync(ringLayout(entries).bytes + PrpTable.bytes(entries));
const memory = buffer as unknown as PublicBuffer;
const pair = new QueuePair(mapped, 1, 0, memory, entries);
const reads = new RandomReads({
  pair,
  registers: controllerRegisters(mapped),
  prps: new PrpTable(buffer.buffer, ringLayout(entries).bytes, 0x10_0000n, entries),
  namespace: { id: 1, blocks: 2 ** 17, blockSize: 512 },
  bytes: 512,
  depth,
  data: { bytes: new Uint8Array(0), iova: 0x100_0000n },
});

/** Does what a device would, of whose commands the doorbell tells. */
class NullDevice {
  readonly #doorbells = new Uint32Array(bar.unsafeArrayBuffer(), 0x1008, 1);
  readonly #submissions = pair.submissions;
  readonly #completions = new Uint32Array(
    buffer.buffer,
    ringLayout(entries).completionsAt,
    entries * 4,
  );
  #head = 0;
  #at = 0;
  #phase = 0x1_0000;

  complete(): void {
    const tail = this.#doorbells[0] ?? 0;
    while (this.#head !== tail) this.#completeOne();
  }

  #completeOne(): void {
    const id = (this.#submissions[this.#head * 16] ?? 0) >>> 16;
    this.#completions[this.#at * 4 + 3] = id | this.#phase;
    this.#head = this.#head + 1 === entries ? 0 : this.#head + 1;
    if (++this.#at < entries) return;
    this.#at = 0;
    this.#phase ^= 0x1_0000;
  }
}

const nullDevice = new NullDevice();

function run(milliseconds: number): void {
  const until = performance.now() + milliseconds;
  do {
    for (let each = 0; each < 256; each++) {
      reads.look();
      nullDevice.complete();
    }
  } while (performance.now() < until);
}

reads.begin();
// Until the engine has optimised everything.
run(500);
const collections = new Collections();
const times: number[] = [];
const end = performance.now() + milliseconds;
while (performance.now() < end) {
  const before = reads.done;
  const start = performance.now();
  run(slice);
  times.push(((performance.now() - start) * 1e6) / (reads.done - before));
}
const count = await collections.count();
console.log(JSON.stringify({ best: Math.min(...times), p50: median(times), collections: count }));
