import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { transformSync } from 'esbuild';
import { it } from 'mocha';
import { describeLab } from '../support/devices.ts';
import { paperDevice, programOf, runsOverFake } from '../support/paper_programs.ts';
import { programs } from '../support/papers.ts';
import { root } from '../support/root.ts';

// It has a bit of everything: memory and I/O BARs, power states, MSI-X. What its registers are
// written to by the programs has no effect, since nothing is switched on.
describeLab('the papers’ program', ['e1000e-port'], ({ 'e1000e-port': spec }) => {
  /** Runs a program as a user of the package would, on a device that is there. */
  function run(program: string): [status: number | null, stderr: string] {
    const short = paperDevice.replace(/^0000:/, '');
    const here = program.replaceAll(paperDevice, spec.address).replaceAll(short, spec.address);
    const { code } = transformSync(here, { loader: 'ts', target: 'node20' });
    // Within the package, `vfio` is the package itself.
    const folder = new URL('build-test/papers/', root);
    mkdirSync(folder, { recursive: true });
    const file = new URL('program.mjs', folder);
    writeFileSync(file, code);
    const args = [file.pathname, spec.address];
    const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    return [status, stderr];
  }

  for (const block of programs()) {
    const program = programOf(block);
    if (block.note !== undefined || runsOverFake(program)) continue;
    it(`runs: ${block.page}:${block.line}`, () => {
      const [status, stderr] = run(program);
      assert.equal(status, 0, stderr);
      assert.doesNotMatch(stderr, /Warning|VFIO_NOT_CLOSED/);
    });
  }
});
