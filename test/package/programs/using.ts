// Frees the installed package's memory at the end of a block, and says how much of it is left then.
import { DmaBuffer } from 'vfio';

let buffer: ArrayBuffer;
{
  await using memory = await DmaBuffer.allocate(4096);
  ({ buffer } = memory);
}
console.log(buffer.byteLength);
