// An NVMe driver's command: what a controller is, blocks of it, and how fast it reads.
//
//   npm run lab -- node build-test/examples/nvme/main.js identify 00:07.0
//   … main.js read 00:07.0 --block 8 --count 1 > block
//   … main.js write 00:07.0 --block 8 < block
//   … main.js bench 00:07.0 --bytes 512 --depth 32 --seconds 3 --workers 2
//
// write changes what is on the device. The device is bound to vfio-pci: npx vfio bind 00:07.0
import { buffer } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import { DmaBuffer, VfioDevice } from 'vfio';
import { bench, benchWorkers } from './bench.ts';
import { Controller } from './controller.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    namespace: { type: 'string', default: '1' },
    block: { type: 'string', default: '0' },
    count: { type: 'string', default: '1' },
    bytes: { type: 'string', default: '512' },
    depth: { type: 'string', default: '32' },
    seconds: { type: 'string', default: '1' },
    workers: { type: 'string', default: '0' },
    interrupts: { type: 'boolean', default: false },
  },
});

type Task = (controller: Controller) => Promise<void>;

const tasks: Record<string, Task> = { identify, read, write, bench: benchmark };

const [name = '', address = ''] = positionals;
const task = Object.hasOwn(tasks, name) ? tasks[name] : undefined;
if (!task || address === '') {
  console.error('usage: main.js identify|read|write|bench <address> [--block N …]');
  process.exitCode = 2;
} else {
  await using device = await VfioDevice.open(address);
  const vectors = values.interrupts ? 2 : 0;
  await using controller = await Controller.start(device, { vectors });
  await task(controller);
}

async function identify(controller: Controller): Promise<void> {
  const { model, serial, firmware, maxTransfer } = controller.info;
  console.log(`${model}, serial number ${serial}, firmware ${firmware}`);
  console.log(`moves ${maxTransfer} bytes by one command at most`);
  for (const id of await controller.admin.listNamespaces()) {
    const { blocks, blockSize } = await controller.identifyNamespace(id);
    console.log(`namespace ${id}: ${blocks} blocks of ${blockSize} bytes`);
  }
}

async function read(controller: Controller): Promise<void> {
  const namespace = await controller.openNamespace(number('namespace'));
  const size = number('count') * namespace.info.blockSize;
  await using memory = await DmaBuffer.allocate(size);
  const { iova } = await controller.space.map(memory);
  const bytes = new Uint8Array(memory.buffer, 0, size);
  await namespace.read(number('block'), { bytes, iova });
  // The memory goes when this is over, and the output may be slower.
  process.stdout.write(bytes.slice());
}

async function write(controller: Controller): Promise<void> {
  const namespace = await controller.openNamespace(number('namespace'));
  const { blockSize } = namespace.info;
  const input = await buffer(process.stdin);
  const size = Math.ceil(input.length / blockSize) * blockSize;
  if (size === 0) throw new Error('there is nothing on standard input');
  await using memory = await DmaBuffer.allocate(size);
  const { iova } = await controller.space.map(memory);
  const bytes = new Uint8Array(memory.buffer, 0, size);
  bytes.set(input);
  await namespace.write(number('block'), { bytes, iova });
  await namespace.flush();
  console.log(`${size / blockSize} blocks of ${blockSize} bytes written`);
}

async function benchmark(controller: Controller): Promise<void> {
  const namespace = await controller.identifyNamespace(number('namespace'));
  const [bytes, depth, workers] = [number('bytes'), number('depth'), number('workers')];
  const milliseconds = number('seconds') * 1000;
  const options = { namespace, bytes, depth, milliseconds };
  const { done, errors } = workers
    ? await benchWorkers(controller, workers, options)
    : await bench(controller, options);
  const rate = Math.round(done / number('seconds'));
  console.log(`${bytes} bytes, depth ${depth}: ${rate} reads a second, ${errors} errors`);
}

/** An option's value. */
function number(option: Exclude<keyof typeof values, 'interrupts'>): number {
  const value = Number(values[option]);
  if (Number.isFinite(value) && value >= 0) return value;
  throw new Error(`--${option} takes a number, not ${values[option]}`);
}
