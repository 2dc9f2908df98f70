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
