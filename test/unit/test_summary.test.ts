import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, beforeEach, describe, it } from 'mocha';
import type { Lane } from '../../scripts/test/lanes.ts';
import { runLane, type Outcome } from '../../scripts/test/run_lane.ts';
import { readResults, type Results } from '../../scripts/test/results.ts';
import { runAll } from '../../scripts/test/schedule.ts';
import { summarize } from '../../scripts/test/summary.ts';
import { reasonIn, type Report } from '../support/reporter.ts';
import { root } from '../support/root.ts';
import { tree } from '../support/tree.ts';

const good: Results = { passed: 3, failures: [], skips: [], isWhole: true, last: 'x', times: [] };

function outcome(lane: string, more: Partial<Outcome> = {}): Outcome {
  const nothing = { seconds: 7, status: 0, isCheck: false, printed: '', notes: [] };
  return { lane, ...nothing, results: good, ...more };
}

const lastLine = (text: string): string | undefined => text.trimEnd().split('\n').at(-1);

describe('the summary of npm test', () => {
  it('is one line, and status 0, where all is well', () => {
    const { text, status } = summarize([
      outcome('lint', { isCheck: true, results: undefined }),
      outcome('unit'),
      outcome('cdev', { notes: ['its VM died'] }),
    ]);
    assert.deepEqual([lastLine(text), status], ['6 passed, 0 failed, 0 skipped', 0]);
    assert.match(
      text,
      /^lane {2}passed {2}failed {2}skipped {2}time\nlint +- +0 +- +7 s\nunit +3 +0 +0/,
    );
    assert.match(text, /^cdev: its VM died$/m);
  });

  it('names every failure of every lane, and counts what was skipped by what it needs', () => {
    const skips = ['udev', 'Linux 7', 'Linux 7'].map((reason) => ({ title: 'x', reason }));
    const failure = (title: string): Results['failures'][0] => ({
      title,
      text: `why\nof ${title}`,
    });
    const { text, status } = summarize([
      outcome('unit', { status: 1, results: { ...good, failures: [failure('a › b')] } }),
      outcome('cdev', {
        status: 2,
        results: { ...good, passed: 1, failures: [failure('c'), failure('d')], skips },
      }),
    ]);
    assert.deepEqual([lastLine(text), status], ['4 passed, 3 failed, 3 skipped', 1]);
    for (const [at, title] of ['unit › a › b', 'cdev › c', 'cdev › d'].entries()) {
      assert.ok(text.includes(`\n${at + 1}) ${title}\n   why\n   of `), text);
    }
    assert.match(text, /3 skipped, for want of\n {3}2: Linux 7\n {3}1: udev\n/);
  });

  const crashes: [string, Partial<Outcome>, RegExp][] = [
    [
      'that crashed',
      { status: 139, results: undefined, printed: 'Segfault' },
      /status 139[^]*Segf/,
    ],
    ['that was killed', { status: null, results: undefined }, /x › it crashed: it was killed/],
    ['that crashed when its tests were over', { status: 3 }, /status 3, after 0 failures/],
    ['that hid a failure', { status: 0, results: { ...good, failures: [{ title: 'a', text: 'b' }] } }, /x › it crashed: it ended with status 0, after 1/], // prettier-ignore
    ['that was cut short', { status: 124, results: { ...good, isWhole: false, last: 'a › b' } }, /x › it was cut short in “a › b”, or after it: it ended with status 124/], // prettier-ignore
    ['that ran no test', { results: { ...good, passed: 0 } }, /x › it ran no test/],
    ['of a check that failed', { isCheck: true, results: undefined, status: 1, printed: 'bad layout' }, /x › it ended with status 1\n {3}bad layout/], // prettier-ignore
  ];
  for (const [what, how, expected] of crashes) {
    it(`has a failure for a lane ${what}`, () => {
      const { text, status } = summarize([outcome('x', how), outcome('y')]);
      assert.equal(status, 1);
      assert.match(text, expected);
      assert.match(lastLine(text) ?? '', /^\d+ passed, [12] failed, 0 skipped$/);
    });
  }

  it('names the slowest tests', () => {
    const times = [500, 90_400, 2_000].map((milliseconds, at) => ({
      title: `t${at}`,
      milliseconds,
    }));
    const { text } = summarize([outcome('unit', { results: { ...good, times } })]);
    assert.match(text, /the slowest tests\n {3}90 s: unit › t1\n {3}2 s: unit › t2\n {3}1 s: unit › t0\n/); // prettier-ignore
  });

  it('finds what a skipped test needs at the end of the innermost title that says it', () => {
    assert.equal(reasonIn(['a (one)', 'b (two, three)', 'c']), 'two, three');
    assert.equal(reasonIn(['a (of it) is']), 'no reason is given');
  });
});

describe('the lanes of npm test', () => {
  let folder: string;
  beforeEach(() => {
    folder = tree({});
  });

  const lane = (name: string, code: string, more: Partial<Lane> = {}): Lane => ({
    name,
    command: (_folder, file) => [process.execPath, '-e', code, file],
    ...more,
  });
  const told: Report[] = [
    { event: 'begin', title: 'a' },
    { event: 'pass', title: 'a', milliseconds: 5 },
    { event: 'begin', title: 'b' },
    { event: 'fail', title: 'b', text: 'why' },
    { event: 'skip', title: 'c', reason: 'want' },
    { event: 'end' },
  ];
  const writing = (text: string): string =>
    `require('node:fs').writeFileSync(process.argv[1], ${JSON.stringify(text)})`;
  const lines = (reports: readonly Report[]): string =>
    reports.map((report) => `${JSON.stringify(report)}\n`).join('');
  const passing = writing(lines(told.filter(({ event }) => event !== 'fail')));
  const good: Results = {
    passed: 1,
    failures: [],
    skips: [{ title: 'c', reason: 'want' }],
    isWhole: true,
    last: 'b',
    times: [{ title: 'a', milliseconds: 5 }],
  };

  const run = (lanes: readonly Lane[], ended: string[] = []): Promise<Outcome[]> =>
    runAll({
      lanes,
      slots: 2,
      run: (one) => runLane(one, folder),
      onEnd: (one) => ended.push(one.lane),
    });

  it('run all, whatever becomes of one', async () => {
    const ended: string[] = [];
    const outcomes = await run(
      [
        lane('none', 'process.kill(process.pid, "SIGKILL")'),
        { name: 'lost', command: () => ['/no/such/program'] },
        lane('good', `${passing}; console.log('said')`),
      ],
      ended,
    );
    const statuses = outcomes.map(({ lane: name, status, results }) => [name, status, results]);
    assert.deepEqual(statuses, [
      ['none', null, undefined],
      ['lost', null, undefined],
      ['good', 0, good],
    ]);
    assert.deepEqual([ended.length, outcomes[2]?.printed], [3, 'said\n']);
    assert.match(outcomes[1]?.printed ?? '', /ENOENT/);
  });

  it('that come after one are not run where that has failed', async () => {
    const outcomes = await run([
      lane('build', 'process.exit(1)', { isCheck: true }),
      lane('built', passing, { after: ['build'] }),
      lane('other', passing, { after: ['absent'] }),
    ]);
    assert.equal(outcomes[1]?.printed, 'not run, since build failed\n');
    assert.deepEqual(outcomes[2]?.results, good);
    assert.equal(lastLine(summarize(outcomes).text), '1 passed, 2 failed, 1 skipped');
  });

  it('keep what they told until they were cut short, and name the test', async () => {
    const text = lines(told.slice(0, 4)) + '{"event":"beg';
    const [one] = await run([lane('cut', `${writing(text)}; process.exit(124)`)]);
    const failures = [{ title: 'b', text: 'why' }];
    assert.deepEqual(one?.results, { ...good, failures, skips: [], isWhole: false });
    assert.match(summarize([one]).text, /2 failed:\n\n1\) cut › b\n[^]*2\) cut › it was cut short in “b”, or after it/); // prettier-ignore
  });

  it('are run again, twice at most, where the VM died, and that is told', async () => {
    for (const [deaths, status] of [
      [1, 0],
      [2, 0],
      [3, 125],
    ] as const) {
      const died = join(folder, `died-${deaths}`);
      const code = `
        const { appendFileSync, readFileSync } = require('node:fs');
        appendFileSync('${died}', '.');
        if (readFileSync('${died}').length <= ${deaths}) process.exit(125);
        ${passing}`;
      const [one] = await run([lane('lab', code)]);
      assert.deepEqual([one?.status, one?.results], [status, status === 0 ? good : undefined]);
      const again = Math.min(deaths, 2);
      assert.equal(one?.notes.length, again);
      assert.match(one.notes.join(), /^(its VM died after \d+ s, [^,]*; it was run again,?)+$/);
    }
  });
});

describe('the reporter', () => {
  const folder = mkdtempSync(new URL('test/unit/.tmp-', root).pathname);
  after(() => {
    rmSync(folder, { recursive: true });
  });

  /** Runs mocha on a file with these tests. */
  function report(body: string, ...flags: string[]): { printed: string; results: Results } {
    const file = join(folder, 'reported.test.ts');
    const output = join(folder, 'results.jsonl');
    writeFileSync(file, `import { afterEach, it } from 'mocha';\n${body}`);
    const mocha = new URL('node_modules/mocha/bin/mocha.js', root).pathname;
    const support = [
      ...[
        '--require',
        './test/support/whole_errors.ts',
        '--reporter',
        './test/support/reporter.ts',
      ],
      ...['--reporter-option', `output=${output}`, '--no-config', '--import=tsx'],
    ];
    const { stdout } = spawnSync(process.execPath, [mocha, ...support, ...flags, file], {
      cwd: root,
      encoding: 'utf8',
    });
    const results = readResults(output);
    assert.ok(results?.isWhole);
    return { printed: stdout, results };
  }

  it('ends a run that what failed keeps from ending', () => {
    const { results } = report(`
      it('leaves something behind', () => {
        setInterval(() => undefined, 1000);
        throw new Error('before it is cleared');
      });`);
    assert.deepEqual(
      results.failures.map(({ title }) => title),
      ['leaves something behind'],
    );
  });

  for (const flags of [[], ['--parallel', '--jobs', '2']]) {
    it(`tells all errors that an error has within it: mocha ${flags.join(' ')}`, () => {
      const { printed, results } = report(
        `
        it('passes', () => undefined);
        it('is left out (needs this)');
        it('disposes', () => {
          using _one = { [Symbol.dispose]() { throw new Error('of the disposal'); } };
          throw new Error('of the body');
        });
        it('has many', () => {
          throw new AggregateError([new Error('the first', { cause: 'its cause' })], 'many');
        });
        it('fails in a hook', () => undefined);
        afterEach(function () {
          if (this.currentTest.title !== 'fails in a hook') return;
          throw new Error('of the hook', { cause: new Error('below') });
        });`,
        ...flags,
      );
      assert.deepEqual([results.passed, results.skips.length], [2, 1]);
      assert.equal(results.skips[0]?.reason, 'needs this');
      const [disposes, many, hook, ...more] = results.failures;
      assert.deepEqual(more, []);
      assert.equal(disposes?.title, 'disposes');
      assert.match(disposes.text, /^ {2}error: Error: of the disposal$/m);
      assert.match(disposes.text, /^ {2}suppressed: Error: of the body$/m);
      assert.match(
        many?.text ?? '',
        /error 1 of 1: Error: the first$[^]*^ {4}caused by: 'its cause'/m,
      );
      assert.match(hook?.title ?? '', /"after each" hook.*fails in a hook/);
      assert.match(hook?.text ?? '', /of the hook$[^]*caused by: Error: below$/m);
      for (const { text } of results.failures) {
        for (const line of text.split('\n')) assert.ok(printed.includes(line.trim()), line);
      }
      assert.equal(printed.split('below').length, 2, 'told once');
    });
  }
});

describe('npm test', () => {
  const script = new URL('scripts/test.ts', root).pathname;

  it('knows its lanes', () => {
    const args = ['--import', 'tsx', script, 'cdec'];
    const { status, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' });
    assert.equal(status, 2);
    assert.match(stderr, /there is no lane cdec; there are build, cdev, threads, lint, /);
  });

  it('knows the files of the device tests that run over every backend', () => {
    const program = `
      const { lanes } = await import(${JSON.stringify(new URL('scripts/test/lanes.ts', root).href)});
      const all = lanes.flatMap(({ command }) => command('/results', '/results/x.json'));
      console.log(JSON.stringify(all.filter((word) => word.startsWith('build-test/test/device/'))));`;
    const args = ['--import', 'tsx', '--input-type=module', '-e', program];
    const text = execFileSync(process.execPath, args, { cwd: root, encoding: 'utf8' });
    const files = JSON.parse(text) as string[];
    assert.ok(files.length > 30);
    for (const file of files) {
      const source = file.replace('build-test/', '').replace('.js', '.ts');
      assert.ok(readFileSync(new URL(source, root), 'utf8').length > 0);
    }
  });
});
