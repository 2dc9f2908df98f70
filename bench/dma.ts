// Times mapping, beside the C program bench/baseline/dma.c on a second device, some rounds each in
// turn.
//
//   npm run bench:dma [-- <kind> …]     in the lab, its edu and edu-port; all kinds, or these
import { writeFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { median, quantile } from '../lib/cli/bench/rounds.ts';
import { DmaBuffer } from '../lib/iommu/dma_buffer.ts';
import { Iommufd } from '../lib/iommu/iommufd.ts';
import { VfioDevice } from '../lib/device/device.ts';
import { locateDevice } from '../lib/locate/find_cdev.ts';
import { devices, type TestDevice } from '../test/support/devices.ts';
import { BaselineRounds } from './baseline.ts';
import { microseconds, positionals, ratio, showTables, type Table } from './table.ts';

const mebibyte = 2 ** 20;
const gibibyte = 2 ** 30;

interface Time {
  ns: number;
}

function lab(name: string): TestDevice {
  const device = devices.find((each) => each.name === name);
  if (!device) throw new Error(`this needs the lab's ${name}: npm run bench:dma`);
  return device;
}

const iommufd = Iommufd.open();
const device = await VfioDevice.open(lab('edu'), { iommufd });
const ioas = iommufd.createIoas();
await device.attach(ioas);
const baselineDevice = locateDevice(lab('edu-port')).sysfsPath;

type Round = () => number | Promise<number>;

const now = (): bigint => process.hrtime.bigint();
const since = (start: bigint): number => Number(now() - start);

const titles = {
  page: 'map and unmap 4 KiB',
  file: 'map and unmap 4 KiB; C by the file, as here',
  threads: 'map 64 buffers of 1 MiB at once; C with a new thread for each',
  large: '1 GiB populated, allocated and mapped',
  huge: '1 GiB in pages of 2 MiB, the same',
};
const rows: string[][] = [];
const wanted = positionals();

/** Whether the command line asks for this kind, or for none in particular. */
function isWanted(kind: string): boolean {
  return wanted.length === 0 || wanted.includes(kind);
}

async function compare(
  kind: keyof typeof titles,
  ways: Record<string, Round>,
  rounds: number,
): Promise<void> {
  if (!isWanted(kind)) return;
  const baseline = BaselineRounds.inC<Time>('dma', [kind, baselineDevice]);
  const turn = Math.max(1, Math.floor(rounds / 10));
  const times: Record<string, number[]> = { c: [] };
  // The first tenth warms up.
  for (let at = -turn; at < rounds; at += turn) {
    const theirs = await baseline.rounds(turn);
    if (at >= 0) times['c']?.push(...theirs.map(({ ns }) => ns));
    for (const [name, round] of Object.entries(ways)) {
      for (let each = 0; each < turn; each++) {
        const time = await round();
        if (at >= 0) (times[name] ??= []).push(time);
      }
    }
  }
  await baseline.end();
  const c = median(times['c'] ?? []);
  for (const name of Object.keys(ways)) {
    rows.push([`${titles[kind]}, ${name}`, microseconds(c), ratio(median(times[name] ?? []), c)]);
  }
}

const page = DmaBuffer.allocateSync(4096, { populate: true });
// Until the engine has optimised everything, as bench/open.ts does.
for (let at = 0; at < 20_000; at++) ioas.mapSync(page).unmapSync();

/** In a row, as in bench/baseline/dma.c: reading the clock takes a tenth of what one takes here. */
const inARow = 10;

const pairs = {
  sync: () => {
    const start = now();
    for (let at = 0; at < inARow; at++) ioas.mapSync(page).unmapSync();
    return since(start) / inARow;
  },
  async: async () => {
    const start = now();
    for (let at = 0; at < inARow; at++) {
      const mapping = await ioas.map(page);
      await mapping.unmap();
    }
    return since(start) / inARow;
  },
};
await compare('page', pairs, 1000);
if (iommufd.mapsFiles) await compare('file', { sync: pairs.sync }, 1000);

const buffers = Array.from({ length: isWanted('threads') ? 64 : 0 }, () =>
  DmaBuffer.allocateSync(mebibyte, { populate: true }),
);
await compare(
  'threads',
  {
    async: async () => {
      const start = now();
      await Promise.all(buffers.map((buffer) => ioas.map(buffer)));
      const time = since(start);
      ioas.unmapAllSync();
      return time;
    },
  },
  40,
);

/** How late a timer of 1 ms is while `work` goes on, in nanoseconds, at the 99th percentile. */
async function gapWhile(work: Promise<unknown>): Promise<number> {
  const gaps: number[] = [];
  let busy = true;
  void work.finally(() => (busy = false));
  // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- set by the promise
  while (busy) {
    const start = now();
    await setTimeout(1);
    gaps.push(since(start));
  }
  return quantile(gaps, 0.99);
}

async function large(hugePages: false | '2M'): Promise<number> {
  const start = now();
  const buffer = await DmaBuffer.allocate(gibibyte, { populate: true, hugePages });
  const mapping = await ioas.map(buffer);
  const time = since(start);
  await mapping.unmap();
  await buffer.dispose();
  return time;
}

await compare('large', { async: () => large(false) }, 5);
const idle: number[] = [];
const busy: number[] = [];
for (let at = 0; at < 7 && isWanted('large'); at++) {
  idle.push(await gapWhile(setTimeout(1500)));
  busy.push(await gapWhile(large(false)));
}
const gap: Table[] =
  busy.length === 0
    ? []
    : [
        {
          name: 'dma-loop',
          header: ['', 'p99 gap of the loop, µs', '÷ idle'],
          rows: [
            ['idle', microseconds(median(idle)), '1.00'],
            [
              'while 1 GiB is mapped',
              microseconds(median(busy)),
              ratio(median(busy), median(idle)),
            ],
          ],
        },
      ];

if (isWanted('huge')) writeFileSync('/proc/sys/vm/nr_hugepages', '1100');
await compare('huge', { async: () => large('2M') }, 5);

await device.detach();
await ioas.close();
await device.close();
await iommufd.close();
showTables('mapping for DMA, medians', [
  { name: 'dma', header: ['', 'C, µs', '÷ C'], rows },
  ...gap,
]);
