import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
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

  function patched(file: string, offset: number, byte: number): void {
    const bytes = readFileSync(addon);
    bytes[offset] = byte;
    writeFileSync(file, bytes);
  }

  function cut(file: string): void {
    writeFileSync(file, readFileSync(addon).subarray(0, 200_000));
  }

  function otherAddon(file: string): void {
    const source = 'void *napi_register_module_v1(void *env, void *exports) { return exports; }';
    const args = ['-shared', '-fPIC', '-xc', '-o', file, '-'];
    execFileSync('gcc', args, { input: source });
  }

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
    assert.match(said.message ?? '', new RegExp(`linux ${process.arch} \\(glibc\\), Node \\d+`));
    assert.match(said.hint ?? '', /npx vfio build/);
  });

  it('that does not load: the error has Node’s own as its cause', () => {
    const said = run(packaged, { VFIO_ADDON_PATH: process.execPath });
    assert.equal(said.code, 'ERR_VFIO_ADDON_NOT_LOADED');
    assert.equal(said.cause, 'ERR_DLOPEN_FAILED');
    assert.equal(said.path, process.execPath);
    assert.match(said.hint ?? '', /^VFIO_ADDON_PATH has to name the addon/);
    having('build/Release/vfio.node', broken, () => {
      assert.match(run(packaged).hint ?? '', /npx vfio build/);
    });
  });

  /** What is in the addon’s place, and what the error says of it. */
  const wrong: [string, (file: string) => void, RegExp][] = [
    ['a text', broken, /it is no library of a 64-bit Linux/],
    [
      'an empty file',
      (file) => {
        writeFileSync(file, '');
      },
      /it is no library of a 64-bit Linux/,
    ],
    ['the addon, cut short', cut, /the file is cut short/],
    [
      'an addon of another machine',
      (file) => {
        patched(file, 18, 0xf3);
      },
      /it is for another machine \(243 /,
    ],
    [
      'a FIFO',
      (file) => {
        execFileSync('mkfifo', [file]);
      },
      /it is no regular file/,
    ],
    ['an addon of another package', otherAddon, /it is the addon of something else/],
  ];
  for (const [what, place, says] of wrong) {
    it(`is refused where ${what} is in its place`, () => {
      having('named.node', place, () => {
        const said = run(packaged, { VFIO_ADDON_PATH: join(folder, 'named.node') });
        assert.equal(said.code, 'ERR_VFIO_ADDON_NOT_LOADED');
        assert.match(said.message ?? '', says);
        assert.match(said.hint ?? '', /^VFIO_ADDON_PATH has to name the addon/);
      });
    });
  }

  it('is refused where a folder is in its place', () => {
    const said = run(packaged, { VFIO_ADDON_PATH: folder });
    assert.equal(said.code, 'ERR_VFIO_ADDON_NOT_LOADED');
    assert.match(said.message ?? '', /it is no regular file/);
  });

  it('may be named by a URL, and an empty name is none', () => {
    const url = pathToFileURL(addon).href;
    assert.deepEqual(run(packaged, { VFIO_ADDON_PATH: url }), { size: 4096 });
    const said = run(packaged, { VFIO_ADDON_PATH: '' });
    assert.match(said.hint ?? '', /npx vfio build/);
  });

  it('is found from a bundle in CommonJS, which knows no place of its own', () => {
    assert.deepEqual(run(bundled, { VFIO_ADDON_PATH: addon }), { size: 4096 });
    // Where it runs is anybody's folder.
    having('build/Release/vfio.node', real, () => {
      const said = run(bundled);
      assert.equal(said.code, 'ERR_VFIO_ADDON_NOT_FOUND');
      assert.match(said.message ?? '', /bundle in CommonJS/);
      assert.match(said.hint ?? '', /^VFIO_ADDON_PATH has to name/);
    });
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
