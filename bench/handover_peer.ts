// The other process of bench/handover.ts. Either takes a device that comes by descriptor 3 again
// and again and closes it, or gets one from a broker and kills itself at a step.
import { writeSync } from 'node:fs';
import { FdChannel, unpackDevice } from '../lib/index.ts';
import { openFds } from '../test/support/proc.ts';

/** Where a peer can die, in their order. */
export const steps = ['connected', 'asked', 'received', 'unpacked', 'mapped', 'attached'] as const;
export type Step = (typeof steps)[number];

const decode = (data: Uint8Array): unknown => JSON.parse(Buffer.from(data).toString());

/** Says how many descriptors it has where it gets no device. */
async function take(): Promise<void> {
  const channel = FdChannel.fromFd(3);
  for await (const { data, fds } of channel) {
    const isDevice = fds.length > 0;
    if (isDevice) await unpackDevice(decode(data), fds).device.close();
    await channel.send(Buffer.from(JSON.stringify(isDevice ? 'done' : openFds().length)));
  }
}

function dieAt(step: Step, now: Step): void {
  if (step !== now) return;
  writeSync(1, `${process.hrtime.bigint()}\n`);
  process.kill(process.pid, 'SIGKILL');
  // The signal comes when this thread is next on its way out of the kernel.
  for (;;);
}

async function die(path: string, address: string, step: Step): Promise<void> {
  const channel = FdChannel.connect(path);
  dieAt(step, 'connected');
  await channel.send(Buffer.from(JSON.stringify({ open: address })));
  dieAt(step, 'asked');
  const message = await channel.receive();
  dieAt(step, 'received');
  if (!message) throw new Error('the broker ended');
  const { device: description } = decode(message.data) as { device: unknown };
  const { device, ioases } = unpackDevice(description, message.fds);
  dieAt(step, 'unpacked');
  const bar = device.region('bar0').map();
  bar.read32(0);
  dieAt(step, 'mapped');
  const [ioas] = ioases;
  if (ioas) await device.attach(ioas);
  device.pci.setBusMaster(true);
  dieAt(step, 'attached');
  throw new Error(`there is no step ${step}`);
}

const [path, address, step] = process.argv.slice(2);
if (path === undefined || address === undefined) await take();
else await die(path, address, step as Step);
