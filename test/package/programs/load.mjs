// Uses the installed package's addon, and says what came of it as JSON.
import { readFileSync } from 'node:fs';
import { DmaBuffer, VfioError, listDevicesSync } from 'vfio';

const said = {};
try {
  said.devices = listDevicesSync().map(({ address }) => address);
  const memory = DmaBuffer.allocateSync(10_000);
  const bytes = new Uint8Array(memory.buffer);
  bytes.fill(7);
  said.sum = bytes.reduce((sum, byte) => sum + byte, 0);
  said.size = memory.size;
  await memory.dispose();
} catch (error) {
  if (!(error instanceof VfioError)) throw error;
  said.error = { code: error.code, message: error.message, hint: error.hint };
}
const mapped = readFileSync('/proc/self/maps', 'utf8').match(/\/.*\.node$/gm) ?? [];
said.addons = [...new Set(mapped)];
console.log(JSON.stringify(said));
