import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { decodePciConfig, type PciConfig } from '../../lib/index.ts';
import { put } from '../support/kernel_bytes.ts';
import { align } from '../support/pci_bytes.ts';

/**
 * A capability as the specifications lay it out: its length, and what of it says how long it is.
 */
interface Legal {
  what: string;
  id: number;
  length: number;
  /** Values of 16 bits, by their offset. */
  fixed?: Record<number, number>;
}

const msi = (what: string, control: number, length: number): Legal => ({
  ...{ what: `MSI, ${what}`, id: 0x05, length },
  fixed: { 2: control },
});

const express = (what: string, version: number, type: number, length: number): Legal => ({
  ...{ what: `PCI Express ${version}, ${what}`, id: 0x10, length },
  fixed: { 2: version | (type << 4) },
});

const standard: Legal[] = [
  { what: 'power management', id: 0x01, length: 8 },
  msi('32 bits', 0, 10),
  msi('64 bits', 0x80, 14),
  msi('32 bits, masks', 0x100, 20),
  msi('64 bits, masks', 0x180, 24),
  { what: 'vendor-specific, nothing in it', id: 0x09, length: 3, fixed: { 2: 3 } },
  { what: 'vendor-specific', id: 0x09, length: 17, fixed: { 2: 17 } },
  { what: 'subsystem', id: 0x0d, length: 8 },
  express('integrated endpoint', 1, 9, 12),
  express('event collector', 1, 10, 36),
  express('endpoint', 1, 0, 20),
  express('legacy endpoint', 1, 1, 20),
  express('integrated endpoint', 2, 9, 44),
  express('event collector', 2, 10, 44),
  express('endpoint', 2, 0, 52),
  express('root port', 2, 4, 60),
  { what: 'MSI-X', id: 0x11, length: 12 },
  { what: 'advanced features', id: 0x13, length: 6 },
];

const extended: Legal[] = [
  { what: 'error reporting', id: 0x01, length: 44 },
  { what: 'serial number', id: 0x03, length: 12 },
  { what: 'vendor-specific', id: 0x0b, length: 8 },
  { what: 'access control', id: 0x0d, length: 8 },
  { what: 'alternative routing', id: 0x0e, length: 8 },
  { what: 'address translation', id: 0x0f, length: 8 },
  { what: 'SR-IOV', id: 0x10, length: 64 },
  { what: 'page requests', id: 0x13, length: 16 },
  { what: 'latency tolerance', id: 0x18, length: 8 },
  { what: 'PASID', id: 0x1b, length: 8 },
  { what: 'designated vendor', id: 0x23, length: 10 },
];

interface Place {
  legal: Legal;
  offset: number;
  next?: number;
}

/** A space of which every byte that nothing says is `filler`; the bodies come from `random`. */
function spaceOf(kind: 'standard' | 'extended', places: Place[], random: Uint8Array, filler = 0) {
  const bytes = new Uint8Array(4096).fill(filler);
  bytes.fill(0, 0, 64);
  put(bytes, {
    u16: { 0: 0x1234, 2: 0x5678, 6: kind === 'standard' ? 0x10 : 0 },
    u32: { 0x100: 0 },
  });
  if (kind === 'standard') bytes[0x34] = places[0]?.offset ?? 0;
  for (const { legal, offset, next = 0 } of places) {
    bytes.set(random.subarray(0, legal.length), offset);
    for (const [at, value] of Object.entries(legal.fixed ?? {})) {
      put(bytes, { u16: { [offset + Number(at)]: value } });
    }
    if (kind === 'standard') bytes.set([legal.id, next], offset);
    else put(bytes, { u32: { [offset]: (legal.id | (1 << 16) | (next << 20)) >>> 0 } });
  }
  return bytes;
}

/** What a decoder made of the registers; the bytes are those up to the next capability. */
function registers(config: PciConfig, kind: 'standard' | 'extended'): object[] {
  const all = kind === 'standard' ? config.capabilities : config.extendedCapabilities;
  return all.map((one) => ({ ...one, bytes: undefined }));
}

const random = fc.uint8Array({ minLength: 64, maxLength: 64 });

for (const [kind, all, first, end] of [
  ['standard', standard, 0x40, 0x100],
  ['extended', extended, 0x100, 0x1000],
] as const) {
  describe(`a ${kind} capability that is as long as the specification says`, () => {
    for (const legal of all) {
      it(`is decoded at the last place, and before every other: ${legal.what}`, () => {
        const last = end - align(legal.length);
        const head = all[0] ?? assert.fail();
        // An extended chain begins at 0x100.
        const before: Place[] =
          kind === 'standard' ? [] : [{ legal: head, offset: first, next: last }];
        fc.assert(
          fc.property(random, (body) => {
            const atLast = spaceOf(kind, [...before, { legal, offset: last }], body);
            const [decoded] = registers(decodePciConfig(atLast), kind).slice(-1);
            assert.notEqual((decoded as { kind: string }).kind, 'unknown');
            for (const other of all) {
              const next = first + align(legal.length);
              const places = [
                { legal, offset: first, next },
                { legal: other, offset: next },
              ];
              const found = registers(decodePciConfig(spaceOf(kind, places, body)), kind);
              const kinds = found.map((one) => (one as { kind: string }).kind);
              assert.ok(kinds.length === 2 && !kinds.includes('unknown'), `${legal.what}, ${other.what}: ${kinds.join()}`); // prettier-ignore
            }
          }),
          { numRuns: 20 },
        );
      });

      it(`has no register beyond its end: ${legal.what}`, () => {
        fc.assert(
          fc.property(random, (body) => {
            const [zeros, ones] = [0, 0xff].map((filler) => {
              const space = spaceOf(kind, [{ legal, offset: first }], body, filler);
              return registers(decodePciConfig(space), kind);
            });
            assert.deepEqual(zeros, ones);
          }),
          { numRuns: 20 },
        );
      });
    }
  });
}

describe('a capability that is cut off', () => {
  it('is decoded as far as it goes, or not at all, and nothing throws', () => {
    for (const [kind, all, first] of [
      ['standard', standard, 0x40],
      ['extended', extended, 0x100],
    ] as const) {
      for (const legal of all) {
        for (let length = 0; length <= legal.length; length++) {
          const space = spaceOf(kind, [{ legal, offset: first }], new Uint8Array(64).fill(0xa5));
          const cut = decodePciConfig(space.subarray(0, first + length));
          for (const one of [...cut.capabilities, ...cut.extendedCapabilities]) {
            assert.ok(one.bytes.length <= length);
          }
        }
      }
    }
  });
});

describe('the PCI Express capability', () => {
  it('of an integrated endpoint, version 1, has 12 bytes', () => {
    const [legal = assert.fail()] = standard.filter(
      ({ id, length }) => id === 0x10 && length === 12,
    );
    const offset = 0xf4;
    const space = spaceOf('standard', [{ legal, offset }], new Uint8Array(64));
    const [one] = decodePciConfig(space).capabilities;
    assert.ok(one?.kind === 'pcie');
    assert.deepEqual([one.port, one.bytes.length], ['integrated endpoint', 12]);
    assert.deepEqual([one.linkCapability, one.deviceCapability2], [undefined, undefined]);
  });

  it('of an integrated endpoint, version 2, has no link registers', () => {
    const [legal = assert.fail()] = standard.filter(
      ({ id, length }) => id === 0x10 && length === 44,
    );
    const space = spaceOf('standard', [{ legal, offset: 0xd4 }], new Uint8Array(64).fill(1));
    const [one] = decodePciConfig(space).capabilities;
    assert.ok(one?.kind === 'pcie');
    assert.equal(one.deviceControl2?.completionTimeout, 1);
    const names = Object.keys(one).filter((name) => name.startsWith('link'));
    assert.deepEqual(names, []);
  });
});
