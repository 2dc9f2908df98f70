import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { describe, it } from 'mocha';
import { root } from '../support/root.ts';

const read = (file: string): string => readFileSync(new URL(file, root), 'utf8');
const sources = (text: string): string[] => (text.match(/\b\w+\.cc\b/g) ?? []).sort();

/** The addon that a build made, and the symbols that it exports. */
function built(path: string): { names: string[]; symbols: string[] } {
  const file = new URL(path, root).pathname;
  const nm = spawnSync('nm', ['-D', '--defined-only', '--format=posix', file], {
    encoding: 'utf8',
  });
  assert.equal(nm.status, 0, nm.stderr);
  const symbols = nm.stdout.split('\n').flatMap((line) => line.split(' ')[0] ?? []);
  const addon = createRequire(import.meta.url)(file) as object;
  return { names: Object.keys(addon).sort(), symbols: symbols.filter(isOurs).sort() };
}

/** Weak symbols of the C++ library depend on the optimiser. */
function isOurs(symbol: string): boolean {
  return symbol !== '' && !symbol.startsWith('_ZNSt') && !symbol.startsWith('_ZZNSt');
}

describe('the two builds', () => {
  it('compile every source of native/', () => {
    const all = readdirSync(new URL('native', root)).filter((name) => name.endsWith('.cc'));
    assert.deepEqual(sources(read('native/vfio.gypi')), all.sort());
    const library = /add_library\(vfio SHARED([^)]*)\)/.exec(read('CMakeLists.txt'))?.[1];
    const cmake = library?.match(/native\/\w+\.cc/g) ?? [];
    assert.deepEqual(cmake.map((path) => path.slice('native/'.length)).sort(), all);
  });

  it('registers nothing that is destroyed when the process ends, since threads may still run', () => {
    const file = new URL('build/Release/vfio.node', root).pathname;
    const nm = spawnSync('nm', ['-D', '--undefined-only', '--format=posix', file], {
      encoding: 'utf8',
    });
    assert.equal(nm.status, 0, nm.stderr);
    const needed = nm.stdout
      .split('\n')
      .map((line) => (line.split(' ')[0] ?? '').replace(/@.*/, ''));
    assert.ok(needed.includes('napi_create_function'));
    assert.deepEqual(
      needed.filter((symbol) => ['__cxa_atexit', 'atexit', 'on_exit'].includes(symbol)),
      [],
    );
  });

  const cmake = spawnSync('cmake', ['--version']).status === 0;
  const title = cmake ? '' : ' (cmake: apt-get install -y cmake)';
  (cmake ? it : it.skip)(`export the same names${title}`, () => {
    const build = spawnSync('npm', ['run', '--silent', 'build:cmake'], { cwd: root });
    assert.equal(build.status, 0, build.stderr.toString() + build.stdout.toString());
    const gyp = built('build/Release/vfio.node');
    assert.ok(gyp.names.includes('bindSync') && gyp.symbols.includes('napi_register_module_v1'));
    assert.deepEqual(built('build-cmake/Release/vfio.node'), gyp);
  }).timeout(900_000);
});
