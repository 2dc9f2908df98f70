// The names of ioctls' requests by their numbers, as the addon's own headers have them.
import { readFileSync } from 'node:fs';
import { root } from '../support/root.ts';

/** Several objects of the kernel share a number: which of them it was, the descriptor decides. */
export const requestNames: ReadonlyMap<number, readonly string[]> = readNames();

function readNames(): Map<number, string[]> {
  const names = new Map<number, string[]>();
  for (const header of ['vfio', 'group', 'iommufd', 'feature', 'kvm']) {
    const text = readFileSync(new URL(`native/uapi/${header}.h`, root), 'utf8');
    for (const [, name = '', value = ''] of text.matchAll(/ k(\w+) = (0x[0-9a-f]+);/g)) {
      const number = Number(value);
      names.set(number, [...(names.get(number) ?? []), snakeCase(name)]);
    }
  }
  return names;
}

/** `VfioDeviceGetInfo` is VFIO_DEVICE_GET_INFO. */
function snakeCase(name: string): string {
  return name.replace(/(?<=[a-z0-9])(?=[A-Z])/g, '_').toUpperCase();
}
