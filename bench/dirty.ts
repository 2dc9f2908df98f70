// How long reading the dirty pages of 1 GiB takes, a bit for each page of 4 KiB, on the kernel's
// mock IOMMU; against the same in C (bench/baseline/dirty.c), which has the same page table.
//
//   npm run bench:dirty          in the lab, on Linux 7.3
import { interleave, summary, type Way } from '../lib/cli/bench/rounds.ts';
import { DmaBuffer, Iommufd } from '../lib/index.ts';
import { MockIommu, selftest } from '../test/support/mock_iommu.ts';
import { BaselineRounds } from './baseline.ts';
import { milliseconds, ratio, showTables } from './table.ts';

const length = 1n << 30n;
const chunk = 16 << 20;

await using iommufd = Iommufd.open();
const mock = new MockIommu(iommufd);
const ioas = iommufd.createIoas();
// A bit for each page, where large pages would have one for many.
ioas.hugePages = false;
const device = mock.makeDevice(ioas.id);
const hwpt = await ioas.createHwpt(device, { dirtyTracking: true });
mock.replace(device, hwpt.id);
await using buffer = await DmaBuffer.allocate(chunk);
const first = await ioas.map(buffer, { iova: selftest.aperture });
for (let at = BigInt(chunk); at < length; at += BigInt(chunk)) {
  await ioas.copy(first.iova, chunk, { iova: selftest.aperture + at });
}
await hwpt.setDirtyTracking(true);
const range = { iova: selftest.aperture, length };

const args = [hwpt.id, range.iova, length].map(String);
const program = BaselineRounds.inC<{ ns: number }>('dirty', args, iommufd.fd);
const c: Way<number> = {
  run: async (count) => (await program.rounds(count)).map(({ ns }) => ns),
  rounds: [],
};
const ours: Way<number> = {
  run: async (count) => {
    const times: number[] = [];
    while (times.length < count) {
      const start = process.hrtime.bigint();
      await hwpt.readDirty(range);
      times.push(Number(process.hrtime.bigint() - start));
    }
    return times;
  },
  rounds: [],
};
await interleave([c, ours], { warmUp: 5, rounds: 60, turn: 5 });
await program.end();

const theirs = summary(c.rounds);
const rows = Object.entries({ C: c, 'hwpt.readDirty': ours }).map(([name, { rounds }]) => {
  const { median, min } = summary(rounds);
  const times = [median, min].map(milliseconds);
  return [name, ...times, ratio(median, theirs.median), ratio(min, theirs.min)];
});
showTables('the dirty pages of 1 GiB', [
  { name: 'dirty', header: ['', 'median, ms', 'min, ms', 'median ÷ C', 'min ÷ C'], rows },
]);
