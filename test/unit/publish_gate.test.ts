import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { root } from '../support/root.ts';

const gate = fileURLToPath(new URL('scripts/publish-gate.mjs', root));
const workflow = readFileSync(new URL('.github/workflows/release.yml', root), 'utf8');
const built = readFileSync(new URL('build/Release/vfio.node', root));
const x64 = 'prebuilds/linux-x64/vfio.glibc.node';
const arm64 = 'prebuilds/linux-arm64/vfio.glibc.node';
const server = 'https://github.com';
const repository = 'somebody/vfio';

/** The addon of this machine, which its header says to be for that machine. */
function addonFor(machine: number): Buffer {
  const bytes = Buffer.from(built);
  bytes.writeUInt16LE(machine, 18);
  return bytes;
}

/** The same with other letters where it has this text. */
function without(text: string, bytes: Buffer): Buffer {
  const changed = bytes.toString('latin1').replaceAll(text, 'x'.repeat(text.length));
  return Buffer.from(changed, 'latin1');
}

describe('the gate before publishing', () => {
  let folder: string;
  let checkout: string;
  let temporary: string;
  let tarball: string;
  let files: Map<string, string | Buffer>;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'vfio-gate-'));
    checkout = join(folder, 'checkout');
    temporary = join(folder, 'tmp');
    tarball = join(folder, 'vfio.tgz');
    mkdirSync(temporary);
    const manifest = JSON.stringify({
      name: 'vfio',
      version: '1.2.3',
      exports: './dist/index.js',
      bin: {},
      files: ['dist', 'prebuilds'],
    });
    files = new Map<string, string | Buffer>([
      ['package.json', manifest],
      ['dist/index.js', "export * from './chunk.js';"],
      ['dist/chunk.js', ''],
      [x64, addonFor(62)],
      [arm64, addonFor(183)],
    ]);
    write(checkout, 'package.json', manifest);
    run('git', 'init', '--quiet', checkout);
    run('git', '-C', checkout, 'add', 'package.json');
  });

  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  function run(program: string, ...args: string[]): void {
    const { status, stderr } = spawnSync(program, args, { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
  }

  function write(below: string, path: string, content: string | Buffer): void {
    const file = join(below, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
  }

  function pack(): void {
    for (const [path, content] of files) write(join(folder, 'package'), path, content);
    run('tar', '-cf', tarball, '-C', folder, 'package');
  }

  /** Runs the gate on the tarball, and proves that it leaves nothing behind. */
  function pass(tag: string, variables: NodeJS.ProcessEnv = {}): [number | null, string] {
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('GIT'));
    const { status, stderr } = spawnSync(process.execPath, [gate, tarball, tag], {
      cwd: checkout,
      encoding: 'utf8',
      env: { ...Object.fromEntries(inherited), TMPDIR: temporary, ...variables },
    });
    assert.deepEqual(readdirSync(temporary), []);
    return [status, stderr];
  }

  function publish(tag: string, variables?: NodeJS.ProcessEnv): [number | null, string] {
    pack();
    return pass(tag, variables);
  }

  function assertShut(complaint: RegExp): void {
    const [status, stderr] = publish('v1.2.3');
    assert.equal(status, 1, stderr);
    assert.match(stderr, complaint);
    for (const line of stderr.trimEnd().split('\n')) assert.match(line, /^not published: /);
  }

  it('opens for a package with both binaries and the version of its tag', () => {
    assert.deepEqual(publish('v1.2.3'), [0, '']);
  });

  for (const [binary, otherMachine, name] of [
    [x64, 183, 'x86-64'],
    [arm64, 62, 'AArch64'],
  ] as const) {
    it(`is shut where ${binary} is missing`, () => {
      files.delete(binary);
      assertShut(new RegExp(`${binary} is missing\n`));
    });

    it(`is shut where ${binary} is for another machine`, () => {
      files.set(binary, addonFor(otherMachine));
      assertShut(new RegExp(`${binary} is no 64-bit ELF shared object for ${name}\n`));
    });
  }

  it('is shut where a binary is empty', () => {
    files.set(x64, '');
    assertShut(/linux-x64\S+ is no 64-bit ELF shared object for x86-64\n/);
  });

  for (const length of [64, 200_000, built.length - 1]) {
    it(`is shut where a binary is cut to ${length} bytes`, () => {
      files.set(arm64, addonFor(183).subarray(0, length));
      assertShut(new RegExp(`linux-arm64.* is ${length} bytes long, .* ends at ${built.length}\n`));
    });
  }

  it('is shut where a binary is no addon', () => {
    files.set(x64, without('napi_register_module_v1', addonFor(62)));
    assertShut(/linux-x64.* lacks napi_register_module_v1, .*\n/);
  });

  it('is shut where a binary is another addon', () => {
    files.set(x64, without('iommufdProbe', addonFor(62)));
    assertShut(/linux-x64.* lacks iommufdProbe, .*\n/);
  });

  it('is shut where a folder has the place of a binary', () => {
    files.delete(x64);
    files.set(`${x64}/within`, '');
    assertShut(/linux-x64\S+ is no regular file\n/);
  });

  it('is shut where a link has the place of a binary: no package manager installs links', () => {
    files.delete(x64);
    mkdirSync(join(folder, 'package', dirname(x64)), { recursive: true });
    symlinkSync('../../dist/index.js', join(folder, 'package', x64));
    assertShut(/linux-x64\S+ is no regular file\n/);
  });

  it('is shut where dist/ is missing', () => {
    files.delete('dist/index.js');
    files.delete('dist/chunk.js');
    assertShut(/dist\/index\.js is not in the package\n/);
  });

  it('is shut where a module lacks one that it imports', () => {
    files.delete('dist/chunk.js');
    assertShut(/dist\/chunk\.js is not in the package\n/);
  });

  it('is shut where the package has an addon of the machine that packed it', () => {
    files.set('build/Release/vfio.node', built);
    assertShut(/build\/Release\/vfio\.node is in the package, and nothing needs it\n/);
  });

  it('is shut where the package has a link', () => {
    mkdirSync(join(folder, 'package'));
    symlinkSync('nowhere', join(folder, 'package', 'link'));
    assertShut(/link is neither a regular file nor a folder\n/);
  });

  it('is shut where there is no package.json, or it makes no sense', () => {
    files.delete('package.json');
    assertShut(/no such file or directory, .*package\.json/);
    files.set('package.json', '{');
    assertShut(/JSON/);
  });

  it('is shut where the tarball cannot be unpacked', () => {
    writeFileSync(tarball, 'no tarball');
    const [status, stderr] = pass('v1.2.3');
    assert.equal(status, 1);
    assert.match(stderr, /^not published: tar could not unpack .*vfio\.tgz$/m);
  });

  it('is shut outside of a git checkout', () => {
    rmSync(join(checkout, '.git'), { recursive: true });
    assertShut(/git ls-files failed, .* in a git checkout only: fatal: /);
  });

  it('is shut for a tag of another version', () => {
    for (const tag of ['v1.2.4', '1.2.3', 'main']) {
      const complaint = `not published: the tag is ${tag}, and the package is of version 1.2.3\n`;
      assert.deepEqual(publish(tag), [1, complaint]);
    }
  });

  describe('in a workflow', () => {
    const variables = { GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: repository };

    function setRepository(url: string): void {
      const manifest = JSON.parse(String(files.get('package.json'))) as object;
      files.set('package.json', JSON.stringify({ ...manifest, repository: { type: 'git', url } }));
    }

    it('is shut for a package that names no repository', () => {
      const wanted = `git+${server}/${repository}.git`;
      const complaint = `not published: repository.url is undefined, and provenance needs ${wanted}\n`;
      assert.deepEqual(publish('v1.2.3', variables), [1, complaint]);
    });

    it('is shut for a package of another repository', () => {
      for (const url of [
        `git+${server}/else/vfio.git`,
        `git+https://example.com/${repository}.git`,
      ]) {
        setRepository(url);
        const [status, stderr] = publish('v1.2.3', variables);
        assert.equal(status, 1);
        assert.ok(stderr.startsWith(`not published: repository.url is ${url}, `), stderr);
      }
    });

    it('opens for what the step before packing makes of package.json', () => {
      const [, step = ''] = /^ +run: (npm pkg set .*)$/m.exec(workflow) ?? [];
      assert.match(step, /repository/);
      assert.ok(workflow.indexOf(step) < workflow.indexOf('npm run release:check'));
      const { status, stderr } = spawnSync('sh', ['-c', step], {
        cwd: checkout,
        encoding: 'utf8',
        env: { ...process.env, ...variables },
      });
      assert.equal(status, 0, stderr);
      files.set('package.json', readFileSync(join(checkout, 'package.json')));
      assert.deepEqual(publish('v1.2.3', variables), [0, '']);
    });
  });

  it('names its arguments where they are wrong', () => {
    const { status, stderr } = spawnSync(process.execPath, [gate], { encoding: 'utf8' });
    assert.deepEqual([status, stderr.startsWith('usage: ')], [2, true]);
  });
});
