import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { inspect } from 'node:util';
import type { RegisterMap, Registers } from '../../lib/index.ts';
import { failure } from '../support/errors.ts';
import { fileRegion } from '../support/file_region.ts';

const map = {
  id: { offset: 0x00, access: 'r', fields: { major: 0xff00_0000, minor: 0x00ff_0000 } },
  status: { offset: 0x20, fields: { busy: 1, mode: 0b110, raise: 0x80, top: 0x8000_0000 } },
  doorbell: { offset: 0x24, access: 'w', width: 16, fields: { index: 0xfff } },
  address: { offset: 0x28, width: 64 },
  byte: { offset: 0x31, width: 8 },
} as const satisfies RegisterMap;

const bytes = Uint8Array.of(0xed, 0, 2, 1);

describe('registers', () => {
  it('are read and written by name, in their widths, of a region and of a mapping', () => {
    using file = fileRegion(bytes, { size: 0x1000 });
    using mapped = file.region.map();
    for (const target of [file.region, mapped]) {
      const regs = target.registers(map);
      assert.equal(regs.id.read(), 0x0102_00ed);
      assert.deepEqual(regs.id.readFields(), { major: 1, minor: 2 });
      regs.address.write(0x1122_3344_5566_7788n);
      assert.equal(regs.address.read(), 0x1122_3344_5566_7788n);
      regs.byte.write(0xab);
      assert.equal(target.read32(0x30), 0x0000_ab00);
      regs.status.write(0xffff_ffff);
      assert.deepEqual(regs.status.readFields(), { busy: 1, mode: 3, raise: 1, top: 1 });
      regs.status.writeFields({ mode: 2, top: 1 });
      assert.equal(regs.status.read(), 0x8000_0004);
      regs.status.update({ raise: 1, mode: 1 });
      assert.equal(regs.status.read(), 0x8000_0082);
      regs.doorbell.writeFields({ index: 0x123 });
      assert.equal(target.read16(0x24), 0x123);
      assert.equal(regs.doorbell.offset, 0x24);
    }
  });

  it('have fields in 64 bits, numbers and bigints as their masks are', () => {
    using file = fileRegion(bytes, { size: 0x100 });
    using mapped = file.region.map();
    const long = {
      cap: {
        offset: 0x40,
        width: 64,
        fields: {
          entries: 0xffff,
          stride: 0xf_0000_0000,
          most: 0xf0_0000_0000_0000,
          top: 0x8000_0000_0000_0000n,
        },
      },
      base: { offset: 0x4c, width: 64, split: true, fields: { page: 0xffff_ffff_ffff_f000n } },
    } as const satisfies RegisterMap;
    for (const target of [file.region, mapped]) {
      const { cap, base } = target.registers(long);
      cap.write(0x80f5_000a_0000_1234n);
      assert.deepEqual(cap.readFields(), { entries: 0x1234, stride: 0xa, most: 0xf, top: 1n });
      cap.update({ most: 3, top: 0n, stride: 0 });
      assert.equal(cap.read(), 0x0035_0000_0000_1234n);
      cap.writeFields({ top: 1n, entries: 0xffff });
      assert.equal(cap.read(), 0x8000_0000_0000_ffffn);
      // A multiple of 4 is enough for two accesses.
      base.writeFields({ page: 0xf_edcb_a987_6543n });
      assert.equal(base.read(), 0xfedc_ba98_7654_3000n);
      assert.deepEqual(
        [target.read32(0x4c), target.read32(0x50)],
        [0x7654_3000, 0xfedc_ba98],
        'the low half first',
      );
      assert.deepEqual(base.readFields(), { page: 0xf_edcb_a987_6543n });
    }
    // Types: what a field holds is of its mask's type.
    const regs: Registers<typeof long> = file.region.registers(long);
    const fields: { entries: number; stride: number; most: number; top: bigint } =
      regs.cap.readFields();
    assert.ok(fields.entries > 0);
  });

  it('keep every bit of 64 that a field does not have', () => {
    using file = fileRegion(bytes, { size: 0x100 });
    const word = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    fc.assert(
      fc.property(word, word, fc.nat(63), fc.nat(63), (before, given, a, b) => {
        const [low, high] = [BigInt(Math.min(a, b)), BigInt(Math.max(a, b))];
        const mask = (2n ** (high - low + 1n) - 1n) << low;
        const { all } = file.region.registers({
          all: { offset: 8, width: 64, fields: { part: mask } },
        });
        const part = given & (mask >> low);
        all.write(before);
        all.update({ part });
        assert.equal(all.read(), (before & ~mask) | (part << low));
        assert.deepEqual(all.readFields(), { part });
        if (high - low >= 53n) return;
        const asNumber = { all: { offset: 8, width: 64, fields: { part: Number(mask) } } } as const;
        assert.deepEqual(file.region.registers(asNumber).all.readFields(), { part: Number(part) });
      }),
    );
  });

  it('stand in arrays, each at its place', async () => {
    using file = fileRegion(bytes, { size: 0x100 });
    using mapped = file.region.map();
    const arrays = {
      doorbells: { offset: 0x40, stride: 8, count: 4, access: 'w', fields: { index: 0xffff } },
      vectors: { offset: 0x80, width: 16, count: 64 },
      bases: { offset: 0xc4, width: 64, split: true, stride: 12, count: 2 },
    } as const satisfies RegisterMap;
    for (const target of [file.region, mapped]) {
      const { doorbells, vectors, bases } = target.registers(arrays);
      assert.deepEqual([doorbells.offset, doorbells.stride, doorbells.count], [0x40, 8, 4]);
      for (let at = 0; at < 4; at++) doorbells.at(at).writeFields({ index: 0x100 + at });
      assert.deepEqual(
        [0, 1, 2, 3].map((at) => target.read32(0x40 + 8 * at)),
        [0x100, 0x101, 0x102, 0x103],
      );
      assert.equal(target.read32(0x44), 0);
      assert.equal(doorbells.at(2), doorbells.at(2), 'always the same object');
      assert.equal(doorbells.at(3).offset, 0x58);
      vectors.at(63).write(0xabcd);
      assert.equal(target.read16(0xfe), 0xabcd);
      bases.at(1).write(0x1_0000_0002n);
      assert.deepEqual([target.read32(0xd0), target.read32(0xd4)], [2, 1]);
      for (const index of [-1, 4, 1.5, NaN]) {
        const error = await failure(() => doorbells.at(index), 'ERR_OUT_OF_RANGE');
        assert.match(error.message, /"index".*from 0 to 3/);
      }
      await failure(() => doorbells.at('1' as never), 'ERR_INVALID_ARG_TYPE');
      const last = doorbells.at(3) as unknown as { read: () => unknown };
      const error = await failure(() => last.read(), 'ERR_VFIO_WRITE_ONLY');
      assert.match(error.message, /doorbells\[3\]/);
      target.write32(0xfc, 0);
    }
    assert.match(inspect(file.region.registers(arrays)), /RegisterArray {\s+offset: 64,/);
  });

  it('take fields as an object, and say what fits', async () => {
    using file = fileRegion(bytes, { size: 0x100 });
    const { word, long } = file.region.registers({
      word: { offset: 0, fields: { a: 0xff } },
      long: { offset: 8, width: 64, fields: { a: 0xff } },
    });
    const before = [word.read(), long.read()];
    for (const bad of [null, undefined, 5, 'a', [], [1]]) {
      for (const register of [word, long]) {
        await failure(() => {
          register.writeFields(bad as never);
        }, 'ERR_INVALID_ARG_TYPE');
        await failure(() => {
          register.update(bad as never);
        }, 'ERR_INVALID_ARG_TYPE');
      }
    }
    assert.deepEqual([word.read(), long.read()], before);
    const masks = { x: { offset: 0, fields: { a: 15n } } };
    const mask = await failure(() => file.region.registers(masks), 'ERR_INVALID_ARG_TYPE');
    assert.match(mask.message, /bigints are for registers of 64 bits\. Received 15n/);
    const misspelt = { x: { offset: 0, wdith: 8 } };
    const part = await failure(() => file.region.registers(misspelt), 'ERR_INVALID_ARG_VALUE');
    assert.match(part.message, /"map\.x\.wdith" .* left out: a register has offset, width, .* 8$/);
    const one = { x: { offset: 0xf8, stride: 8, count: 2 } };
    const count = await failure(() => file.region.registers(one), 'ERR_INVALID_ARG_VALUE');
    assert.match(count.message, /"map\.x\.count" .* must be 1: with this stride no more fit/);
    const many = { x: { offset: 0xf0, stride: 8, count: 3 } };
    const counts = await failure(() => file.region.registers(many), 'ERR_INVALID_ARG_VALUE');
    assert.match(counts.message, /a whole number from 1 to 2, which fit with this stride/);
  });

  it('change no other bit of any value', () => {
    using file = fileRegion(bytes, { size: 0x100 });
    const { status } = file.region.registers(map);
    fc.assert(
      fc.property(fc.nat(0xffff_ffff), fc.nat(3), fc.nat(1), (before, mode, top) => {
        status.write(before);
        status.update({ mode, top });
        assert.equal(status.read(), ((before & 0x7fff_fff9) | (mode << 1) | (top << 31)) >>> 0);
      }),
    );
  });

  it('have by type what their access allows, and no more', () => {
    type Has<Name extends keyof typeof map, Method extends string> = Method extends keyof Registers<
      typeof map
    >[Name]
      ? true
      : false;
    // Compiles, or does not.
    const readOnly: [Has<'id', 'read'>, Has<'id', 'write'>, Has<'id', 'update'>] = [
      true,
      false,
      false,
    ];
    const writeOnly: [
      Has<'doorbell', 'read'>,
      Has<'doorbell', 'write'>,
      Has<'doorbell', 'update'>,
    ] = [false, true, false];
    const both: [Has<'byte', 'read'>, Has<'byte', 'write'>, Has<'byte', 'update'>] = [
      true,
      true,
      true,
    ];
    type Wide = Parameters<Registers<typeof map>['address']['write']>[0];
    const wide: Wide = 1n;
    type Fields = keyof ReturnType<Registers<typeof map>['status']['readFields']>;
    const fields: Record<Fields, true> = { busy: true, mode: true, raise: true, top: true };
    assert.ok([readOnly, writeOnly, both, wide, fields].length > 0);
  });

  it('refuse when called what their access does not allow, and write nothing', async () => {
    using file = fileRegion(bytes, { size: 0x100 });
    const regs = file.region.registers(map) as unknown as Record<
      keyof typeof map,
      Record<
        'read' | 'readFields' | 'write' | 'writeFields' | 'update',
        (value?: unknown) => unknown
      >
    >;
    const written = file.region.read(0, 0x100);
    const refused: [() => unknown, string][] = [
      [() => regs.id.write(1), 'ERR_VFIO_READ_ONLY'],
      [() => regs.id.writeFields({ major: 1 }), 'ERR_VFIO_READ_ONLY'],
      [() => regs.id.update({ major: 1 }), 'ERR_VFIO_READ_ONLY'],
      [() => regs.doorbell.read(), 'ERR_VFIO_WRITE_ONLY'],
      [() => regs.doorbell.readFields(), 'ERR_VFIO_WRITE_ONLY'],
      [() => regs.doorbell.update({ index: 1 }), 'ERR_VFIO_WRITE_ONLY'],
      [() => regs.address.write(1), 'ERR_INVALID_ARG_TYPE'],
      [() => regs.status.writeFields({ nothing: 1 }), 'ERR_INVALID_ARG_VALUE'],
      [() => regs.status.update({ mode: 4 }), 'ERR_OUT_OF_RANGE'],
      [() => regs.status.update({ mode: '1' }), 'ERR_INVALID_ARG_TYPE'],
      [() => regs.byte.write(0x100), 'ERR_OUT_OF_RANGE'],
    ];
    for (const [access, code] of refused) await failure(access, code);
    assert.deepEqual(file.region.read(0, 0x100), written);
  });

  it('touch nothing when they are printed', () => {
    using file = fileRegion(bytes, { size: 0x100 });
    const regs: Registers<typeof map> = file.region.registers(map);
    file.owner.fd.closeSync(); // an access would throw
    assert.match(inspect(regs, { depth: 9, showHidden: true, getters: true }), /offset: 32/);
  });
});
