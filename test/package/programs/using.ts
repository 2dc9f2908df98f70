// Frees the installed package's memory at the end of a block, and says whether it was freed.
import { DmaBuffer } from 'vfio';

let kept: DmaBuffer;
{
  await using memory = await DmaBuffer.allocate(4096);
  kept = memory;
}
console.log(kept.buffer.byteLength);
