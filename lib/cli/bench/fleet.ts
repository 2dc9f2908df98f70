import { closeDevices, openDevices, type DeviceSpec } from '../../index.ts';
import { openOptions, type Backend } from './paths.ts';

/** Nanoseconds until the last device was open, and until the last was closed. */
export interface Fleet {
  open: number;
  close: number;
}

/** Opens all devices, so many at once, then closes them likewise. */
export async function openAndCloseAll(
  backend: Backend,
  devices: readonly DeviceSpec[],
  concurrency: number,
): Promise<Fleet> {
  const start = process.hrtime.bigint();
  const opened = await openDevices(devices, { ...openOptions(backend), concurrency });
  const middle = process.hrtime.bigint();
  for (let at = 0; at < opened.length; at += concurrency) {
    await closeDevices(opened.slice(at, at + concurrency));
  }
  const end = process.hrtime.bigint();
  return { open: Number(middle - start), close: Number(end - middle) };
}
