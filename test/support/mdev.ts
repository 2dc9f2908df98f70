import { readdirSync, writeFileSync } from 'node:fs';
import type { TestDevice } from './devices.ts';

/** A second mediated device of the same type as one of the lab's; disposing removes it. */
export function makeMdev(uuid: string, type: string): TestDevice & Disposable {
  for (const parent of readdirSync('/sys/class/mdev_bus')) {
    const types = `/sys/class/mdev_bus/${parent}/mdev_supported_types`;
    const name = readdirSync(types).find((one) => one.endsWith(type));
    if (name === undefined) continue;
    writeFileSync(`${types}/${name}/create`, uuid);
    return {
      ...{ name: uuid, kind: type, bus: 'mdev', address: uuid },
      [Symbol.dispose]() {
        writeFileSync(`/sys/bus/mdev/devices/${uuid}/remove`, '1');
      },
    };
  }
  throw new Error(`there is no type of mediated devices ${type}`);
}
