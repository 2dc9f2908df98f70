import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { describe, it } from 'mocha';
import { root } from '../support/root.ts';

/** What Node's own binaries of 20 and later need: who runs them has these. */
const floors: Record<string, string> = {
  GLIBC: '2.28',
  GLIBCXX: '3.4.21',
  CXXABI: '1.3.9',
};

const prebuilds = [
  { arch: 'x64', machine: 'Advanced Micro Devices X86-64', compiler: 'g++' },
  { arch: 'arm64', machine: 'AArch64', compiler: 'g++-aarch64-linux-gnu' },
];

function readelf(file: string, ...options: string[]): string {
  const { status, stdout, stderr } = spawnSync('readelf', ['-W', ...options, file], {
    encoding: 'utf8',
  });
  assert.equal(status, 0, stderr);
  return stdout;
}

/** By the compiler's own tool: that of this machine may know no other. */
function disassembled(arch: string, file: string): string {
  const prefix = arch === process.arch ? '' : `${gnuNames[arch] ?? ''}-linux-gnu-`;
  const options = { encoding: 'utf8', maxBuffer: 2 ** 28 } as const;
  const { status, stdout, stderr } = spawnSync(`${prefix}objdump`, ['-d', file], options);
  assert.equal(status, 0, stderr);
  assert.match(stdout, /\b(?:call|bl)\b/);
  return stdout;
}

const gnuNames: Record<string, string> = { x64: 'x86_64', arm64: 'aarch64' };

/** Positive where version `a` is later than `b`. */
function compareVersions(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true });
}

function tooNew(symbol: string): boolean {
  const [, library = '', version = ''] = /@([A-Z]+)_([\d.]+)/.exec(symbol) ?? [];
  const floor = floors[library];
  return floor === undefined || compareVersions(version, floor) > 0;
}

for (const { arch, machine, compiler } of prebuilds) {
  const file = new URL(`prebuilds/linux-${arch}/vfio.glibc.node`, root).pathname;
  const isBuilt = existsSync(file);
  const title = isBuilt ? '' : ` (npm run build:prebuilds; it needs ${compiler})`;

  (isBuilt ? describe : describe.skip)(`the prebuilt addon for ${arch}${title}`, () => {
    it('is a library for that machine', () => {
      const header = readelf(file, '--file-header');
      assert.match(header, new RegExp(`Machine: +${machine}\\n`));
      assert.match(header, /Type: +DYN/);
    });

    it('needs no newer glibc and libstdc++ than Node does', () => {
      const versioned = readelf(file, '--dyn-syms').match(/\S+@[A-Z]+_[\d.]+/g) ?? [];
      assert.ok(versioned.some((symbol) => symbol.includes('@GLIBC_')));
      assert.deepEqual(versioned.filter(tooNew), []);
    });

    it('needs these libraries and no others', () => {
      const needed = [...readelf(file, '--dynamic').matchAll(/\(NEEDED\).*\[(.+)\]/g)];
      const names = needed.map(([, name = '']) => name.replace(/^ld-linux.*/, 'ld-linux'));
      const allowed = ['libstdc++.so.6', 'libgcc_s.so.1', 'libm.so.6', 'libc.so.6', 'ld-linux'];
      assert.ok(names.includes('libc.so.6'));
      assert.deepEqual(
        names.filter((name) => !allowed.includes(name)),
        [],
      );
    });

    it('has its thread-locals where no access of them calls anything, as in the handler of SIGBUS', () => {
      const relocations = readelf(file, '--relocs').match(/R_\w*(?:TLS|TPOFF|DTP)\w*/g) ?? [];
      const static_ = ['R_X86_64_TPOFF64', 'R_AARCH64_TLS_TPREL'];
      assert.ok(relocations.length > 0);
      assert.deepEqual(
        relocations.filter((name) => !static_.some((known) => name.startsWith(known))),
        [],
      );
      // The linker may keep the name of a function whose calls it has replaced.
      const calls = /\b(?:call|bl)\b.*__tls_get_addr/;
      assert.doesNotMatch(disassembled(arch, file), calls);
    });

    it('is hardened', () => {
      const dynamic = readelf(file, '--dynamic');
      assert.match(dynamic, /\(FLAGS_1\).*\bNOW\b/);
      assert.match(dynamic, /\(FLAGS_1\).*\bNODELETE\b/);
      const segments = readelf(file, '--program-headers');
      assert.match(segments, /GNU_RELRO/);
      assert.match(segments, /GNU_STACK .* RW /);
      const symbols = readelf(file, '--dyn-syms');
      assert.match(symbols, /__stack_chk_fail/);
      // Of _FORTIFY_SOURCE: an open(2) without a mode that could need one.
      assert.match(symbols, /__open(?:64)?_2@GLIBC/);
    });

    it('exports what Node loads, and names no folder of the machine that built it', () => {
      const exported = readelf(file, '--dyn-syms')
        .split('\n')
        .filter((line) => / (GLOBAL|WEAK) +DEFAULT +\d+ /.test(line))
        .map((line) => line.trim().split(/\s+/).at(-1) ?? '');
      assert.ok(exported.includes('napi_register_module_v1'));
      assert.ok(exported.includes('node_api_module_get_api_version_v1'));
      const { stdout } = spawnSync('strings', [file], { encoding: 'utf8' });
      assert.ok(!stdout.includes(new URL('.', root).pathname));
    });
  });
}
