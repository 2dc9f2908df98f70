import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { openJson, type OpenReport, openText } from '../../lib/cli/bench/report.ts';
import { interleave, progressBar, quantile, summary, timesOf } from '../../lib/cli/bench/rounds.ts';
import { openSvg, timeText } from '../../lib/cli/bench/svg.ts';
import { commands } from '../../lib/cli/commands.ts';
import { run } from '../../lib/cli/run.ts';

const report: OpenReport = {
  machine: {
    kernel: '6.12.0',
    architecture: 'x64',
    processor: 'Example <1>',
    processors: 2,
    virtual: true,
    node: 'v20.19.0',
    load: 0.5,
  },
  rounds: 2,
  warmUp: 1,
  concurrency: 2,
  devices: ['0000:3b:00.0'],
  missing: [{ backend: 'compat', why: 'there is none' }],
  measured: [
    {
      device: '0000:3b:00.0',
      backend: 'cdev',
      form: 'sync',
      rounds: [
        { lookup: 1_000, open: 2_000, bind: 300_000, info: 4_000, attach: 5_000, close: 600_000 },
        { lookup: 3_000, open: 2_000, bind: 100_000, info: 4_000, attach: 5_000, close: 600_000 },
      ],
    },
    {
      device: '0000:3b:00.0',
      backend: 'group',
      form: 'async',
      rounds: [{ lookup: 1_500, open: 2_500, bind: 400_000, info: 4_000, close: 700_000 }],
    },
  ],
  fleets: [{ backend: 'cdev', rounds: [{ open: 1_000_000, close: 2_000_000 }] }],
};

describe('rounds of a benchmark', () => {
  it('are made in turns, those that warm up not kept', async () => {
    const made: string[] = [];
    const way = (
      name: string,
    ): { run: (count: number) => Promise<string[]>; rounds: string[] } => ({
      run: (count) => {
        made.push(`${name}${count}`);
        return Promise.resolve(Array.from({ length: count }, () => name));
      },
      rounds: [],
    });
    const [a, b] = [way('a'), way('b')];
    const progress: string[] = [];
    // As many to warm up as count.
    await interleave([a, b], { warmUp: 3, rounds: 3, turn: 2 }, (done, total) =>
      progress.push(`${done}/${total}`),
    );
    assert.deepEqual(made, ['a2', 'b2', 'a1', 'b1', 'a2', 'b2', 'a1', 'b1']);
    assert.deepEqual([a.rounds.length, b.rounds.length], [3, 3]);
    assert.deepEqual([progress[0], progress.at(-1)], ['2/12', '12/12']);
  });

  it('come to a median, a p99 and a minimum, and change no order', () => {
    const values = Array.from({ length: 200 }, (_, at) => 200 - at);
    assert.deepEqual(summary(values), { median: 101, p99: 199, min: 1 });
    assert.equal(values[0], 200);
    assert.ok(Number.isNaN(quantile([], 0.5)));
  });

  it('have sums of the steps that they have', () => {
    const [first, second] = report.measured;
    const all = timesOf(first?.rounds ?? []);
    assert.deepEqual(all.get('total'), [912_000, 714_000]);
    assert.deepEqual(all.get('outside bind, close'), [12_000, 14_000]);
    assert.ok(!timesOf(second?.rounds ?? []).has('attach'));
  });
});

describe('vfio bench open', () => {
  it('prints a table for a person', () => {
    assert.equal(
      openText(report),
      `Linux 6.12.0 x64; 2 × Example <1>, virtual; Node v20.19.0; load 0.50
2 rounds of each way after 1 to warm up, in turns; µs
no compat (group, iommufd as its container): there is none

0000:3b:00.0: device cdev, iommufd
                       sync
                     median    p99    min
lookup                  3.0    3.0    1.0
open                    2.0    2.0    2.0
bind                  300.0  300.0  100.0
info                    4.0    4.0    4.0
attach                  5.0    5.0    5.0
close                 600.0  600.0  600.0
total                 912.0  912.0  714.0
outside bind, close    14.0   14.0   12.0

0000:3b:00.0: group, type1 container
                      async
                     median     p99     min
lookup                  1.5     1.5     1.5
open                    2.5     2.5     2.5
bind                  400.0   400.0   400.0
info                    4.0     4.0     4.0
close                 700.0   700.0   700.0
total                1108.0  1108.0  1108.0
outside bind, close     8.0     8.0     8.0

1 together, 2 at once
      open all                  close all
        median     p99     min     median     p99     min
cdev    1000.0  1000.0  1000.0     2000.0  2000.0  2000.0`,
    );
  });

  it('prints nanoseconds for a program', () => {
    const { results, fleets, unit, machine } = JSON.parse(openJson(report)) as {
      results: { backend: string; steps: Record<string, unknown> }[];
      fleets: unknown[];
      unit: string;
      machine: unknown;
    };
    assert.deepEqual([unit, machine], ['ns', report.machine]);
    assert.deepEqual(results[1]?.steps['bind'], { median: 400_000, p99: 400_000, min: 400_000 });
    const open = { median: 1_000_000, p99: 1_000_000, min: 1_000_000 };
    const close = { median: 2_000_000, p99: 2_000_000, min: 2_000_000 };
    assert.deepEqual(fleets, [{ backend: 'cdev', open, close }]);
  });

  it('draws a picture in which every time is inside the axis, and no name is markup', () => {
    const [measured] = report.measured;
    const svg = openSvg(report.machine, 2, [
      { group: 'a & b', name: 'sync', fill: 'solid', rounds: measured?.rounds ?? [] },
    ]);
    assert.match(svg, /^<svg xmlns="http:\/\/www.w3.org\/2000\/svg" width="960"/);
    assert.ok(svg.includes('a &amp; b') && svg.includes('Example &lt;1>'));
    assert.ok(!/NaN|Infinity|undefined/.test(svg));
    const bars = [...svg.matchAll(/class="bar solid" x="([\d.]+)"/g)].map(([, x]) => Number(x));
    assert.equal(bars.length, 12);
    assert.ok(bars.every((x) => x >= 130 && x <= 870));
  });

  it('says times with three digits', () => {
    const texts = [0, 999, 1_000, 1_234_567, 250_000_000, 12_300_000_000].map(timeText);
    assert.deepEqual(texts, ['0 ns', '999 ns', '1 µs', '1.23 ms', '250 ms', '12.3 s']);
  });

  it('shows on a terminal how far it is, and removes that at the end', () => {
    const lines: string[] = [];
    const none = (): void => undefined;
    const out = { print: none, note: none, colour: false };
    assert.equal(progressBar(out, 'each'), undefined);
    const bar = progressBar({ ...out, progress: (text) => void lines.push(text) }, 'each');
    bar?.(5, 10);
    bar?.(10, 10);
    assert.deepEqual(lines, ['each [###############...............] 5 of 10 rounds', '']);
  });

  const misuse: [string[], RegExp][] = [
    [[], /<device…> is missing: vfio bench open <device…>/],
    [
      ['3b:00.0', '--backend', 'vfio'],
      /--backend must be auto, cdev, group, compat or noiommu, not 'vfio'/,
    ],
    [['3b:00.0', '--rounds', '0'], /--rounds must be a whole number from 1 to 1000000, not '0'/],
    [['3b:00.0', '--concurrency', '65'], /--concurrency must be .* from 1 to 64, not '65'/],
    [['3b:00'], /must be a device address.*'3b:00'/],
  ];
  for (const [argv, message] of misuse) {
    it(`refuses: vfio bench open ${argv.join(' ')}`, async () => {
      let err = '';
      const status = await run(['bench', 'open', ...argv], commands, {
        print: () => undefined,
        note: (text) => void (err += `${text}\n`),
        colour: false,
      });
      assert.equal(status, 2);
      assert.match(err, message);
      assert.match(err, /^Try: vfio bench open --help$/m);
    });
  }
});
