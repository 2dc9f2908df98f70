import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { build } from 'esbuild';
import { after, before, describe, it } from 'mocha';
import { root } from '../support/root.ts';

const addon = new URL('build/Release/vfio.node', root).pathname;
const prebuilt = `prebuilds/linux-${process.arch}/vfio.glibc.node`;

/** Makes a call that needs the addon, and prints what came of it. */
const program = `
import { DmaBuffer } from './lib/index.ts';
try {
  const memory = DmaBuffer.allocateSync(4096);
  console.log(JSON.stringify({ size: memory.size }));
  memory.disposeSync();
} catch ({ code, message, hint, path, cause }) {
  console.log(JSON.stringify({ code, message, hint, path, cause: cause?.code }));
}
`;

interface Said {
  size?: number;
  code?: string;
  message?: string;
  hint?: string;
  path?: string;
  cause?: string;
}

describe('the addon', () => {
  const folder = mkdtempSync(join(tmpdir(), 'vfio-addon-'));
  after(() => {
    rmSync(folder, { recursive: true });
  });

  /** As dist/ of an installed package lies beside build/ and prebuilds/. */
  const packaged = join(folder, 'dist/index.mjs');
  const bundled = join(folder, 'dist/bundle.cjs');

  before(async () => {
    for (const [outfile, format] of [
      [packaged, 'esm'],
      [bundled, 'cjs'],
    ] as const) {
      await build({
        stdin: { contents: program, resolveDir: root.pathname, loader: 'ts' },
        bundle: true,
        platform: 'node',
        format,
        target: 'node20.19',
        outfile,
        logOverride: { 'empty-import-meta': 'silent' },
      });
    }
  });

  function run(file: string, env: Record<string, string> = {}, flags: string[] = []): Said {
    const { stdout, stderr } = spawnSync(process.execPath, [...flags, file], {
      encoding: 'utf8',
      env: { PATH: process.env['PATH'], ...env },
      cwd: folder,
    });
    assert.notEqual(stdout, '', stderr);
    return JSON.parse(stdout) as Said;
  }

  /** Puts a file there for the length of the body. */
  function having(path: string, place: (file: string) => void, body: () => void): void {
    const file = join(folder, path);
    mkdirSync(dirname(file), { recursive: true });
    place(file);
    try {
      body();
    } finally {
      rmSync(file);
    }
  }

  const real = (file: string): void => {
    copyFileSync(addon, file);
  };
  const broken = (file: string): void => {
    writeFileSync(file, 'not a library');
  };

  it('that is missing: the error names the machine, all places and the command', () => {
    const said = run(packaged);
    assert.equal(said.code, 'ERR_VFIO_ADDON_NOT_FOUND');
    assert.match(said.message ?? '', new RegExp(`linux ${process.arch} \\(glibc\\), Node \\d+`));
    for (const place of ['build/Release/vfio.node', prebuilt])
      assert.ok(said.message?.includes(join(folder, place)), said.message);
    assert.match(said.hint ?? '', /npx vfio build.*VFIO_ADDON_PATH/);
  });

  it('is the prebuilt one, or, where there is one, that which was built here', () => {
    having(prebuilt, real, () => {
      assert.deepEqual(run(packaged), { size: 4096 });
      having('build/Release/vfio.node', broken, () => {
        const said = run(packaged);
        assert.equal(said.code, 'ERR_VFIO_ADDON_NOT_LOADED');
        assert.equal(said.path, join(folder, 'build/Release/vfio.node'));
      });
    });
  });

  it('is the one that VFIO_ADDON_PATH names, before all others', () => {
    having(prebuilt, broken, () => {
      assert.deepEqual(run(packaged, { VFIO_ADDON_PATH: addon }), { size: 4096 });
    });
    const said = run(packaged, { VFIO_ADDON_PATH: join(folder, 'none.node') });
    assert.equal(said.code, 'ERR_VFIO_ADDON_NOT_FOUND');
    assert.match(said.message ?? '', /where VFIO_ADDON_PATH says \(looked for .*none\.node\)/);
  });

  it('that does not load: the error has Node’s own as its cause', () => {
    having('none.node', broken, () => {
      const path = join(folder, 'none.node');
      const said = run(packaged, { VFIO_ADDON_PATH: path });
      assert.equal(said.code, 'ERR_VFIO_ADDON_NOT_LOADED');
      assert.equal(said.cause, 'ERR_DLOPEN_FAILED');
      assert.equal(said.path, path);
      assert.match(said.hint ?? '', /npx vfio build/);
    });
  });

  it('is found from a bundle in CommonJS, which knows no place of its own', () => {
    assert.deepEqual(run(bundled, { VFIO_ADDON_PATH: addon }), { size: 4096 });
    assert.equal(run(bundled).code, 'ERR_VFIO_ADDON_NOT_FOUND');
  });

  it('under --permission: the errors name the flags that are lacking', () => {
    const flag = process.allowedNodeEnvironmentFlags.has('--permission')
      ? '--permission'
      : '--experimental-permission';
    having(prebuilt, real, () => {
      const all = run(packaged, {}, [flag, '--allow-fs-read=*']);
      assert.equal(all.code, 'ERR_VFIO_ADDON_NOT_LOADED');
      assert.equal(all.cause, 'ERR_DLOPEN_DISABLED');
      assert.match(all.hint ?? '', /--allow-addons/);
      const some = run(packaged, {}, [flag, `--allow-fs-read=${folder}/dist/*`]);
      assert.equal(some.code, 'ERR_VFIO_ADDON_NOT_LOADED');
      assert.equal(some.cause, 'ERR_ACCESS_DENIED');
      assert.match(some.hint ?? '', /--allow-fs-read/);
    });
  });
});
