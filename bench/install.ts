// Times `npm install <tarball>` with a warm cache, and tells what the tarball weighs.
//
//   npm run bench:install [-- rounds]

import { summary } from '../lib/cli/bench/rounds.ts';
import { install, withTarball } from './installed.ts';
import { milliseconds, positionals, showTables } from './table.ts';

const rounds = Number(positionals()[0] ?? 5);

const times: number[] = [];

await withTarball((folder, tarball) => {
  install(folder, tarball); // fills npm's cache
  for (let round = 0; round < rounds; round++) {
    const start = process.hrtime.bigint();
    install(folder, tarball);
    times.push(Number(process.hrtime.bigint() - start));
  }
  const kilobytes = (bytes: number): string => `${Math.round(bytes / 1000)} kB`;
  showTables(`installing, ${rounds} times`, [
    {
      name: 'install',
      header: ['', ''],
      rows: [
        ['the tarball', kilobytes(tarball.size)],
        ['… unpacked', `${kilobytes(tarball.unpackedSize)}, ${tarball.entryCount} files`],
        ['`npm install`, median', `${milliseconds(summary(times).median)} ms`],
        ['… the least', `${milliseconds(summary(times).min)} ms`],
      ],
    },
  ]);
});
