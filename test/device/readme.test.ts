import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { transformSync } from 'esbuild';
import { it } from 'mocha';
import { VfioDevice } from '../../lib/index.ts';
import { describeDevice } from '../support/devices.ts';
import { searches } from '../support/errors.ts';
import { blocksOf } from '../support/readme.ts';
import { root } from '../support/root.ts';

describeDevice('the program of README or the guide that', (spec) => {
  // Blocks without an import are parts of programs.
  const complete = ['README.md', 'docs/guide.md']
    .flatMap((page) => blocksOf(page, 'ts'))
    .filter((block) => block.startsWith('import'));
  const [opens, shortest, lists, explains, hands, shares, ...more] = complete;

  /** Runs a program as a user of the package would, on a device that is there. */
  function run(program = ''): { out: string[]; err: string } {
    assert.ok(program.includes("from 'vfio'"));
    const { code } = transformSync(program.replaceAll('0000:3b:00.0', spec.address), {
      loader: 'ts',
      target: 'node20',
    });
    // Within the package, `vfio` is the package itself.
    const folder = new URL('build-test/readme/', root);
    mkdirSync(folder, { recursive: true });
    const file = new URL('program.mjs', folder);
    writeFileSync(file, code);
    const child = spawnSync(process.execPath, [file.pathname], { encoding: 'utf8' });
    assert.equal(child.status, 0, child.stderr);
    return { out: child.stdout.trimEnd().split('\n'), err: child.stderr };
  }

  it('is the shortest', async () => {
    const { out } = run(shortest);
    await using device = await VfioDevice.open(spec);
    assert.deepEqual(
      out,
      device.info.regions.map(({ name, size }) => `${name} ${size}`),
    );
  });

  it('opens a device, and maps memory for it', async () => {
    const { out, err } = run(opens);
    await using device = await VfioDevice.open(spec);
    const { regions, irqs } = device.info;
    assert.equal(out.length, regions.length + irqs.length + 1);
    assert.match(out.at(-1) ?? '', /^the device finds these bytes at \d+n$/);
    assert.equal(out[0], `bar0 ${regions[0]?.size} ${regions[0]?.flags.join(' ')}`);
    assert.equal(err, '');
  });

  it('says why one does not open, or opens it', async () => {
    assert.match(run(explains).out[0] ?? '', /and ours$/);
    await using _held = await VfioDevice.open(spec);
    const holder = `bound already, by process ${process.pid} `;
    let said = run(explains);
    // Its search for who holds the device has 250 ms, which a busy machine may need for other
    // things.
    const isCut = ({ err }: typeof said): boolean =>
      !err.includes(holder) || err.includes('searched: false');
    for (let again = 0; again < searches && isCut(said); again++) said = run(explains);
    const { out, err } = said;
    assert.deepEqual(out, ['']);
    assert.match(err, /^held-by-cdev certain/m);
  });

  it('hands one to another program', async () => {
    const { out } = run(hands);
    assert.match(out[0] ?? '', /^\/dev\/vfio\/devices\/vfio\d+$/);
    assert.equal(out[1], '/dev/iommu');
    await (await VfioDevice.open(spec)).close();
  });

  it('shares a register and memory with a worker', async () => {
    const { out } = run(shares);
    await using device = await VfioDevice.open(spec);
    assert.deepEqual(out, [String(device.region('bar0').map().read32(0))]);
  });

  it('lists what there is', () => {
    assert.ok(run(lists).out.some((line) => line.startsWith(spec.address)));
  });

  it('is one of these six', () => {
    assert.deepEqual(more, []);
  });
});
