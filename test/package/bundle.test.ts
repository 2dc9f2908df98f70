import assert from 'node:assert/strict';
import { join } from 'node:path';
import { build } from 'esbuild';
import { before, describe, it } from 'mocha';
import { Project } from './project.ts';
import { output } from './run.ts';
import { newFolder } from './tarball.ts';

interface Said {
  addons: string[];
  sum?: number;
  size?: number;
  error?: { code: string; message: string; hint?: string };
}

describe('a program bundled with the package into one file', () => {
  let project: Project;
  let bundle: string;
  const addon = (): string =>
    join(project.folder, 'node_modules/vfio/prebuilds/linux-x64/vfio.glibc.node');

  async function runBundle(env: NodeJS.ProcessEnv): Promise<Said> {
    const where = { cwd: join(bundle, '..'), env: { ...project.env, ...env } };
    return JSON.parse(await output(process.execPath, [bundle], where)) as Said;
  }

  before(async () => {
    project = await Project.installed('npm 11');
    bundle = join(newFolder('bundle'), 'bundle.mjs');
    await build({
      entryPoints: [project.copy('test/package/programs/load.mjs', 'load.mjs')],
      outfile: bundle,
      bundle: true,
      platform: 'node',
      format: 'esm',
    });
  });

  it('finds the addon by VFIO_ADDON_PATH', async () => {
    const { addons, sum, size } = await runBundle({ VFIO_ADDON_PATH: addon() });
    assert.deepEqual(addons, [addon()]);
    assert.ok(size !== undefined && size > 0);
    assert.equal(sum, size * 7);
  });

  it('says without it where it looked, and what to do', async () => {
    const { addons, error } = await runBundle({});
    assert.deepEqual(addons, []);
    assert.equal(error?.code, 'ERR_VFIO_ADDON_NOT_FOUND');
    const { message, hint = '' } = error;
    for (const path of ['build/Release/vfio.node', 'prebuilds/linux-x64/vfio.glibc.node']) {
      assert.ok(message.includes(join(bundle, '../..', path)), message);
    }
    for (const way of ['VFIO_ADDON_PATH', 'npx vfio build']) assert.ok(hint.includes(way), hint);
  });

  it('says that VFIO_ADDON_PATH names no addon', async () => {
    const missing = join(project.folder, 'no-such-addon.node');
    const { addons, error } = await runBundle({ VFIO_ADDON_PATH: missing });
    assert.deepEqual(addons, []);
    assert.ok(error?.message.includes(missing), error?.message);
  });
});
