import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { describe, it } from 'mocha';
import type { MappedRegion, Region } from '../../lib/index.ts';
import { failure } from '../support/errors.ts';
import { fileRegion } from '../support/file_region.ts';

const size = 0x1000;

const TYPE = 'ERR_INVALID_ARG_TYPE';
const RANGE = 'ERR_OUT_OF_RANGE';

/** What is no offset of an access of so many bytes, with the code that it gets. */
function badOffsets(width: number): [unknown, string][] {
  const none: [unknown, string][] = [undefined, null, '0', 0n, {}, [], true, Symbol('x')].map(
    (bad) => [bad, TYPE],
  );
  const out = [-1, -width, 0.5, NaN, Infinity, size - width + 1, size, 2 ** 32, 2 ** 53];
  const unaligned = width > 1 ? [1, width / 2, size - width - 1] : [];
  return [...none, ...[...out, ...unaligned].map((bad): [unknown, string] => [bad, RANGE])];
}

function badValues(width: number): [unknown, string][] {
  const wrong = width === 8 ? [0, '0', 1.5] : [0n, '0', [0]];
  const none: [unknown, string][] = [undefined, null, {}, true, ...wrong].map((bad) => [bad, TYPE]);
  const out = width === 8 ? [-1n, 2n ** 64n] : [-1, 0.5, NaN, 2 ** (8 * width), 2 ** 53];
  return [...none, ...out.map((bad): [unknown, string] => [bad, RANGE])];
}

/** A method, its arguments, the code of the error. */
type Case = [string, unknown[], string];

function accessCases(): Case[] {
  const widths = { 8: 1, 16: 2, 32: 4, 64: 8 } as const;
  return ([8, 16, 32, 64] as const).flatMap((bits) => {
    const width = widths[bits];
    const value = bits === 64 ? 0n : 0;
    return [
      ...badOffsets(width).flatMap(([bad, code]): Case[] => [
        [`read${bits}`, [bad], code],
        [`write${bits}`, [bad, value], code],
      ]),
      ...badValues(width).map(([bad, code]): Case => [`write${bits}`, [0, bad], code]),
    ];
  });
}

const notNumbers = [undefined, null, '0', 0n, {}];
const notArrays = [undefined, null, '0', 7, [0], new ArrayBuffer(8), new Float64Array(1)];

const regionCases: Case[] = [
  ...accessCases(),
  ...badOffsets(1).flatMap(([bad, code]): Case[] => [
    ['read', [bad, 1], code],
    ['write', [bad, new Uint8Array(1)], code],
  ]),
  ...[undefined, null, '1', 1n, {}, new Uint16Array(1)].map((bad): Case => [
    'read',
    [0, bad],
    TYPE,
  ]),
  ...[-1, 0.5, NaN, size + 1, 2 ** 53].map((bad): Case => ['read', [0, bad], RANGE]),
  ['read', [1, size], RANGE],
  ['read', [0, new Uint8Array(size + 1)], RANGE],
  ...notArrays.map((bad): Case => ['write', [0, bad], TYPE]),
  ['write', [1, new Uint8Array(size)], RANGE],
  ...[null, '0', 0n, {}].flatMap((bad): Case[] => [
    ['map', [{ offset: bad }], TYPE],
    ['map', [{ size: bad }], TYPE],
  ]),
  ...[-1, 0.5, NaN, size, size + 1].map((bad): Case => ['map', [{ offset: bad }], RANGE]),
  ...[0, -1, 0.5, NaN, size + 1].map((bad): Case => ['map', [{ size: bad }], RANGE]),
  ...notNumbers.map((bad): Case => ['registers', [{ a: bad }], TYPE]),
];

const mappedCases: Case[] = [
  ...accessCases(),
  ...badOffsets(8).map(([bad, code]): Case => ['read64LoHi', [bad], code]),
  ...badOffsets(4).flatMap(([bad, code]): Case[] => [
    ['readBlock', [bad, new Uint32Array(1)], code],
    ['writeBlock', [bad, new Uint32Array(1)], code],
    ['poll32', [bad, 1, 1], code],
    ['poll32Sync', [bad, 1, 1], code],
  ]),
  ...notArrays.flatMap((bad): Case[] => [
    ['readBlock', [0, bad], TYPE],
    ['writeBlock', [0, bad], TYPE],
    ['readBatch32', [bad, new Uint32Array(1)], TYPE],
    ['readBatch32', [new Uint32Array(1), bad], TYPE],
    ['writeBatch32', [bad, new Uint32Array(1)], TYPE],
    ['writeBatch32', [new Uint32Array(1), bad], TYPE],
  ]),
  ['readBlock', [4, new Uint8Array(size)], RANGE],
  ['writeBlock', [4, new Uint8Array(size)], RANGE],
  ['readBatch32', [new Uint32Array(2), new Uint32Array(1)], RANGE],
  ['writeBatch32', [Uint32Array.of(0, 2), new Uint32Array(2)], RANGE],
  ['writeBatch32', [Uint32Array.of(0, size), new Uint32Array(2)], RANGE],
  ...notNumbers.flatMap((bad): Case[] => [
    ['poll32', [0, bad, 0], TYPE],
    ['poll32Sync', [0, 1, bad], TYPE],
  ]),
  ...[-1, 0.5, NaN, 2 ** 32].flatMap((bad): Case[] => [
    ['poll32', [0, bad, 0], RANGE],
    ['poll32Sync', [0, 0xffff_ffff, bad], RANGE],
  ]),
  ['poll32', [0, 0x0f, 0x10], RANGE],
  ['poll32', [0, 1, 1, { timeout: '1' }], TYPE],
  ['poll32', [0, 1, 1, { timeout: -1 }], RANGE],
  ['poll32Sync', [0, 1, 1, { timeout: Infinity }], RANGE],
  ['poll32', [0, 1, 1, { signal: {} }], TYPE],
];

function call(target: Region | MappedRegion, name: string, args: unknown[]): unknown {
  const methods = target as unknown as Record<string, (...args: unknown[]) => unknown>;
  return methods[name]?.(...args);
}

async function checkAll(target: Region | MappedRegion, path: string, cases: Case[]): Promise<void> {
  const before = readFileSync(path);
  for (const [name, args, code] of cases) {
    const shown = `${name}(${inspect(args, { depth: 0 })})`;
    await failure(() => call(target, name, args), code).catch((error: unknown) => {
      assert.fail(`${shown}: ${String(error)}`);
    });
  }
  assert.deepEqual(readFileSync(path), before, 'nothing was written');
  assert.ok(cases.length > 100);
}

describe('every method with every bad argument', () => {
  it('of Region', async () => {
    using file = fileRegion(new Uint8Array(size).fill(0x5a), { size });
    await checkAll(file.region, file.path, regionCases);
  });

  it('of MappedRegion', async () => {
    using file = fileRegion(new Uint8Array(size).fill(0x5a), { size });
    using mapped = file.region.map();
    await checkAll(mapped, file.path, mappedCases);
  });

  it('of a closed one: that it is closed comes first', async () => {
    using file = fileRegion(new Uint8Array(0), { size });
    const mapped = file.region.map();
    await mapped.close();
    const later = mappedCases.filter(([name]) => !/poll|LoHi/.test(name));
    for (const [name, args] of later) {
      await failure(() => call(mapped, name, args), 'ERR_VFIO_CLOSED');
    }
    await failure(() => mapped.read64LoHi(0), 'ERR_VFIO_CLOSED');
    await failure(() => mapped.poll32(0, 1, 1), 'ERR_VFIO_CLOSED');
    await failure(() => mapped.poll32Sync(0, 1, 1), 'ERR_VFIO_CLOSED');
  });
});
