// Times GET_REGION_INFO and a pread of 4 bytes, of BAR 0, against the C program
// bench/baseline/region.c, some of each in turn. Both have the device in turns, as it can be bound
// once.
//
//   npm run bench:region                                in the lab, its edu
//   node build-test/bench/region.js <device> [turns]    a device of the lab by name, or by address

import { spawnSync } from 'node:child_process';
import { median } from '../lib/cli/bench/rounds.ts';
import { bindNode } from '../lib/backend/cdev_open.ts';
import { cdevs, openNodeOf } from '../lib/backend/late_node.ts';
import { binding } from '../lib/core/binding.ts';
import { runSync } from '../lib/core/steps.ts';
import { VfioDevice } from '../lib/device/device.ts';
import { parseAddress } from '../lib/locate/address.ts';
import { locateDevice } from '../lib/locate/find_cdev.ts';
import { devices } from '../test/support/devices.ts';
import { root } from '../test/support/root.ts';
import { positionals, ratio, showTables } from './table.ts';

interface Times {
  info: number;
  pread: number;
}

const [name = 'edu', turns = '9'] = positionals();
const spec = devices.find((device) => device.name === name) ?? parseAddress(name);
/** Calls in a row; before the first turn that counts, the engine has seen them all. */
const count = 3000;

function timed(run: () => unknown): number {
  const start = process.hrtime.bigint();
  for (let at = 0; at < count; at++) run();
  return Number(process.hrtime.bigint() - start) / count;
}

function ours(): Times {
  const bound = runSync(bindNode(runSync(openNodeOf(cdevs, spec, {}))));
  const { native } = bound.fd;
  using device = runSync(VfioDevice.adopt(bound));
  const region = device.region('bar0');
  const room = new Uint32Array(128);
  const { getRegionInfo } = binding();
  return {
    info: timed(() => {
      if (getRegionInfo(native, 0, 32, room) !== 0) throw new Error('GET_REGION_INFO failed');
    }),
    pread: timed(() => region.read32(0)),
  };
}

function theirs(): Times {
  const program = new URL('build-baseline/region', root).pathname;
  const { stdout } = spawnSync(program, [locateDevice(spec).sysfsPath], { input: `${count}\n` });
  return JSON.parse(stdout.toString()) as Times;
}

const times = { c: [] as Times[], node: [] as Times[] };
const warmUp = 3;

for (let at = -warmUp; at < Number(turns); at++) {
  const turn = { c: theirs(), node: ours() };
  if (at < 0) continue;
  times.c.push(turn.c);
  times.node.push(turn.node);
}

const names = {
  info: '`GET_REGION_INFO`, not cached',
  pread: '`Region.read32` (pread of 4 bytes)',
};
const rows = (['info', 'pread'] as const).map((what) => {
  const c = median(times.c.map((one) => one[what]));
  const node = median(times.node.map((one) => one[what]));
  return [names[what], c.toFixed(0), ratio(node, c)];
});

showTables(`BAR 0 of ${spec.address}, medians of ${turns} turns of ${count}`, [
  { name: 'region', header: ['', 'C, ns', '÷ C'], rows },
]);
