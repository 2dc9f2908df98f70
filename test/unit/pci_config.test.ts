import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { decodePciConfig } from '../../lib/index.ts';
import { put } from '../support/kernel_bytes.ts';
import { hasLspci } from '../support/lspci.ts';
import { comparable, compareWithLspci } from '../support/lspci_compare.ts';
import { pciSpace, type Laid } from '../support/pci_bytes.ts';

/** A capability with any bytes in it; `fixed` are those that say how to read the rest. */
function laid(
  id: number,
  length: number,
  fixed: (body: Uint8Array) => void = () => undefined,
): fc.Arbitrary<Laid> {
  return fc.uint8Array({ minLength: length, maxLength: length }).map((body) => {
    fixed(body);
    return { id, body };
  });
}

const standard = fc.tuple(
  laid(0x01, 6),
  // 64 bits and masks, so that it has all of its registers.
  laid(0x05, 22, (body) => (body[0] = (body[0] ?? 0) | 0x80)),
  laid(0x11, 10),
  // Version 2 of an endpoint.
  laid(0x10, 58, (body) => (body[0] = 0x02)),
  laid(0x09, 10, (body) => (body[0] = 12)),
  laid(0x13, 4, (body) => (body[0] = 6)),
);

const extended = fc.tuple(
  laid(0x01, 40),
  laid(0x03, 8),
  laid(0x0d, 8, (body) => (body[1] = 0)),
  laid(0x0e, 4),
  laid(0x0f, 4),
  laid(0x10, 60),
  laid(0x13, 12),
  // Not the units 6 and 7, which are reserved.
  laid(0x18, 4, (body) => {
    body.set([(body[1] ?? 0) & ~8, (body[3] ?? 0) & ~8].flatMap((high) => [0x55, high]));
  }),
  laid(0x1b, 4),
  // A length that ends in the capability.
  laid(0x0b, 12, (body) => put(body, { u16: { 2: 0x0103 } })),
);

const spaces = fc
  .record({ standard, extended, header: fc.uint8Array({ minLength: 64, maxLength: 64 }) })
  .map((parts) => pciSpace(parts.standard, parts.extended, parts.header));

describe('decodePciConfig', () => {
  const title = hasLspci ? '' : ' (lspci: apt-get install -y pciutils)';
  (hasLspci ? it : it.skip)(`says what lspci says, of any values of every register${title}`, () => {
    const compared = new Set<string>();
    fc.assert(
      fc.property(spaces, (bytes) => {
        const config = decodePciConfig(bytes);
        assert.deepEqual(config.problems, []);
        for (const one of compareWithLspci(bytes, config)) compared.add(one);
      }),
      // A smaller example would say no more than the message, and take a minute.
      { numRuns: 60, endOnFailure: true },
    );
    const never = [...comparable()].filter((one) => !compared.has(one));
    assert.deepEqual(never, []);
  }).timeout(120_000);

  it('ends on any bytes, and takes nothing from outside of them', () => {
    const lengths = fc.constantFrom(64, 65, 255, 256, 259, 4096);
    const any = lengths.chain((length) => fc.uint8Array({ minLength: length, maxLength: length }));
    fc.assert(
      fc.property(any, fc.boolean(), (bytes, list) => {
        if (list) bytes[6] = (bytes[6] ?? 0) | 0x10;
        const { capabilities, extendedCapabilities } = decodePciConfig(bytes);
        for (const one of [...capabilities, ...extendedCapabilities]) {
          assert.deepEqual(one.bytes, bytes.slice(one.offset, one.offset + one.bytes.length));
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('leaves a chain that meets itself, or the bytes, and says so', () => {
    const bytes = pciSpace(
      [
        { id: 1, body: new Uint8Array(6) },
        { id: 0x55, body: new Uint8Array(2) },
      ],
      [],
    );
    bytes[0x49] = 0x40;
    const { capabilities, problems } = decodePciConfig(bytes);
    assert.deepEqual(
      capabilities.map(({ kind }) => kind),
      ['pm', 'unknown'],
    );
    assert.deepEqual(problems, ['the capabilities meet themselves at 0x40']);
    bytes[0x49] = 0x10;
    assert.match(decodePciConfig(bytes).problems.join(), /a capability at 0x10 is in the header/);
    const cut = decodePciConfig(bytes.subarray(0, 64));
    assert.deepEqual(cut.capabilities, []);
    assert.match(cut.problems.join(), /capabilities are not known: the first 64 bytes were read/);
    const few = decodePciConfig(bytes.subarray(0, 66));
    assert.match(few.problems.join(), /go on at 0x40, where nothing was read/);
  });

  it('says of all ones that the device does not answer', () => {
    for (const length of [64, 256, 4096]) {
      const config = decodePciConfig(new Uint8Array(length).fill(0xff));
      assert.equal(config.responds, false);
      assert.deepEqual([config.capabilities, config.extendedCapabilities], [[], []]);
      assert.match(config.problems.join(), /^the device does not answer.* gone, or asleep$/);
    }
  });

  it('says so of what VFIO shows of a device that is gone: the ids, and base addresses, are its own', () => {
    const bytes = put(new Uint8Array(256).fill(0xff), {
      u32: { 0: 0x5678_1234, 0x10: 0xfe00_0000 },
    });
    assert.equal(decodePciConfig(bytes).responds, false);
    // A virtual function that answers has no ids of its own.
    const virtual = put(pciSpace([], []), { u32: { 0: 0xffff_ffff } });
    assert.equal(decodePciConfig(virtual).responds, true);
  });

  it('does not take what was not read for what is not there', () => {
    const pcie = { id: 0x10, body: put(new Uint8Array(58), { u16: { 0: 2 } }) };
    const bytes = pciSpace([pcie], [{ id: 3, body: new Uint8Array(8) }]);
    assert.deepEqual(decodePciConfig(bytes).problems, []);
    const unprivileged = decodePciConfig(bytes.subarray(0, 64));
    assert.deepEqual(unprivileged.capabilities, []);
    assert.match(unprivileged.problems.join(), /capabilities are not known: the first 64 bytes/);
    const conventional = decodePciConfig(bytes.subarray(0, 256));
    assert.match(
      conventional.problems.join(),
      /extended capabilities are not known: the first 256/,
    );
    // A device without a list of capabilities has none.
    bytes[6] = 0;
    assert.deepEqual(decodePciConfig(bytes.subarray(0, 64)).problems, []);
  });

  it('knows 64-bit and I/O base addresses, ROMs, and the headers of bridges', () => {
    const header = put(new Uint8Array(64), {
      u32: { 0x10: 0xfe00_000c, 0x14: 0x12, 0x18: 0xc001, 0x30: 0xfd00_0001, 0x3c: 0x0000_020b },
    });
    const { bars, rom, interruptPin, interruptLine } = decodePciConfig(pciSpace([], [], header));
    assert.deepEqual(bars, [
      { index: 0, kind: 'memory', bits: 64, prefetchable: true, address: 0x12_fe00_0000n },
      { index: 2, kind: 'io', address: 0xc000 },
    ]);
    assert.deepEqual(rom, { enabled: true, address: 0xfd00_0000 });
    assert.deepEqual([interruptPin, interruptLine], ['B', 11]);
    const bridge = put(new Uint8Array(64), { u32: { 0x18: 0x0004_0300 } });
    bridge[0x0e] = 0x81;
    const decoded = decodePciConfig(bridge);
    assert.deepEqual(decoded.bridge, { primaryBus: 0, secondaryBus: 3, subordinateBus: 4 });
    assert.deepEqual([decoded.headerType, decoded.multifunction], [1, true]);
    assert.equal(decoded.subsystem, null);
  });

  it('leaves a capability undecoded that is cut off', () => {
    const bytes = pciSpace([{ id: 0x11, body: new Uint8Array(2) }], []);
    const [cut] = decodePciConfig(bytes.subarray(0, 0x44)).capabilities;
    assert.deepEqual([cut?.kind, cut?.name], ['unknown', 'MSI-X']);
  });

  it('decodes a designated vendor’s capability', () => {
    const body = put(new Uint8Array(12), { u32: { 0: 0x0180_1e98, 4: 0x0005 } });
    const [dvsec] = decodePciConfig(pciSpace([], [{ id: 0x23, body }])).extendedCapabilities;
    assert.ok(dvsec?.kind === 'dvsec');
    const { vendor, revision, length, dvsecId } = dvsec;
    assert.deepEqual([vendor, revision, length, dvsecId], [0x1e98, 0, 0x18, 5]);
  });
});
