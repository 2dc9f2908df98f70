// Times the removal of an open device that closes itself when it is asked for: from the kernel's
// request to the end of the removal, by driver/unbind and by QEMU's device_del.
//
//   npm run bench:removal                          in the lab, its edu and its NVMe behind ports
//   node build-test/bench/removal.js [rounds]
import { VfioDevice } from '../lib/index.ts';
import { devices, type TestDevice } from '../test/support/devices.ts';
import { plug, rebind, unbind, unplug } from '../test/support/hotplug.ts';

const rounds = Number(process.argv[2] ?? '10');

interface Way {
  remove: (device: TestDevice) => Promise<void>;
  giveBack: (device: TestDevice) => Promise<void>;
}

const ways: Record<string, Way> = {
  'driver/unbind': {
    remove: unbind,
    giveBack: (device) => {
      rebind(device);
      return Promise.resolve();
    },
  },
  device_del: { remove: unplug, giveBack: (device) => plug(device, propertiesOf(device)) },
};

/** What QEMU wants to know of a kind beyond its name. */
function propertiesOf({ kind, name }: TestDevice): Record<string, unknown> {
  return kind === 'nvme' ? { serial: name } : {};
}

/** Milliseconds from the request to the end. */
async function timeRemoval(spec: TestDevice, { remove, giveBack }: Way): Promise<number> {
  const device = await VfioDevice.open(spec);
  let asked = NaN;
  device.on('request', () => {
    asked = performance.now();
    void device.close();
  });
  await remove(spec);
  const time = performance.now() - asked;
  await giveBack(spec);
  return time;
}

for (const name of ['edu-port', 'nvme-port']) {
  const spec = devices.find((device) => device.name === name);
  if (spec === undefined) throw new Error(`the lab has no ${name}`);
  for (const [how, way] of Object.entries(ways)) {
    const times: number[] = [];
    for (let round = 0; round < rounds; round++) times.push(await timeRemoval(spec, way));
    times.sort((a, b) => a - b);
    const [median = NaN, most = NaN] = [times[Math.floor(rounds / 2)], times.at(-1)];
    const text = `median ${median.toFixed(0)} ms, most ${most.toFixed(0)} ms`;
    console.log(`${name}, ${how}: ${text} of ${rounds}`);
  }
}
