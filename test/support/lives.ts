// Run as a worker or a child process by test/device/ending.test.ts: opens the device that it is
// told and ends, or is ended, in the middle of it.

import { setImmediate as turn } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { binding, replaceBinding } from '../../lib/core/binding.ts';
import type { DeviceAddress } from '../../lib/core/location.ts';
import { type BackendKind, VfioDevice } from '../../lib/index.ts';
import { vfioFds } from './proc.ts';
import { tracedBinding } from './traced_binding.ts';

interface Orders extends DeviceAddress {
  /** How it opens the device; by its cdev unless this says otherwise. */
  backend?: BackendKind;
  /** What it does with the device. */
  life: 'open and close' | 'open for ever' | 'hold' | 'drop' | 'exit';
  /** Turns of the event loop between the open and the exit. */
  turns?: number;
}

const orders = (workerData ?? JSON.parse(process.argv[2] ?? '')) as Orders;

const open = (): Promise<VfioDevice> =>
  VfioDevice.open(orders, { backend: orders.backend ?? 'cdev' });

const tell = (text: string): void => {
  if (parentPort) parentPort.postMessage(text);
  else process.stdout.write(`${text}\n`);
};

/** Tells when a bind, or what a group does in its place, is on its way into the kernel. */
async function openForEver(): Promise<never> {
  const telling = tracedBinding((name, call) => {
    const answer = call();
    if (name === 'bind' || name === 'groupGetDevice') tell('binding');
    return answer;
  }, binding());
  replaceBinding(telling);
  for (;;) await (await open()).close();
}

async function exitInMidOpen(): Promise<never> {
  void open();
  for (let at = 0; at < (orders.turns ?? 0); at++) await turn();
  process.exit(7);
}

async function hold(): Promise<void> {
  const device = await open();
  tell('holding');
  setInterval(() => device.fd, 60_000);
}

/** Forgets the device, and waits for its end. */
async function drop(): Promise<void> {
  await open();
  while (vfioFds().length > 0) {
    globalThis.gc?.();
    await turn();
  }
  tell('gone');
}

async function openAndClose(): Promise<void> {
  const device = await open();
  const { regions } = device.info;
  await device.close();
  tell(`closed ${regions.length}`);
}

const lives = {
  'open and close': openAndClose,
  'open for ever': openForEver,
  hold,
  drop,
  exit: exitInMidOpen,
};

await lives[orders.life]();
