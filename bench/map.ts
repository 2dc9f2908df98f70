// Times the way of a map and its unmapping on this machine's own processor, where no VFIO kernel is
// needed: bench/baseline/iommufd.c is preloaded, whose ioctls succeed at once, here and in the C
// program bench/baseline/map.c.
//
//   npm run bench:map
import { interleave, summary, type Way } from '../lib/cli/bench/rounds.ts';
import { OwnedFd } from '../lib/core/owned_fd.ts';
import { DmaBuffer } from '../lib/iommu/dma_buffer.ts';
import { Ioas } from '../lib/iommu/ioas.ts';
import { Iommufd } from '../lib/iommu/iommufd.ts';
import { BaselineRounds } from './baseline.ts';
import { ratio, showTables } from './table.ts';

/** As in bench/baseline/map.c. */
const pairs = 500;

const fd = OwnedFd.open('/dev/full', 'the stand-in for an iommufd');
const ioas = Ioas.adopt(Iommufd.adopt(fd).parent, 1);
const page = DmaBuffer.allocateSync(4096, { populate: true });

const program = BaselineRounds.inC<{ ns: number }>('map', []);
const c: Way<number> = {
  run: async (count) => (await program.rounds(count)).map(({ ns }) => ns),
  rounds: [],
};

function timeSync(): number {
  const start = process.hrtime.bigint();
  for (let pair = 0; pair < pairs; pair++) ioas.mapSync(page).unmapSync();
  return Number(process.hrtime.bigint() - start) / pairs;
}

async function timeAsync(): Promise<number> {
  const start = process.hrtime.bigint();
  for (let pair = 0; pair < pairs; pair++) {
    const mapping = await ioas.map(page);
    await mapping.unmap();
  }
  return Number(process.hrtime.bigint() - start) / pairs;
}

const sync: Way<number> = {
  run: (count) => Promise.resolve(Array.from({ length: count }, timeSync)),
  rounds: [],
};
const async: Way<number> = {
  run: async (count) => {
    const times: number[] = [];
    // One of them takes as long as many of the others.
    for (let at = 0; at < count; at += 20) times.push(await timeAsync());
    return times;
  },
  rounds: [],
};
await interleave([c, sync, async], { warmUp: 200, rounds: 2000, turn: 100 });
await program.end();
page.disposeSync();
fd.closeSync();

const theirs = summary(c.rounds);
const rows = Object.entries({ C: c, sync, async }).map(([name, { rounds }]) => {
  const { median, min } = summary(rounds);
  return [name, median.toFixed(0), (median - theirs.median).toFixed(0), min.toFixed(0), (min - theirs.min).toFixed(0), ratio(min, theirs.min)]; // prettier-ignore
});
showTables('a map and its unmapping without their kernel', [
  {
    name: 'map',
    header: ['', 'median, ns', '− C', 'min, ns', '− C', 'min ÷ C'],
    rows,
  },
]);
