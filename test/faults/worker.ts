// Run in a worker by scenarios.ts: uses what another thread shared, and closes it.
import { parentPort, workerData } from 'node:worker_threads';
import { fromShared, type SharedToken } from '../../lib/index.ts';

const [deviceToken, spaceToken, bufferToken] = workerData as [
  SharedToken<'device' | 'group-device'>,
  SharedToken<'ioas'>,
  SharedToken<'dma-buffer'>,
];

async function use(): Promise<number> {
  await using device = fromShared(deviceToken);
  await using space = fromShared(spaceToken);
  await using memory = fromShared(bufferToken);
  new Uint8Array(memory.buffer)[0] = 42;
  const mapping = await space.map(memory, { iova: 0x60_0000n });
  using bar = device.region('bar0').map({ size: 4096 });
  bar.read32(0);
  await mapping.unmap();
  return device.info.regions.length;
}

parentPort?.postMessage(await use());
