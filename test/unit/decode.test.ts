import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  decodeDeviceInfo,
  decodeIrqInfo,
  decodeRegionInfo,
  irqNames,
  regionNames,
} from '../../lib/info/decode.ts';
import { failure } from '../support/errors.ts';
import { put, putCapability, viewOf } from '../support/kernel_bytes.ts';

describe('decodeDeviceInfo', () => {
  it('decodes flags and the atomics capability', () => {
    const bytes = put(new Uint8Array(40), { u32: { 4: 0x83, 16: 24 } });
    putCapability(bytes, 24, { id: 5 }, put(new Uint8Array(8), { u32: { 0: 0b101 } }));
    assert.deepEqual(decodeDeviceInfo(viewOf(bytes)), {
      flags: ['reset', 'pci', 'caps'],
      capabilities: [{ kind: 'pci-atomic-comp', flags: ['comp32', 'comp128'] }],
    });
  });

  it('takes the 16 bytes of an old kernel', () => {
    const bytes = put(new Uint8Array(16), { u32: { 4: 4, 8: 1, 12: 1 } });
    assert.deepEqual(decodeDeviceInfo(viewOf(bytes)).flags, ['platform']);
  });

  it('shows a flag it does not know', () => {
    const bytes = put(new Uint8Array(24), { u32: { 4: 0x80000002 } });
    assert.deepEqual(decodeDeviceInfo(viewOf(bytes)).flags, ['pci', '0x80000000']);
  });

  it('shows a capability it does not know as it came', () => {
    const bytes = put(new Uint8Array(36), { u32: { 4: 0x82, 16: 24 } });
    putCapability(bytes, 24, { id: 77, version: 3 }, Uint8Array.of(1, 2, 3, 4));
    assert.deepEqual(decodeDeviceInfo(viewOf(bytes)).capabilities, [
      { kind: 'unknown', id: 77, version: 3, data: Uint8Array.of(1, 2, 3, 4) },
    ]);
  });
});

describe('decodeRegionInfo', () => {
  it('decodes numbers, flags and all capabilities', () => {
    const bytes = put(new Uint8Array(120), {
      u32: { 4: 0b1111, 8: 2, 12: 32 },
      u64: { 16: 0x100000n, 24: 2n << 40n },
    });
    const areas = put(new Uint8Array(40), {
      u32: { 0: 2 },
      u64: { 8: 0n, 16: 0x1000n, 24: 0x3000n, 32: 0xfd000n },
    });
    putCapability(bytes, 32, { id: 1, next: 80 }, areas);
    const type = put(new Uint8Array(8), { u32: { 0: 0x80008086, 4: 3 } });
    putCapability(bytes, 80, { id: 2, next: 96 }, type);
    putCapability(bytes, 96, { id: 3 });
    assert.deepEqual(decodeRegionInfo(viewOf(bytes), regionNames(['pci'])), {
      index: 2,
      name: 'bar2',
      size: 0x100000,
      offset: 2n << 40n,
      flags: ['read', 'write', 'mmap', 'caps'],
      capabilities: [
        {
          kind: 'sparse-mmap',
          areas: [
            { offset: 0, size: 0x1000 },
            { offset: 0x3000, size: 0xfd000 },
          ],
        },
        { kind: 'type', type: 0x80008086, subtype: 3 },
        { kind: 'msix-mappable' },
      ],
    });
  });

  const names: [string[], number, string][] = [
    [['pci'], 0, 'bar0'],
    [['reset', 'pci'], 6, 'rom'],
    [['pci'], 7, 'config'],
    [['pci'], 8, 'vga'],
    [['pci'], 9, 'region9'],
    [['platform'], 0, 'region0'],
  ];
  for (const [flags, index, name] of names) {
    it(`calls region ${index} of a ${flags.join(' ')} device ${name}`, () => {
      const bytes = put(new Uint8Array(32), { u32: { 8: index } });
      assert.equal(decodeRegionInfo(viewOf(bytes), regionNames(flags)).name, name);
    });
  }

  it('refuses a sparse-mmap capability that names more areas than came', async () => {
    const bytes = put(new Uint8Array(64), { u32: { 4: 8, 12: 32 } });
    putCapability(bytes, 32, { id: 1 }, put(new Uint8Array(8), { u32: { 0: 1000 } }));
    await failure(() => decodeRegionInfo(viewOf(bytes), []), 'ERR_VFIO_BAD_ANSWER');
  });

  it('refuses a size that no number can hold', async () => {
    const bytes = put(new Uint8Array(32), { u64: { 16: 1n << 60n } });
    await failure(() => decodeRegionInfo(viewOf(bytes), []), 'ERR_VFIO_BAD_ANSWER');
  });
});

describe('decodeIrqInfo', () => {
  it('decodes numbers and flags', () => {
    const bytes = put(new Uint8Array(16), { u32: { 4: 0b1001, 8: 2, 12: 2048 } });
    const wanted = { index: 2, name: 'msix', count: 2048, flags: ['eventfd', 'noresize'] };
    assert.deepEqual(decodeIrqInfo(viewOf(bytes), irqNames(['pci'])), wanted);
  });

  it('knows the names of other kinds of device', () => {
    const bytes = put(new Uint8Array(16), { u32: { 8: 1 } });
    assert.equal(decodeIrqInfo(viewOf(bytes), irqNames(['ap'])).name, 'cfg-chg');
    assert.equal(decodeIrqInfo(viewOf(bytes), irqNames(['ccw'])).name, 'crw');
    assert.equal(decodeIrqInfo(viewOf(bytes), irqNames(['platform'])).name, 'irq1');
  });
});
