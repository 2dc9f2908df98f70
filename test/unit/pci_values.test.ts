import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { decodePciConfig, type PciBar } from '../../lib/index.ts';
import { msixTable } from '../../lib/pci/capabilities.ts';
import { put } from '../support/kernel_bytes.ts';
import { pciSpace } from '../support/pci_bytes.ts';

// Values that lspci does not print, or prints in another form: pci_config.test.ts compares the rest.

/** A header that answers: its ids and command are not all ones. */
function header(u32: Record<number, number>, type = 0): Uint8Array {
  const bytes = put(new Uint8Array(64), { u32: { 0: 0x5678_1234, ...u32 } });
  bytes[0x0e] = type;
  return bytes;
}

const barsOf = (u32: Record<number, number>, type = 0): PciBar[] =>
  decodePciConfig(header(u32, type)).bars;

describe('the header of a configuration space', () => {
  it('has each number in its place', () => {
    const bytes = header({ 0x08: 0x0102_03a4, 0x0c: 0xb780_4010, 0x2c: 0x1100_1af4, 0x3c: 0x0b });
    const found = decodePciConfig(bytes);
    assert.deepEqual([found.vendor, found.device, found.class], [0x1234, 0x5678, 0x01_0203]);
    assert.deepEqual([found.revision, found.cacheLineSize, found.latencyTimer], [0xa4, 0x10, 0x40]);
    // The type was put there after the word.
    assert.deepEqual([found.headerType, found.multifunction, found.bist], [0, false, 0xb7]);
    assert.deepEqual(found.subsystem, { vendor: 0x1af4, device: 0x1100 });
    assert.deepEqual([found.bridge, found.rom, found.interruptPin], [null, null, null]);
    assert.equal(found.interruptLine, 11);
    assert.equal(decodePciConfig(header({}, 0x80)).multifunction, true);
  });

  it('says by which pin the device interrupts', () => {
    const pins = [1, 2, 3, 4, 5].map((pin) => decodePciConfig(header({ 0x3c: pin << 8 })));
    assert.deepEqual(
      pins.map(({ interruptPin }) => interruptPin),
      ['A', 'B', 'C', 'D', null],
    );
  });

  it('is of a device that answers where either the status or the class is not all ones', () => {
    const ones = new Uint8Array(64).fill(0xff);
    const answers = (at: number): boolean => {
      const bytes = Uint8Array.from(ones);
      bytes[at] = 0;
      return decodePciConfig(bytes).responds;
    };
    assert.deepEqual([6, 7, 8, 9, 10, 11].map(answers), Array(6).fill(true));
    assert.deepEqual([0, 4, 12].map(answers), [false, false, false]);
  });

  it('has the base addresses of its type, of 32 and 64 bits', () => {
    assert.deepEqual(barsOf({ 0x10: 0xfe00_0000, 0x18: 0xfd00_0008 }), [
      { index: 0, kind: 'memory', bits: 32, prefetchable: false, address: 0xfe00_0000n },
      { index: 2, kind: 'memory', bits: 32, prefetchable: true, address: 0xfd00_0000n },
    ]);
    const wide = { kind: 'memory', bits: 64, prefetchable: false } as const;
    assert.deepEqual(barsOf({ 0x18: 0x4, 0x1c: 0x21, 0x20: 0xfc00_0004, 0x24: 0x7 }), [
      { index: 2, ...wide, address: 0x21_0000_0000n },
      { index: 4, ...wide, address: 0x7_fc00_0000n },
    ]);
    // Behind the last there is none for its upper half; 0x28 is no base address.
    assert.deepEqual(barsOf({ 0x24: 0xfb00_0004, 0x28: 0x1 }), [
      { index: 5, kind: 'memory', bits: 32, prefetchable: false, address: 0xfb00_0000n },
    ]);
    // A bridge has two, and a CardBus bridge none.
    const two = { 0x10: 0xfe00_0000, 0x14: 0xe001, 0x18: 0xfd00_0000 };
    assert.deepEqual(
      barsOf(two, 1).map(({ index }) => index),
      [0, 1],
    );
    assert.deepEqual(barsOf(two, 2), []);
  });

  it('has the ROM where its type has it', () => {
    const at = (u32: Record<number, number>, type: number) =>
      decodePciConfig(header(u32, type)).rom;
    assert.deepEqual(at({ 0x30: 0xfd00_0800 }, 0), { enabled: false, address: 0xfd00_0800 });
    assert.deepEqual(at({ 0x38: 0xfc00_0001 }, 1), { enabled: true, address: 0xfc00_0000 });
    assert.deepEqual([at({ 0x30: 0xfd00_0800 }, 1), at({ 0x30: 0xfd00_0800 }, 2)], [null, null]);
  });

  it('is refused by name where it is cut short', () => {
    assert.throws(() => decodePciConfig(new Uint8Array(63)), {
      code: 'ERR_OUT_OF_RANGE',
      message: /"space\.length".*64 at least.*63/,
    });
    assert.throws(() => decodePciConfig('x' as never), { message: /"space"/ });
  });
});

describe('a chain of capabilities', () => {
  it('begins elsewhere in a CardBus bridge', () => {
    const bytes = new Uint8Array(256);
    put(bytes, { u32: { 0: 0x5678_1234, 4: 0x0010_0000, 0x14: 0x80, 0x34: 0x40 } });
    bytes[0x0e] = 2;
    bytes[0x80] = 0x01;
    const { capabilities, problems } = decodePciConfig(bytes);
    assert.deepEqual(
      capabilities.map(({ id, offset }) => [id, offset]),
      [[1, 0x80]],
    );
    assert.deepEqual(problems, []);
  });

  it('ends where there is nothing, and says so', () => {
    const bytes = pciSpace([{ id: 1, body: new Uint8Array(6) }], []);
    bytes[0x41] = 0x80;
    bytes.fill(0xff, 0x80, 0x84);
    const { capabilities, problems } = decodePciConfig(bytes);
    assert.deepEqual(
      capabilities.map(({ id }) => id),
      [1],
    );
    assert.deepEqual(problems, ['there is nothing at 0x80, where the capabilities go on']);
  });

  it('gives each one the bytes up to the next', () => {
    const body = new Uint8Array(6);
    const { capabilities } = decodePciConfig(pciSpace([{ id: 1, body }, { id: 0x7f, body }], [])); // prettier-ignore
    assert.deepEqual(
      capabilities.map(({ offset, bytes }) => [offset, bytes.length]),
      [
        [0x40, 8],
        [0x48, 0x100 - 0x48],
      ],
    );
  });

  it('has no extended ones where the first word is zero or ones, and no hidden one', () => {
    const none = pciSpace([], []);
    const seen = (bytes: Uint8Array) => {
      const { extendedCapabilities, problems } = decodePciConfig(bytes);
      return [extendedCapabilities.map(({ id }) => id), problems];
    };
    assert.deepEqual(seen(none), [[], []]);
    assert.deepEqual(seen(none.fill(0xff, 0x100, 0x104)), [[], []]);
    const body = new Uint8Array(8);
    assert.deepEqual(seen(pciSpace([], [{ id: 0, body }, { id: 3, body }])), [[3], []]); // prettier-ignore
    // The first word alone was read, and is enough for one that says nothing more.
    const one = pciSpace([], [{ id: 3, body }]).subarray(0, 0x104);
    assert.deepEqual(seen(one), [[3], []]);
  });

  it('is known to go on beyond what was read, in PCI Express alone', () => {
    const express = { id: 0x10, body: new Uint8Array(18) };
    const problems = (id: number, length: number): string[] =>
      decodePciConfig(pciSpace([{ ...express, id }], []).subarray(0, length)).problems;
    assert.equal(problems(0x10, 256).length, 1);
    assert.deepEqual([problems(0x10, 260), problems(0x01, 256)], [[], []]);
  });
});

describe('a capability', () => {
  const standard = (id: number, body: Uint8Array) =>
    decodePciConfig(pciSpace([{ id, body }], [])).capabilities[0];
  const extended = (id: number, body: Uint8Array) =>
    decodePciConfig(pciSpace([], [{ id, body }])).extendedCapabilities[0];

  it('of MSI has an address of 32 or 64 bits, and masks where it says so', () => {
    // Offsets are those in the capability, less the two bytes before the body.
    const narrow = put(new Uint8Array(22), { u16: { 0: 0x0100, 6: 0x4041 }, u32: { 2: 0xfee0_1000, 10: 0x11, 14: 0x22 } }); // prettier-ignore
    const msi = standard(0x05, narrow);
    assert.ok(msi?.kind === 'msi');
    assert.deepEqual([msi.address, msi.data, msi.mask, msi.pending], [0xfee0_1000n, 0x4041, 0x11, 0x22]); // prettier-ignore
    const wide = put(new Uint8Array(22), { u16: { 0: 0x0180, 10: 0x4142 }, u32: { 2: 0xfee0_2000, 6: 0x5, 14: 0x33, 18: 0x44 } }); // prettier-ignore
    const other = standard(0x05, wide);
    assert.ok(other?.kind === 'msi');
    assert.deepEqual([other.address, other.data, other.mask, other.pending], [0x5_fee0_2000n, 0x4142, 0x33, 0x44]); // prettier-ignore
    const plain = standard(0x05, put(new Uint8Array(12), { u16: { 0: 0x80 } }));
    assert.ok(plain?.kind === 'msi');
    assert.deepEqual([plain.mask, plain.pending], [null, null]);
  });

  it('of a vendor has its data, as long as it says', () => {
    const vendor = standard(0x09, Uint8Array.of(6, 0xa1, 0xa2, 0xa3, 0xa4));
    assert.ok(vendor?.kind === 'vendor');
    assert.deepEqual([vendor.length, [...vendor.data]], [6, [0xa1, 0xa2, 0xa3]]);
    const cut = pciSpace([{ id: 0x09, body: new Uint8Array(6).fill(9, 0, 1) }], []);
    assert.equal(decodePciConfig(cut.subarray(0, 0x48)).capabilities[0]?.kind, 'unknown');
  });

  it('of a bridge’s subsystem has both ids', () => {
    const found = standard(0x0d, put(new Uint8Array(6), { u16: { 2: 0x1af4, 4: 0x1100 } }));
    assert.ok(found?.kind === 'ssvid');
    assert.deepEqual([found.vendor, found.device], [0x1af4, 0x1100]);
  });

  it('of PCI Express names a port that no specification has by its number', () => {
    const found = standard(0x10, put(new Uint8Array(34), { u16: { 0: 0x00c1 } }));
    assert.ok(found?.kind === 'pcie');
    assert.equal(found.port, '0xc');
  });

  it('that is unknown has no name and its bytes', () => {
    const found = extended(0x7ffe, Uint8Array.of(1, 2, 3, 4));
    assert.deepEqual([found?.kind, found?.name, found?.id], ['unknown', null, 0x7ffe]);
    assert.equal(extended(0x03, new Uint8Array(8))?.name, 'device serial number');
  });

  it('of errors has the header of the transaction, word by word', () => {
    const words = { 24: 0x0102_0304, 28: 0x0506_0708, 32: 0x090a_0b0c, 36: 0x0d0e_0f10 };
    const found = extended(0x01, put(new Uint8Array(40), { u32: words }));
    assert.ok(found?.kind === 'aer');
    assert.deepEqual(found.headerLog, Object.values(words));
  });

  it('of the serial number, of page requests and of latencies has its numbers', () => {
    const serial = extended(0x03, put(new Uint8Array(8), { u32: { 0: 0x0403_0201, 4: 0x0807_0605 } })); // prettier-ignore
    assert.ok(serial?.kind === 'dsn');
    assert.equal(serial.serial, 0x0807_0605_0403_0201n);
    const pages = extended(0x13, put(new Uint8Array(12), { u32: { 4: 0x0102, 8: 0x0304 } }));
    assert.ok(pages?.kind === 'pri');
    assert.deepEqual([pages.capacity, pages.allocation], [0x0102, 0x0304]);
    // 3 × 32² ns; the unit 6 is a reserved one.
    const latency = extended(0x18, put(new Uint8Array(4), { u16: { 0: 0x0803, 2: 0x1803 } }));
    assert.ok(latency?.kind === 'ltr');
    assert.deepEqual([latency.maxSnoopLatency, latency.maxNoSnoopLatency], [3072, 0]);
    const longest = extended(0x18, put(new Uint8Array(4), { u16: { 0: 0x1401 } }));
    assert.ok(longest?.kind === 'ltr');
    assert.equal(longest.maxSnoopLatency, 32 ** 5);
  });
});

describe('the MSI-X table that a configuration space names', () => {
  const body = put(new Uint8Array(10), { u16: { 0: 0x8007 }, u32: { 2: 0x3003, 6: 0x4003 } });

  it('has sixteen bytes for each vector, in its BAR', () => {
    const others = [{ id: 0x01, body: new Uint8Array(6) }];
    const bytes = pciSpace([...others, { id: 0x11, body }], []);
    assert.deepEqual(msixTable(bytes), { bar: 3, start: 0x3000, end: 0x3080 });
    const most = put(Uint8Array.from(body), { u16: { 0: 0xffff } });
    assert.deepEqual(msixTable(pciSpace([{ id: 0x11, body: most }], [])), {
      ...{ bar: 3, start: 0x3000, end: 0x3000 + 2048 * 16 },
    });
  });

  it('is none where no capability names one, or where it is cut off', () => {
    assert.equal(msixTable(pciSpace([{ id: 0x01, body: new Uint8Array(6) }], [])), undefined);
    const bytes = pciSpace([{ id: 0x11, body }], []);
    assert.equal(msixTable(bytes.subarray(0, 0x4b)), undefined);
    assert.equal(msixTable(bytes.subarray(0, 0x4c))?.end, 0x3080);
    assert.equal(msixTable(bytes.subarray(0, 0x3f)), undefined);
    assert.equal(msixTable(bytes.subarray(0, 0x10)), undefined);
  });
});
