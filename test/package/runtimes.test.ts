import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Project } from './project.ts';
import { tool } from './tools.ts';

describe('other runtimes', () => {
  for (const [name, program, args] of [
    ['Bun', 'bun/bin/bun', ['run']],
    ['Deno', 'deno/deno', ['run', '--allow-all']],
  ] as const) {
    it(`${name} imports the package, catches what it does not support, and lives on`, async () => {
      const project = await Project.installed('npm 11');
      const load = project.copy('test/package/programs/load.mjs', 'load.mjs');
      const { status, stdout, stderr } = await project.run(tool(program), ...args, load);
      assert.equal(status, 0, stdout + stderr);
      const { error, addons } = JSON.parse(stdout) as {
        error?: { code: string; message: string };
        addons: string[];
      };
      assert.equal(error?.code, 'ERR_VFIO_UNSUPPORTED_RUNTIME');
      assert.match(error.message, new RegExp(`\\b${name}\\b`, 'i'));
      assert.deepEqual(addons, []);
    });
  }
});
