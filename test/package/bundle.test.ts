import assert from 'node:assert/strict';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { before, describe, it } from 'mocha';
import { blocksOf } from '../support/readme.ts';
import { root } from '../support/root.ts';
import { Project } from './project.ts';
import { output } from './run.ts';
import { newFolder } from './tarball.ts';
import { node } from './tools.ts';

const esbuild = fileURLToPath(new URL('node_modules/esbuild/bin/esbuild', root));

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

  /** As docs/install.md says, into another file. */
  async function bundleInto(outfile: string, program: string): Promise<void> {
    const commands = blocksOf('docs/install.md', 'sh').join('\n');
    const [, options = ''] = /^npx esbuild program\.ts (.*) --outfile=\S+$/m.exec(commands) ?? [];
    assert.match(options, /--bundle/);
    const entry = project.copy(`test/package/programs/${program}`, program);
    const args = [entry, ...options.split(' '), `--outfile=${outfile}`];
    await output(esbuild, args, { cwd: project.folder });
  }

  before(async () => {
    project = await Project.installed('npm 11');
    bundle = join(newFolder('bundle'), 'bundle.mjs');
    await bundleInto(bundle, 'load.mjs');
  });

  it('finds the addon by VFIO_ADDON_PATH', async () => {
    const { addons, sum, size } = await runBundle({ VFIO_ADDON_PATH: addon() });
    assert.deepEqual(addons, [addon()]);
    assert.ok(size !== undefined && size > 0);
    assert.equal(sum, size * 7);
  });

  it('frees by `await using` on the oldest Node, which does not know it', async () => {
    const freeing = join(newFolder('bundle'), 'using.mjs');
    await bundleInto(freeing, 'using.ts');
    const env = { ...project.env, VFIO_ADDON_PATH: addon() };
    assert.equal(await output(node('20'), [freeing], { cwd: join(freeing, '..'), env }), '0\n');
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
