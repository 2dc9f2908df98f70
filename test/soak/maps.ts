// Mapping memory for DMA into the address space of an attached device, and unmapping it.
import { DmaBuffer, Iommufd, VfioDevice, type Ioas } from '../../lib/index.ts';
import { labDevice } from './lab.ts';
import type { Session, Soak } from './soak.ts';

const page = 4096;

/** Every so many rounds by promise, and every so many with memory of its own. */
const [byPromise, ofNew] = [10, 100];

async function mapOne(space: Ioas, buffers: readonly DmaBuffer[], at: number): Promise<void> {
  if (at % ofNew === 1) {
    await using memory = await DmaBuffer.allocate(page);
    // Disposing of it unmaps it.
    await space.map(memory);
    return;
  }
  const buffer = buffers[at % buffers.length];
  if (buffer === undefined) return;
  if (at % byPromise === 0) await (await space.map(buffer)).unmap();
  else space.mapSync(buffer).unmapSync();
}

async function begin(): Promise<Session> {
  const iommufd = Iommufd.open();
  const space = iommufd.createIoas();
  const device = await VfioDevice.open(labDevice('edu'), { iommufd });
  await device.attach(space);
  const buffers = [1, 2, 16].map((pages) => DmaBuffer.allocateSync(pages * page));
  // Mapped all the time, so that the gauges of pins are seen to tell.
  const lasting = DmaBuffer.allocateSync(32 * page);
  space.mapSync(lasting);
  let at = 0;
  return {
    async run(rounds) {
      for (let round = 0; round < rounds; round++) await mapOne(space, buffers, at++);
    },
    async [Symbol.asyncDispose]() {
      for (const buffer of [...buffers, lasting]) await buffer.dispose();
      await device.close();
      await space.close();
      await iommufd.close();
    },
  };
}

export const maps: Soak = {
  what: 'a map of 1, 2 or 16 pages for an attached device, and its unmapping',
  where: 'lab',
  rounds: 1_000_000,
  quick: 5000,
  batch: 1000,
  begin,
};
