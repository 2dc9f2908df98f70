// A device is taken away before each step of a session, by hot-unplug and from its driver: what is left of the
// session answers, by documented errors, and the removal comes to its end.
import { existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import {
  DmaBuffer,
  Iommufd,
  VfioDevice,
  VfioError,
  type DmaMapping,
  type Interrupt,
  type Ioas,
  type MappedRegion,
} from '../../lib/index.ts';
import type { TestDevice } from '../support/devices.ts';
import { plug, rebind, unbind, unplug as unplugDevice } from '../support/hotplug.ts';
import { labDevice } from './lab.ts';
import type { Session, Soak } from './soak.ts';

/** What a session has so far. */
interface Use {
  iommufd: Iommufd;
  space: Ioas;
  memory: DmaBuffer;
  device?: VfioDevice;
  bar?: MappedRegion | undefined;
  msi?: Interrupt | undefined;
  mapping?: DmaMapping;
}

type Step = (use: Use, spec: TestDevice) => unknown;

const steps: Record<string, Step> = {
  open: async (use, spec) => {
    use.device = await VfioDevice.open(spec, { iommufd: use.iommufd, timeout: 50 });
  },
  attach: (use) => use.device?.attach(use.space),
  'map a region': (use) => (use.bar = use.device?.region('bar0').map()),
  'read a register': (use) => use.bar?.read32(0),
  'write a register': (use) => use.bar?.write32(4, 1),
  'read the configuration space': (use) => use.device?.region('config').read32(0),
  'enable bus mastering': (use) => use.device?.pci.setBusMaster(true),
  map: async (use) => {
    if (use.device) use.mapping = await use.space.map(use.memory);
  },
  'enable an interrupt': (use) => (use.msi = use.device?.interrupt('msi'))?.enable(),
  trigger: (use) => {
    if (use.msi?.enabled) use.msi.trigger();
  },
  poll: (use) => use.bar?.poll32(0, 0, 0, { timeout: 100 }),
  reset: (use) => use.device?.reset(),
  disable: (use) => use.msi?.disable(),
  unmap: (use) => use.mapping?.unmap(),
  detach: (use) => use.device?.detach(),
  close: (use) => use.device?.close(),
  'nothing is left': () => undefined,
};

const ways = {
  unplug: { remove: unplugDevice, giveBack: (spec: TestDevice) => plug(spec) },
  unbind: {
    remove: unbind,
    giveBack: (spec: TestDevice) => {
      rebind(spec);
      return Promise.resolve();
    },
  },
};

/** A failing step is told by the library's own error, and the next is tried. */
async function takeSteps(
  some: [string, Step][],
  use: Use,
  spec: TestDevice,
  refused: (code: string) => void,
): Promise<void> {
  for (const [name, step] of some) {
    try {
      await step(use, spec);
    } catch (error) {
      if (!(error instanceof VfioError))
        throw new Error(`${name}: no error of ours`, { cause: error });
      refused(error.code);
    }
  }
}

/** Until the kernel has begun to take it away: a device that nobody has is gone by then. */
async function begun({ address }: TestDevice): Promise<void> {
  while (existsSync(`/sys/bus/pci/devices/${address}/driver`)) await delay(2);
}

function begin(): Session {
  const spec = labDevice('edu-port');
  const seen: Record<string, number> = {};
  const refused = (code: string): void => {
    seen[code] = (seen[code] ?? 0) + 1;
  };
  const all = Object.entries(steps);
  let round = 0;
  const one = async (): Promise<void> => {
    const at = round % all.length;
    const turn = Math.floor(round++ / all.length);
    const { remove, giveBack } = round % 2 === 0 ? ways.unbind : ways.unplug;
    const iommufd = Iommufd.open();
    const use: Use = {
      iommufd,
      space: iommufd.createIoas(),
      memory: await DmaBuffer.allocate(4096),
    };
    await takeSteps(all.slice(0, at), use, spec, (code) => {
      throw new Error(`${code} before the device was taken away`);
    });
    const removal = remove(spec);
    // In half of the rounds the next step races with it.
    if (turn % 4 < 2 === at % 4 < 2) await begun(spec);
    await takeSteps(all.slice(at), use, spec, refused);
    await removal;
    await use.memory.dispose();
    await use.space.close();
    await use.iommufd.close();
    await giveBack(spec);
  };
  return {
    seen,
    async run(rounds) {
      for (let left = rounds; left > 0; left--) await one();
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

export const unplug: Soak = {
  what: 'a session of 16 steps, before one of which, or after all, its device is unplugged or unbound',
  where: 'lab',
  rounds: 204,
  quick: 17,
  batch: 17,
  begin,
};
