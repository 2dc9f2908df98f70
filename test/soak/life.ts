// Run as a worker or a child process by ended.ts: brings the device that it is told into a state, says so,
// and stays in it until it is ended. In a worker, a message has it end itself.
import { setImmediate as turn } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { binding, replaceBinding } from '../../lib/core/binding.ts';
import { DmaBuffer, DmaPool, Iommufd, openCdev, VfioDevice, type Ioas } from '../../lib/index.ts';
import { tracedBinding } from '../support/traced_binding.ts';

const { address, state } = (workerData ?? JSON.parse(process.argv[2] ?? '')) as {
  address: string;
  state: string;
};

/** Keeps what it is given from being collected. */
const kept: unknown[] = [];
let isTold = false;

function tell(): void {
  if (isTold) return;
  isTold = true;
  if (parentPort) parentPort.postMessage('there');
  else process.stdout.write('there\n');
}

const open = (): Promise<VfioDevice> => VfioDevice.open(address, { busMaster: true });

async function forEver(what: () => unknown): Promise<never> {
  for (;;) {
    await what();
    tell();
    await turn();
  }
}

/** Tells when this function of the addon is on its way into the kernel, and goes on. */
function tellWhenCalled(name: string): void {
  const telling = tracedBinding((called, call) => {
    const answer = call();
    if (called === name) tell();
    return answer;
  }, binding());
  replaceBinding(telling);
}

async function attached(): Promise<{ device: VfioDevice; space: Ioas }> {
  const iommufd = Iommufd.open();
  const space = iommufd.createIoas();
  const device = await VfioDevice.open(address, { iommufd, busMaster: true });
  await device.attach(space);
  kept.push(iommufd, space, device);
  return { device, space };
}

async function openAndClose(): Promise<void> {
  for (;;) await (await open()).close();
}

const states: Record<string, () => Promise<unknown>> = {
  'no device': () => Promise.resolve(),
  'open cdev': async () => kept.push(await openCdev(address)),
  binding: () => {
    tellWhenCalled('bind');
    return openAndClose();
  },
  closing: async () => {
    const device = await open();
    // The close is under way when its first turn is over.
    void device.close();
    tell();
  },
  open: async () => kept.push(await open()),
  'open by group': async () => kept.push(await VfioDevice.open(address, { backend: 'group' })),
  mapped: async () => {
    const { space } = await attached();
    for (let at = 0; at < 8; at++) {
      const memory = await DmaBuffer.allocate(65_536);
      kept.push(memory, await space.map(memory));
    }
  },
  mapping: async () => {
    const { space } = await attached();
    const memory = await DmaBuffer.allocate(65_536);
    await forEver(async () => (await space.map(memory)).unmap());
  },
  pool: async () => {
    const { space } = await attached();
    const pool = new DmaPool(space);
    kept.push(pool);
    await forEver(async () => {
      pool.release(await pool.allocate(256));
    });
  },
  registers: async () => {
    const bar = (await open()).region('bar0').map();
    await forEver(() => bar.read32(0));
  },
  polling: async () => {
    const bar = (await open()).region('bar0').map();
    const polled = bar.poll32(0, 0xffff_ffff, 0, { timeout: 60_000 });
    tell();
    await polled;
  },
  interrupts: async () => {
    const device = await open();
    const msi = device.interrupt('msi');
    const [vector] = await msi.enable();
    vector?.on('interrupt', () => {
      tell();
      msi.trigger();
    });
    msi.trigger();
  },
  waiting: async () => {
    const [vector] = await (await open()).interrupt('msi').enable();
    const told = vector?.wait();
    tell();
    await told;
  },
  'DMA under way': async () => {
    const { device, space } = await attached();
    const memory = await DmaBuffer.allocate(4096);
    const mapping = await space.map(memory, { iova: 0x10_0000n });
    const bar = device.region('bar0').map();
    kept.push(memory, mapping, bar);
    await forEver(() => {
      // edu: from its own memory to ours, which takes it 100 ms.
      bar.write64(0x80, 0x40000n);
      bar.write64(0x88, mapping.iova);
      bar.write64(0x90, 2048n);
      bar.write64(0x98, 3n);
    });
  },
  'shared, not taken': async () => {
    const device = await open();
    const memory = await DmaBuffer.allocate(4096);
    kept.push(device, memory, device.share(), memory.share());
  },
  configuring: async () => {
    const config = (await open()).region('config');
    await forEver(() => config.read32(0));
  },
};

setInterval(() => kept.length, 60_000);
parentPort?.on('message', () => process.exit());
await states[state]?.();
tell();
