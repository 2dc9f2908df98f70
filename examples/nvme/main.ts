// An NVMe driver's command: what a controller is, blocks of it, and how fast it reads.
//
//   npm run lab -- node build-test/examples/nvme/main.js identify 00:07.0
//   … main.js read 00:07.0 --block 8 --count 1 > block
//   … main.js write 00:07.0 --block 8 < block
//   … main.js bench 00:07.0 --bytes 512 --depth 32 --seconds 3 --workers 2
//
// write changes what is on the device. The device is bound to vfio-pci: npx vfio bind 00:07.0
import { buffer } from 'node:stream/consumers';
import { DmaBuffer, VfioDevice } from 'vfio';
import { type Arguments, parseArguments, usage, UsageError } from './arguments.ts';
import { bench, benchWorkers } from './bench.ts';
import { Controller } from './controller.ts';
import type { NamespaceInfo } from './identify.ts';
import { maxBytes } from './prp.ts';

/** What a task says goes to standard output. */
type Task = (controller: Controller, options: Arguments) => Promise<string | Uint8Array>;

const tasks: Record<Arguments['task'], Task> = { identify, read, write, bench: benchmark };

// An error is told to who awaits the write, and here as well: unheard it would end the program.
process.stdout.on('error', () => undefined);
try {
  await main(parseArguments(process.argv.slice(2)));
} catch (error) {
  const first = causeOf(error);
  // Who reads has what it wants: `| head`.
  if (!hasCode(first, 'EPIPE')) {
    console.error(`nvme: ${lineOf(first)}`);
    process.exitCode = first instanceof UsageError ? 2 : 1;
  }
}

async function main(options: Arguments | undefined): Promise<void> {
  if (!options) {
    await print(usage);
    return;
  }
  await print(await runTask(options));
}

async function runTask(options: Arguments): Promise<string | Uint8Array> {
  await using device = await VfioDevice.open(options.address);
  const ioQueues = Math.max(1, options.workers);
  const vectors = options.interrupts ? 2 : 0;
  await using controller = await Controller.start(device, { vectors, ioQueues });
  return await tasks[options.task](controller, options);
}

async function identify(controller: Controller): Promise<string> {
  const { model, serial, firmware, maxTransfer } = controller.info;
  const lines = [
    `${model}, serial number ${serial}, firmware ${firmware}`,
    `moves ${maxTransfer} bytes by one command at most`,
  ];
  for (const id of await controller.admin.listNamespaces()) {
    const { blocks, blockSize } = await controller.identifyNamespace(id);
    lines.push(`namespace ${id}: ${blocks} blocks of ${blockSize} bytes`);
  }
  return `${lines.join('\n')}\n`;
}

async function read(controller: Controller, options: Arguments): Promise<Uint8Array> {
  const namespace = await controller.openNamespace(options.namespace);
  const { block, count } = options;
  requireBlocks(namespace.info, block, count);
  const size = count * namespace.info.blockSize;
  await using memory = await DmaBuffer.allocate(size);
  const { iova } = await controller.space.map(memory);
  const bytes = new Uint8Array(memory.buffer, 0, size);
  await namespace.read(block, { bytes, iova });
  // The memory goes when this is over, and the output may be slower.
  return bytes.slice();
}

async function write(controller: Controller, { namespace: id, block }: Arguments): Promise<string> {
  const namespace = await controller.openNamespace(id);
  const { blockSize } = namespace.info;
  requireBlocks(namespace.info, block, 1);
  const input = await buffer(process.stdin);
  const count = Math.ceil(input.length / blockSize);
  if (count === 0) throw new Error('there is nothing on standard input');
  requireBlocks(namespace.info, block, count);
  const size = count * blockSize;
  await using memory = await DmaBuffer.allocate(size);
  const { iova } = await controller.space.map(memory);
  const bytes = new Uint8Array(memory.buffer, 0, size);
  bytes.set(input);
  await namespace.write(block, { bytes, iova });
  await namespace.flush();
  return `${count} blocks of ${blockSize} bytes written\n`;
}

async function benchmark(controller: Controller, options: Arguments): Promise<string> {
  const { bytes, depth, seconds, workers } = options;
  const namespace = await controller.identifyNamespace(options.namespace);
  requireBench(controller, namespace, options);
  const run = { namespace, bytes, depth, milliseconds: seconds * 1000 };
  const { done, errors } =
    workers > 0 ? await benchWorkers(controller, workers, run) : await bench(controller, run);
  const rate = Math.round(done / seconds);
  return `${bytes} bytes, depth ${depth}: ${rate} reads a second, ${errors} errors\n`;
}

function requireBlocks({ id, blocks }: NamespaceInfo, block: number, count: number): void {
  if (block >= blocks) {
    throw new UsageError(`--block ${block}: namespace ${id} has ${blocks} blocks, from 0 on`);
  }
  if (count <= blocks - block) return;
  const from = `from --block ${block} on`;
  throw new UsageError(`namespace ${id} has ${blocks - block} blocks ${from}, not ${count}`);
}

/** What only this controller can tell of the options. */
function requireBench(
  { info, maxEntries, ioQueueCount }: Controller,
  { blockSize, blocks }: NamespaceInfo,
  { bytes, depth, workers }: Arguments,
): void {
  const most = Math.min(info.maxTransfer, maxBytes, blocks * blockSize);
  if (bytes % blockSize !== 0) {
    throw new UsageError(`--bytes ${bytes} is no multiple of the block size, ${blockSize}`);
  }
  if (bytes > most) throw new UsageError(`--bytes ${bytes}: one read moves ${most} at most`);
  if (depth >= maxEntries) {
    throw new UsageError(`--depth ${depth}: the controller takes ${maxEntries - 1} at most`);
  }
  if (workers <= ioQueueCount) return;
  throw new UsageError(`--workers ${workers}: the controller gives ${ioQueueCount} I/O queues`);
}

/** Done when it is written. */
async function print(what: string | Uint8Array): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    process.stdout.write(what, (error) => {
      if (error) reject(error);
      else resolve();
    });
  });
}

/** What went wrong first: closing what failed fails as well, and `using` then tells of both. */
function causeOf(error: unknown): unknown {
  const isBoth = error instanceof Error && 'suppressed' in error;
  return isBoth ? causeOf(error.suppressed) : error;
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

/** The error and what mends it, in one line. */
function lineOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const hint = error instanceof Error && 'hint' in error ? error.hint : undefined;
  const line = typeof hint === 'string' ? `${message} (hint: ${hint})` : message;
  return line.replaceAll(/\s*\n\s*/g, ' ');
}
