import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'mocha';
import { backends } from '../../lib/cli/bench/paths.ts';
import { commands } from '../../lib/cli/commands.ts';
import { run } from '../../lib/cli/run.ts';
import { describeLab } from '../support/devices.ts';
import { vfioFds } from '../support/proc.ts';

interface Summary {
  median: number;
  p99: number;
  min: number;
}

interface Report {
  rounds: number;
  missing: { backend: string; why: string }[];
  results: { device: string; backend: string; form: string; steps: Record<string, Summary> }[];
  fleets: { backend: string; open: Summary; close: Summary }[];
}

async function bench(...argv: string[]): Promise<{ report: Report; progress: string[] }> {
  let out = '';
  let err = '';
  const progress: string[] = [];
  const status = await run(['bench', 'open', ...argv, '--json'], commands, {
    print: (text) => void (out += text),
    note: (text) => void (err += text),
    colour: false,
    progress: (text) => void progress.push(text),
  });
  assert.deepEqual([status, err], [0, '']);
  return { report: JSON.parse(out) as Report, progress };
}

describeLab('vfio bench open', ['edu', 'edu-port'], (lab) => {
  const addresses = [lab.edu.address, lab['edu-port'].address];

  it('times every way that the kernel has, each step of it, and leaves nothing open', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'vfio-test-'));
    const file = join(folder, 'open.svg');
    const args = ['--rounds', '2', '--concurrency', '2', '--svg', file];
    const { report, progress } = await bench(...addresses, ...args);
    assert.deepEqual(vfioFds(), []);
    const ways = addresses.flatMap((device) =>
      backends.flatMap((backend) => [`${device} ${backend} sync`, `${device} ${backend} async`]),
    );
    assert.deepEqual(report.missing, []);
    assert.deepEqual(
      report.results.map(({ device, backend, form }) => `${device} ${backend} ${form}`),
      ways,
    );
    for (const { backend, steps } of report.results) {
      const attach = backend === 'cdev' ? ['attach'] : [];
      const expected = ['lookup', 'open', 'bind', 'info', ...attach, 'close'];
      assert.deepEqual(Object.keys(steps), [...expected, 'total', 'outside bind, close']);
      for (const { min, median, p99 } of Object.values(steps)) {
        assert.ok(min > 0 && min <= median && median <= p99);
      }
    }
    assert.deepEqual(
      report.fleets.map(({ backend }) => backend),
      [...backends],
    );
    const svg = readFileSync(file, 'utf8');
    rmSync(folder, { recursive: true });
    for (const way of ['cdev sync', 'group async', 'compat sync']) assert.ok(svg.includes(way));
    assert.match(progress[0] ?? '', /^each alone \[\.+#*\.*\] 1 of 60 rounds$/);
    assert.equal(progress.at(-1), '');
  });

  it('times one way alone', async () => {
    const { report } = await bench(lab.edu.address, '--backend', 'group', '--rounds', '1');
    const ways = report.results.map(({ backend, form }) => `${backend} ${form}`);
    assert.deepEqual(ways, ['group sync', 'group async']);
    assert.deepEqual(report.fleets, []);
  });
});
