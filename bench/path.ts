// Times the way to a device and back on this machine's own processor, where no VFIO kernel is
// needed: in a tree that looks like sysfs, with /dev/full for nodes. The library and the C program
// bench/baseline/path.c make the same system calls as with an edu; the ioctls are made, refused,
// and the refusal passed over.
//
//   npm run bench:path [-- rounds]

import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { interleave, repeat, summary, type Way } from '../lib/cli/bench/rounds.ts';
import { binding, replaceBinding } from '../lib/core/binding.ts';
import { VfioDevice } from '../lib/index.ts';
import { BaselineRounds } from './baseline.ts';
import { microseconds, positionals, ratio, showTables } from './table.ts';

const address = '0000:3b:00.0';
const regions = 9;
const irqs = 5;

/** The device's folder in sysfs, and nodes that are what that says. */
function makeTree(): { root: string; sysfsRoot: string; devRoot: string } {
  const root = mkdtempSync(join(tmpdir(), 'vfio-bench-'));
  const cdev = join(root, 'sys/bus/pci/devices', address, 'vfio-dev/vfio7');
  mkdirSync(cdev, { recursive: true });
  writeFileSync(join(cdev, 'dev'), '1:7\n');
  mkdirSync(join(root, 'dev/vfio/devices'), { recursive: true });
  for (const node of ['vfio/devices/vfio7', 'iommu']) {
    symlinkSync('/dev/full', join(root, 'dev', node));
  }
  return { root, sysfsRoot: join(root, 'sys'), devRoot: join(root, 'dev') };
}

const native = binding();

/** Struct after struct, each with its size and index. */
function fillStructs(room: Uint32Array, count: number, bytes: number): void {
  for (let index = 0; index < count; index++) {
    room[(index * bytes) / 4] = bytes;
    room[(index * bytes) / 4 + 2] = index;
  }
}

replaceBinding({
  ...native,
  bindSync: (...args) => (native.bindSync(...args) === undefined ? undefined : 1),
  bind: (...args) => native.bind(...args)?.then(() => 1),
  attachSync: (...args) => (native.attachSync(...args) === undefined ? undefined : 1),
  attach: (...args) => native.attach(...args)?.then(() => 1),
  ioasAlloc: (...args) => (native.ioasAlloc(...args) === undefined ? undefined : 1),
  getDeviceInfo: (device, bytes, room) => {
    native.getDeviceInfo(device, bytes, room);
    [room[1], room[2], room[3]] = [2, regions, irqs];
    return 0;
  },
  getRegionInfos: (device, count, results, room) => {
    native.getRegionInfos(device, count, results, room);
    results.fill(0);
    fillStructs(room, count, 32);
    return 0;
  },
  getIrqInfos: (device, count, results, room) => {
    native.getIrqInfos(device, count, results, room);
    results.fill(0);
    fillStructs(room, count, 16);
    return 0;
  },
});

const { root, sysfsRoot, devRoot } = makeTree();
const options = { sysfsRoot, devRoot, requestEvents: false, backend: 'cdev' } as const;

function timeSync(): number {
  const start = process.hrtime.bigint();
  const device = VfioDevice.openSync(address, options);
  device.attachSync(device.createIoas());
  device.closeSync();
  return Number(process.hrtime.bigint() - start);
}

async function timeAsync(): Promise<number> {
  const start = process.hrtime.bigint();
  const device = await VfioDevice.open(address, options);
  await device.attach(device.createIoas());
  await device.close();
  return Number(process.hrtime.bigint() - start);
}

const folder = join(sysfsRoot, 'bus/pci/devices', address);
const program = BaselineRounds.inC<{ ns: number }>('path', [folder, devRoot]);
const c: Way<number> = {
  run: async (count) => (await program.rounds(count)).map(({ ns }) => ns),
  rounds: [],
};
const ways = {
  sync: { run: (count: number) => repeat(count, timeSync), rounds: [] as number[] },
  async: { run: (count: number) => repeat(count, timeAsync), rounds: [] as number[] },
};
const rounds = Number(positionals()[0] ?? 5000);

await interleave([c, ...Object.values(ways)], { warmUp: 5000, rounds, turn: 500 });

await program.end();

rmSync(root, { recursive: true });

const theirs = summary(c.rounds);
const rows = Object.entries(ways).map(([name, { rounds: times }]) => {
  const { median, p99, min } = summary(times);
  return [name, microseconds(median), ratio(median, theirs.median), ratio(p99, theirs.p99), ratio(min, theirs.min)]; // prettier-ignore
});

showTables(`the path to a device without its kernel, ${rounds} rounds of each in turns`, [
  {
    name: 'path',
    header: ['', 'median, µs', 'median ÷ C', 'p99 ÷ C', 'min ÷ C'],
    rows: [['C', microseconds(theirs.median), '1.00', '1.00', '1.00'], ...rows],
  },
]);
