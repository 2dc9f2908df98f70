// Times the way from the sysfs lookup to the closed descriptors, step by step: the C program
// bench/baseline/open.c, the blocking form and the promise form, some rounds each in turn.
//
//   npm run bench:open                            in the lab, its edu
//   node build-test/bench/open.js <device> [rounds]   a device of the lab by name, or by address
import { BaselineRounds } from './baseline.ts';
import { bindNode, bindNodeSync } from '../lib/device/bind.ts';
import { VfioDevice } from '../lib/device/device.ts';
import { openNode } from '../lib/device/node.ts';
import { Iommufd } from '../lib/iommu/iommufd.ts';
import { parseAddress, type DeviceAddress } from '../lib/locate/address.ts';
import { findCdev, locateDevice } from '../lib/locate/find_cdev.ts';
import { devices } from '../test/support/devices.ts';
import { report } from './report.ts';
import { Stopwatch, type Round } from './steps.ts';

function roundSync(spec: DeviceAddress): Round {
  const watch = new Stopwatch();
  const location = findCdev(spec);
  watch.lap('lookup');
  const node = openNode(location);
  const iommufd = Iommufd.open();
  watch.lap('open');
  const bound = bindNodeSync(node, { iommufd });
  watch.lap('bind');
  const device = VfioDevice.adoptSync(bound);
  watch.lap('info');
  const ioas = iommufd.createIoas();
  device.attachSync(ioas);
  watch.lap('attach');
  device.closeSync();
  watch.lap('close');
  ioas.closeSync();
  iommufd.closeSync();
  watch.lap('release');
  return watch.round;
}

async function roundAsync(spec: DeviceAddress): Promise<Round> {
  const watch = new Stopwatch();
  const location = findCdev(spec);
  watch.lap('lookup');
  const node = openNode(location);
  const iommufd = Iommufd.open();
  watch.lap('open');
  const bound = await bindNode(node, { iommufd });
  watch.lap('bind');
  const device = await VfioDevice.adopt(bound);
  watch.lap('info');
  const ioas = iommufd.createIoas();
  await device.attach(ioas);
  watch.lap('attach');
  await device.close();
  watch.lap('close');
  await ioas.close();
  await iommufd.close();
  watch.lap('release');
  return watch.round;
}

/** Rounds of one way before it is another's turn: in between, caches are somebody else's. */
const turn = 100;

const [name = 'edu', wanted = '400'] = process.argv.slice(2);
const spec = devices.find((device) => device.name === name) ?? parseAddress(name);
const baseline = new BaselineRounds('open', [locateDevice(spec).sysfsPath]);
const ways = {
  c: (): Promise<Round[]> => baseline.rounds(turn),
  sync: (): Round[] => Array.from({ length: turn }, () => roundSync(spec)),
  async: async (): Promise<Round[]> => {
    const rounds: Round[] = [];
    for (let at = 0; at < turn; at++) rounds.push(await roundAsync(spec));
    return rounds;
  },
};
const times: Record<keyof typeof ways, Round[]> = { c: [], sync: [], async: [] };
// Until the engine has optimised everything: in the lab's emulated machine every new piece of
// machine code costs much more than it would elsewhere.
for (let at = 0; at < 1500; at++) roundSync(spec);
const warmUp = 300;
for (let at = -warmUp; at < Number(wanted); at += turn) {
  const rounds = { c: await ways.c(), sync: ways.sync(), async: await ways.async() };
  if (at < 0) continue;
  times.c.push(...rounds.c);
  times.sync.push(...rounds.sync);
  times.async.push(...rounds.async);
}
baseline.end();
console.log(report(`open to close of ${spec.address}, ${wanted} rounds, medians in µs`, times));
