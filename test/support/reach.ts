import { DmaBuffer, type AddressSpace, type VfioDevice } from '../../lib/index.ts';
import { Edu } from './edu.ts';

/** What is mapped for the device before it is attached, and where. */
export const reached: { iova: bigint; size: number; bytes: number } = {
  iova: 0x30_0000n,
  size: 16 * 1024,
  bytes: 64,
};

const scratchIova = 0x50_0000n;

/**
 * Attaches QEMU's edu, has it read the first bytes that are mapped at `reached.iova`, and write to
 * the second page there. Answers what it read: zeros where it reached nothing.
 */
export async function reach(device: VfioDevice, ioas: AddressSpace): Promise<number[]> {
  const { iova, bytes: length } = reached;
  await device.attach(ioas);
  const scratch = await DmaBuffer.allocate(4096);
  await ioas.map(scratch, { iova: scratchIova });
  const bytes = new Uint8Array(scratch.buffer);
  const edu = new Edu(device);
  // Its own memory is of an earlier test, and stays what it is where a transfer fails.
  await edu.load(scratchIova, length);
  await edu.load(iova, length);
  await edu.store(scratchIova, length);
  const seen = [...bytes.subarray(0, length)];
  bytes.fill(0xe7);
  await edu.load(scratchIova, length);
  await edu.store(iova + 4096n, length);
  await scratch.dispose();
  return seen;
}
