import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { before, describe, it } from 'mocha';
import { root } from '../support/root.ts';
import { managerNames, Project } from './project.ts';
import { output } from './run.ts';
import { node, nodeLines } from './tools.ts';

interface Loaded {
  devices: string[];
  sum: number;
  size: number;
  addons: string[];
}

const checkout = fileURLToPath(root);

describe('the package, installed', () => {
  before(() => Promise.all(managerNames.map((name) => Project.installed(name))));

  for (const name of managerNames) {
    describe(`by ${name}, without scripts, caches and compilers`, () => {
      let project: Project;
      before(async () => {
        project = await Project.installed(name);
      });

      it('finds no tool to compile with', async () => {
        for (const tool of ['g++', 'c++', 'gcc', 'cc', 'make', 'python3', 'python', 'node-gyp']) {
          const { status, stdout } = await project.run('/bin/sh', '-c', `command -v ${tool}`);
          assert.deepEqual([status !== 0, stdout], [true, ''], tool);
        }
        assert.equal((await project.run('/bin/sh', '-c', 'command -v node')).status, 0);
      });

      for (const line of nodeLines) {
        it(`gives import and require the same classes on Node ${line}`, async () => {
          const program = project.copy('test/package/programs/same.mjs', 'same.mjs');
          const { status, stdout, stderr } = await project.run(node(line), program);
          assert.deepEqual([status, stderr], [0, '']);
          const { names, differing } = JSON.parse(stdout) as Record<
            'names' | 'differing',
            string[]
          >;
          assert.deepEqual(differing, []);
          for (const name of ['VfioDevice', 'VfioError', 'DmaBuffer', 'Iommufd']) {
            assert.ok(names.includes(name), name);
          }
        });

        it(`loads its own binary on Node ${line}, and works`, async () => {
          const program = project.copy('test/package/programs/load.mjs', 'load.mjs');
          const { addons, devices, sum, size } = JSON.parse(
            await project.output(node(line), program),
          ) as Loaded;
          const [addon = '', ...others] = addons;
          assert.deepEqual(others, []);
          assert.ok(addon.startsWith(project.folder), addon);
          assert.match(addon, /\/vfio\/prebuilds\/linux-x64\/vfio\.glibc\.node$/);
          assert.ok(Array.isArray(devices));
          assert.ok(size >= 10_000);
          assert.equal(sum, size * 7);
        });
      }

      it('runs its command', async () => {
        const manifest = readFileSync(
          join(project.folder, 'node_modules/vfio/package.json'),
          'utf8',
        );
        const { version } = JSON.parse(manifest) as { version: string };
        assert.equal(await project.exec('vfio', '--version'), `${version}\n`);
        const main = join(checkout, 'dist/cli/main.js');
        const listed = await output(process.execPath, [main, 'list', '--all'], { cwd: checkout });
        assert.equal(await project.exec('vfio', 'list', '--all'), listed);
      });

      it('is installed from the lockfile, with scripts, and asks for none', async () => {
        assert.doesNotMatch(await project.reinstall(), /gyp|script/);
        const program = project.copy('test/package/programs/load.mjs', 'load.mjs');
        const { size } = JSON.parse(await project.output('node', program)) as Loaded;
        assert.ok(size >= 10_000);
      });
    });
  }

  it('was built by nobody while it was installed', async () => {
    for (const name of managerNames) {
      const { folder } = await Project.installed(name);
      const build = statSync(join(folder, 'node_modules/vfio/build'), { throwIfNoEntry: false });
      assert.equal(build, undefined, name);
    }
  });
});
