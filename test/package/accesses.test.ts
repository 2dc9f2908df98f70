import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { describe, it } from 'mocha';
import {
  disassemble,
  wantedOfArm64,
  wantedOfX64,
  type Compiled,
  type Kind,
  type Wanted,
} from '../support/machine_code.ts';
import { root } from '../support/root.ts';

// What the compiler made of the accesses of device memory. They are in the instances of Guarded
// (native/fault_guard.h); the builds that keep their symbols tell which those are. The single access
// is test/unit/accesses.test.ts's.

interface Machine {
  arch: string;
  objdump: string;
  addon: string;
  /** The instructions of a function that access device memory, for all that can be seen. */
  accesses: (compiled: Compiled, kind: Kind) => readonly string[];
  /** Whether one of them must not be there. */
  forbidden: (line: string, wanted: RegExp) => boolean;
  /** What the access has to be, by its width in bits. */
  wanted: Wanted;
}

/** On x64: of strings, atomic, of vectors. */
const isOdd = /^(?:rep|movs[bwlq]? |stos|lods|cmps|scas|xchg|lock)|%[xyz]mm/;

const machines: Machine[] = [
  {
    arch: 'x64',
    objdump: 'objdump',
    addon: 'build/Release/vfio.node',
    accesses: accessesOfX64,
    forbidden: (line) => isOdd.test(line),
    wanted: wantedOfX64,
  },
  {
    arch: 'arm64',
    objdump: 'aarch64-linux-gnu-objdump',
    addon: 'build-prebuilds/arm64/build/Release/vfio.node',
    accesses: accessesOfArm64,
    forbidden: (line, wanted) => !wanted.test(line),
    wanted: wantedOfArm64,
  },
];

/**
 * Nothing tells them from accesses of other memory, so none off the stack may be of strings or
 * vectors.
 */
function accessesOfX64({ code }: Compiled, kind: Kind): readonly string[] {
  const offStack = code.filter(
    (line) => /\((?!%r[sb]p)/.test(line) && !/^(?:lea|nop|call|jmp)/.test(line),
  );
  return offStack.filter((line) => isOdd.test(line) || isMove(line, kind));
}

/** A plain move of any width. */
function isMove(line: string, kind: Kind): boolean {
  return kind === 'load'
    ? /^mov[bwlq]? +[^%]*\(.*\),%/.test(line)
    : /^mov[bwlq]? +%.*,.*\(/.test(line);
}

/**
 * Each has its barrier: a load is followed by one, a store comes after one. Loads may share one, to
 * which all of them but the last branch.
 */
function accessesOfArm64({ code, addresses }: Compiled, kind: Kind): readonly string[] {
  const firstOf = (others: readonly string[]) =>
    others.find((other) => other.includes('[')) ?? 'nothing';
  const before = (at: number) => firstOf(code.slice(0, at).reverse());
  return code.flatMap((line, at) => {
    if (kind === 'store') return line === 'dmb oshst' ? firstOf(code.slice(at + 1)) : [];
    if (line !== 'dmb oshld') return [];
    const branches = code.flatMap((other, from) => (other === `b ${addresses[at]}` ? from : []));
    return [at, ...branches].map(before);
  });
}

/** The widths of the types by which the instances are named. */
const widths: Record<string, number> = {
  'unsigned char': 8,
  'unsigned short': 16,
  'unsigned int': 32,
  'unsigned long': 64,
};

interface Guarded extends Compiled {
  kind: Kind;
  width: number;
}

/** The one that makes accesses of every kind: those that were prepared. */
const isOfAll = ({ name }: Guarded): boolean => /::Prepared::|<Prepared::/.test(name);

/** The instances of Guarded, disassembled. */
function guardedIn({ objdump, addon }: Machine): Guarded[] {
  const functions = disassemble(objdump, new URL(addon, root).pathname);
  const guarded = functions.filter(({ name }) => name.startsWith('int Guarded<'));
  return guarded.map((one) => ({ ...one, ...accessOf(one.name) }));
}

/** What the function does that it is an instance for. */
function accessOf(name: string): Pick<Guarded, 'kind' | 'width'> {
  const [, caller = '', type = ''] =
    /::(Read|Write|CopyBlock|Batch|Wait)(?:<([\w ]+?)(?:, \w+)?>)?\(/.exec(name) ?? [];
  const writes = caller === 'Write' || /<(?:.*, )?true>/.test(name);
  return { kind: writes ? 'store' : 'load', width: widths[type] ?? 32 };
}

for (const machine of machines) {
  const { arch, objdump, addon } = machine;
  const has =
    existsSync(new URL(addon, root)) && spawnSync(objdump, ['--version']).error === undefined;
  const title = has ? '' : ` (npm run build:prebuilds; it needs ${objdump})`;

  (has ? describe : describe.skip)(`accesses of device memory on ${arch}${title}`, () => {
    it('are single instructions of exactly their width, which a hypervisor can emulate', () => {
      const [prepared, ...others] = guardedIn(machine).filter(isOfAll);
      assert.ok(prepared);
      assert.deepEqual(others, []);
      for (const kind of ['load', 'store'] as const) {
        const wanted = Object.values(machine.wanted).map((kinds) => kinds[kind]);
        const found = machine.accesses(prepared, kind);
        for (const one of wanted) {
          assert.ok(
            found.some((line) => one.test(line)),
            `${one}\n${prepared.code.join('\n')}`,
          );
        }
        const any = new RegExp(wanted.map(({ source }) => source).join('|'));
        assert.deepEqual(
          found.filter((line) => machine.forbidden(line, any)),
          [],
        );
      }

      const all = guardedIn(machine).filter((one) => !isOfAll(one));
      for (const one of all) {
        const { name, kind, width, code } = one;
        const wanted = machine.wanted[width]?.[kind] ?? /^$/;
        const found = machine.accesses(one, kind);
        assert.ok(
          found.some((line) => wanted.test(line)),
          `${name}\n${code.join('\n')}`,
        );
        assert.deepEqual(
          found.filter((line) => machine.forbidden(line, wanted)),
          [],
          name,
        );
      }
      const kinds = all.map(({ kind, width }) => `${kind} ${width}`);
      const expected = [8, 16, 32, 64].flatMap((width) => [`load ${width}`, `store ${width}`]);
      assert.deepEqual([...new Set(kinds)].sort(), expected.sort());
      // Single ones and blocks of each width, rows of 32 bits, and waiting.
      assert.equal(all.length, 8 + 8 + 2 + 1);
    });
  });
}
