import assert from 'node:assert/strict';
import { cpSync, existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { Project } from './project.ts';
import { run } from './run.ts';
import { newFolder } from './tarball.ts';

const wanted = process.env['VFIO_TEST_BUILD'] === '1';

describe('vfio build, where the package is installed', () => {
  it('says what to install where there is no compiler', async () => {
    const project = await Project.installed('npm 10');
    const { status, stdout, stderr } = await project.tryExec('vfio', 'build');
    assert.deepEqual([status, stdout], [1, '']);
    assert.match(stderr, /install what is not there yet: g\+\+ make python3/);
    assert.match(stderr, /apt-get install -y g\+\+ make python3/);
    assert.match(stderr, /apk add g\+\+ make python3/);
  });

  const title = wanted ? '' : ' (VFIO_TEST_BUILD=1 to run this: it compiles for two minutes)';
  (wanted ? it : it.skip)(
    `builds the addon, which is then the one that loads${title}`,
    async () => {
      // A copy, since the others share the installed folder.
      const folder = newFolder('build');
      const { folder: installed } = await Project.installed('npm 10');
      cpSync(installed, folder, { recursive: true, verbatimSymlinks: true });
      rmSync(join(folder, 'node_modules/vfio/prebuilds'), { recursive: true });
      const load =
        'import { DmaBuffer } from "vfio"; console.log(DmaBuffer.allocateSync(4096).size);';
      const program = ['--input-type=module', '--eval', load];
      const before = await run(process.execPath, program, { cwd: folder });
      assert.match(before.stderr, /ERR_VFIO_ADDON_NOT_FOUND/);

      const main = join(folder, 'node_modules/vfio/dist/cli/main.js');
      const built = await run(process.execPath, [main, 'build'], { cwd: folder });
      assert.deepEqual([built.status, built.stderr], [0, '']);
      assert.ok(existsSync(join(folder, 'node_modules/vfio/build/Release/vfio.node')));
      const after = await run(process.execPath, program, { cwd: folder });
      assert.deepEqual([after.stdout, after.stderr], ['4096\n', '']);
    },
  ).timeout(900_000);
});
