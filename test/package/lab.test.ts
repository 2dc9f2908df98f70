import assert from 'node:assert/strict';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { lab } from '../lab/vm.ts';
import { Project } from './project.ts';
import { node } from './tools.ts';

describe('the package, installed, in the lab', () => {
  it('opens a device, reads its BAR and takes its interrupts', async () => {
    const { folder } = await Project.installed('npm 12');
    // The example that the package has: Node 24 runs it as it stands, outside node_modules.
    const example = join(folder, 'edu_interrupt.mts');
    copyFileSync(join(folder, 'node_modules/vfio/examples/edu_interrupt.ts'), example);
    const said = await lab([node('24'), example], { cwd: folder });
    assert.deepEqual([said.stderr, said.status], ['', 0]);
    assert.equal(said.stdout.toString(), '5! = 120\n10! = 3628800\n');
  });
});
