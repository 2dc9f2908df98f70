// The lab's devices by name.
import { devices, type TestDevice } from '../support/devices.ts';

export function labDevice(name: string): TestDevice {
  const found = devices.find((device) => device.name === name);
  if (found === undefined) throw new Error(`the lab has no ${name}`);
  return found;
}
