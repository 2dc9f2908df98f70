import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { clearingBits, untaken } from '../../lib/cli/config.ts';
import { put } from '../support/kernel_bytes.ts';
import { pciSpace } from '../support/pci_bytes.ts';

describe('a write to the configuration space', () => {
  const pm = { id: 0x01, body: new Uint8Array(6) };
  const pcie = { id: 0x10, body: put(new Uint8Array(58), { u16: { 0: 2 } }) };
  const aer = { id: 0x01, body: new Uint8Array(40) };
  const space = pciSpace([pm, pcie], [aer]);

  it('knows the bits that 1 clears, at every width', () => {
    assert.equal(clearingBits(space, 0x06, 2), 0xf900n);
    assert.equal(clearingBits(space, 0x04, 4), 0xf900_0000n);
    assert.equal(clearingBits(space, 0x07, 1), 0xf9n);
    assert.equal(clearingBits(space, 0x00, 8), 0xf900_0000_0000_0000n);
    assert.equal(clearingBits(space, 0x44, 2), 0x8000n);
    assert.equal(clearingBits(space, 0x45, 1), 0x80n);
    // Device control and status of the capability at 0x48.
    assert.equal(clearingBits(space, 0x50, 4), 0x004f_8000n);
    assert.equal(clearingBits(space, 0x104, 4), 0xffff_ffffn);
    assert.equal(clearingBits(space, 0x108, 4), 0n);
    assert.equal(clearingBits(space, 0x10, 4), 0n);
    assert.equal(clearingBits(space, 0x1e, 2), 0n);
    const bridge = space.slice();
    bridge[0x0e] = 1;
    assert.equal(clearingBits(bridge, 0x1e, 2), 0xf900n);
  });

  it('names the bits that did not take the value', () => {
    const bits = (before: bigint, value: bigint, after: bigint, clearing = 0n): bigint =>
      untaken({ before, value, after, clearing });
    assert.equal(bits(0x0n, 0x6n, 0x6n), 0n);
    // Nothing changed; a part did; the device changed others.
    assert.equal(bits(0x1234n, 0x5678n, 0x1234n), 0x1234n ^ 0x5678n);
    assert.equal(bits(0x0n, 0xffn, 0x47n), 0xb8n);
    assert.equal(bits(0x0n, 0x1n, 0x3n), 0x2n);
    // Status bits: cleared, clear before, left alone, and one that stays.
    assert.equal(bits(0x8000n, 0xf900n, 0x0n, 0xf900n), 0n);
    assert.equal(bits(0x8000n, 0x0n, 0x8000n, 0xf900n), 0n);
    assert.equal(bits(0x8000n, 0x8000n, 0x8000n, 0xf900n), 0x8000n);
    // One of a register that no specification has.
    assert.equal(bits(0x3n, 0x1n, 0x2n), 0x2n);
    assert.equal(bits(0x3n, 0x3n, 0x2n), 0n);
  });
});
