// Run by bench/trace.ts: makes maps and reads of registers by the compiled library in a folder, as
// many rounds as it is told, with an iommufd that maps at once (bench/baseline/iommufd.c).

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type * as DmaBuffers from '../lib/iommu/dma_buffer.ts';
import type * as Figures from '../lib/trace/figures.ts';
import type * as Fds from '../lib/core/owned_fd.ts';
import type * as Ioases from '../lib/iommu/ioas.ts';
import type * as Iommufds from '../lib/iommu/iommufd.ts';
import type * as Owners from '../lib/region/owner.ts';
import type * as Regions from '../lib/region/region.ts';

const [lib = '', mode] = process.argv.slice(2);

async function load(file: string): Promise<unknown> {
  return import(join(lib, file));
}

// It has the trace begin, where the environment asks for it.
await load('index.js');
const { OwnedFd } = (await load('core/owned_fd.js')) as typeof Fds;
const { Ioas } = (await load('iommu/ioas.js')) as typeof Ioases;
const { Iommufd } = (await load('iommu/iommufd.js')) as typeof Iommufds;
const { DmaBuffer } = (await load('iommu/dma_buffer.js')) as typeof DmaBuffers;
const { Region } = (await load('region/region.js')) as typeof Regions;
const { OpenMappings, PeerMaps } = (await load('region/owner.js')) as typeof Owners;
if (mode === 'heard') ((await load('trace/figures.js')) as typeof Figures).countFigures();

const ioas = Ioas.adopt(Iommufd.adopt(OwnedFd.open('/dev/full', 'the iommufd')).parent, 1);
const page = DmaBuffer.allocateSync(4096, { populate: true });

const size = 4096;
const folder = mkdtempSync(join(tmpdir(), 'vfio-bench-'));
const path = join(folder, 'file');
writeFileSync(path, new Uint8Array(size));
const device = { bus: 'pci', address: '0000:00:00.0', sysfsPath: '' };
const location = { device, name: 'vfio0', major: 0, minor: 0, path };
const bar = Region.of(
  {
    ...{ fd: OwnedFd.open(path, 'the file'), location, config: undefined },
    ...{ mappings: new OpenMappings(), peers: new PeerMaps() },
  },
  {
    ...{ index: 0, name: 'bar0', size, offset: 0n, capabilities: [] },
    flags: ['read', 'write', 'mmap'],
  },
).map();
rmSync(folder, { recursive: true });

function timed(count: number, make: () => void): number {
  const start = process.hrtime.bigint();
  for (let at = 0; at < count; at++) make();
  return Number(process.hrtime.bigint() - start) / count;
}

for await (const line of createInterface({ input: process.stdin })) {
  for (let round = 0; round < Number(line); round++) {
    const map = timed(500, () => {
      ioas.mapSync(page).unmapSync();
    });
    const read = timed(20_000, () => bar.read32(0));
    process.stdout.write(`${JSON.stringify({ map, read })}\n`);
  }
}
process.exit(0);
