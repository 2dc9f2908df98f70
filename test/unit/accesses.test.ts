import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { before, describe, it } from 'mocha';
import {
  disassemble,
  wantedOfArm64,
  wantedOfX64,
  type Compiled,
  type Kind,
  type Wanted,
} from '../support/machine_code.ts';
import { root } from '../support/root.ts';
import { tree } from '../support/tree.ts';

// One access of device memory as compilers make it of native/mmio.h, instruction by instruction.
// What became of them in the whole addon: test/package/accesses.test.ts.

interface Machine {
  arch: string;
  /** Of the compiler's and objdump's names. */
  prefix: string;
  packages: string;
  wanted: Wanted;
  /** What touches memory or orders such accesses. */
  tells: RegExp;
  /** What stands before a store, behind a load, and for a barrier. */
  barriers: Record<Kind | 'barrier', RegExp[]>;
}

const machines: Machine[] = [
  {
    arch: 'x64',
    prefix: process.arch === 'x64' ? '' : 'x86_64-linux-gnu-',
    packages: 'g++-x86-64-linux-gnu',
    wanted: wantedOfX64,
    tells: /^(?!lea|nop|cs nop|data16|jmp|call).*\(|fence|^lock|^rep/,
    // The processor keeps both orders by itself.
    barriers: { load: [], store: [], barrier: [/^mfence$/] },
  },
  {
    arch: 'arm64',
    prefix: process.arch === 'arm64' ? '' : 'aarch64-linux-gnu-',
    packages: 'g++-aarch64-linux-gnu',
    wanted: wantedOfArm64,
    tells: /\[|^d[ms]b/,
    barriers: { load: [/^dmb oshld$/], store: [/^dmb oshst$/], barrier: [/^dmb osh$/] },
  },
];

/** As vfio.gypi has them, which a compiler's choice of instructions depends on. */
const flags = [...readFileSync(new URL('native/vfio.gypi', root), 'utf8').matchAll(/"(-[^"]+)"/g)]
  .flatMap(([, flag = '']) => flag)
  .filter((flag) => /^-(?:O|std=c|fno-exc|frtti|fvis|ffun|fdata)/.test(flag));

const defines = ['-DNAPI_VERSION=8', '-DNODE_ADDON_API_DISABLE_CPP_EXCEPTIONS'];

function includes(): string[] {
  const { include_dir: napi } = createRequire(import.meta.url)('node-addon-api') as {
    include_dir: string;
  };
  const besideNode = resolve(process.execPath, '../../include/node');
  const node = existsSync(besideNode)
    ? besideNode
    : (createRequire(import.meta.url)('node-api-headers') as { include_dir: string }).include_dir;
  return ['-isystem', napi.replaceAll('"', ''), '-isystem', node];
}

function compile({ prefix }: Machine): Compiled[] {
  const object = join(tree({}), 'accesses.o');
  const options = [...flags, ...includes(), ...defines, '-fPIC', '-fno-function-sections'];
  const source = 'test/support/accesses.cc';
  const { status, stderr } = spawnSync(`${prefix}g++`, [...options, '-c', source, '-o', object], {
    cwd: root,
    encoding: 'utf8',
  });
  assert.equal(status, 0, stderr);
  const functions = disassemble(`${prefix}objdump`, object);
  return functions.filter(({ name }) => /^(?:good|bad)_/.test(name));
}

/** What of the code is not as the function's name says; undefined where all is. */
function problemOf({ name, code }: Compiled, machine: Machine): string | undefined {
  const [, kind = '', width = ''] = name.split('_');
  const found = code.filter((line) => machine.tells.test(line));
  const expected = expectedOf(machine, kind as Kind | 'barrier', Number(width));
  const matches =
    found.length === expected.length && expected.every((one, at) => one.test(found[at] ?? ''));
  return matches ? undefined : `${name}: ${found.join('; ') || 'nothing'}`;
}

function expectedOf(machine: Machine, kind: Kind | 'barrier', width: number): RegExp[] {
  const barriers = machine.barriers[kind];
  if (kind === 'barrier') return barriers;
  const access = machine.wanted[width]?.[kind] ?? /^$/;
  return kind === 'load' ? [access, ...barriers] : [...barriers, access];
}

function lacking({ prefix, packages }: Machine): string {
  const tools = [`${prefix}g++`, `${prefix}objdump`];
  const without = tools.some((tool) => spawnSync(tool, ['--version']).error !== undefined);
  return without ? ` (apt-get install -y ${packages})` : '';
}

for (const machine of machines) {
  const needs = lacking(machine);
  (needs === '' ? describe : describe.skip)(
    `one access of device memory on ${machine.arch}${needs}`,
    () => {
      let functions: Compiled[] = [];
      before(() => {
        functions = compile(machine);
      });
      const named = (start: string): Compiled[] =>
        functions.filter(({ name }) => name.startsWith(start));

      it('is one instruction of its width, with its barrier at the right side of it', () => {
        const good = named('good_');
        // Of each width a load and a store; of a constant, in loops, unread; the barrier.
        assert.equal(good.length, 8 + 4 + 1);
        assert.deepEqual(
          good.flatMap((one) => problemOf(one, machine) ?? []),
          [],
        );
      });

      it('is told from what it must not be: the faults that are planted here', () => {
        const bad = named('bad_');
        assert.ok(bad.length > 10, `${bad.length}`);
        assert.deepEqual(
          bad.filter((one) => problemOf(one, machine) === undefined).map(({ name }) => name),
          [],
        );
      });
    },
  );
}
