import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { configText, hexDump } from '../../lib/cli/config.ts';
import { PciIds } from '../../lib/cli/pci_ids.ts';
import { decodePciConfig } from '../../lib/index.ts';
import { put } from '../support/kernel_bytes.ts';
import { pciSpace } from '../support/pci_bytes.ts';

const ids = new PciIds('1234  Technical Corp.\n\t5678  Device Family 90 Series\n');

describe('vfio config', () => {
  it('prints for a person', () => {
    const header = put(new Uint8Array(64), {
      u16: { 4: 0x0006 },
      u32: { 8: 0x0108_0202, 0x10: 0xfebf_0004, 0x2c: 0x1100_1af4, 0x3c: 0x0000_010b },
    });
    const bytes = pciSpace(
      [
        { id: 0x11, body: put(new Uint8Array(10), { u16: { 0: 0x8040 }, u32: { 2: 0x2000 } }) },
        { id: 0x3f, body: Uint8Array.of(1, 2) },
      ],
      [{ id: 0x03, body: put(new Uint8Array(8), { u32: { 0: 1, 4: 2 } }) }],
      header,
    );
    bytes[0x4d] = 0x40;
    assert.equal(
      configText('0000:3b:00.0', decodePciConfig(bytes), ids, false),
      `0000:3b:00.0  [1234:5678]
  name        Technical Corp. Device Family 90 Series
  class       010802, revision 0x2
  subsystem   1af4:1100
  header      type 0
  command     io- memory+ busMaster+ specialCycles- memoryWriteInvalidate- vgaSnoop-
              parityError- stepping- systemError- fastBackToBack- interruptDisable-
  status      interrupt- capabilities+ is66MHz- fastBackToBack- parityError- devselTiming=0
              signalledTargetAbort- receivedTargetAbort- receivedMasterAbort-
              signalledSystemError- detectedParityError-
  cache line  0 bytes, latency timer 0
  interrupt   pin A, line 11
  bar0        memory at 0xfebf0000, 64 bits, not prefetchable

[40] MSI-X (0x11)
  control  vectors=65 masked- enable+
  table    bar=0 offset=0x2000
  pba      bar=0 offset=0x0

[4c] capability (0x3f)
  3f 40 01 02 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 … (180 bytes)

[100] device serial number (0x3) version 1
  serial  0x200000001

incomplete: the capabilities meet themselves at 0x40`,
    );
  });

  it('prints the bytes as lspci does', () => {
    const bytes = Uint8Array.from({ length: 0x21 }, (_, at) => at);
    const dump = hexDump('0000:3b:00.0', bytes);
    assert.equal(
      dump,
      `0000:3b:00.0 
00: 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f
10: 10 11 12 13 14 15 16 17 18 19 1a 1b 1c 1d 1e 1f
20: 20`,
    );
  });
});

describe('vfio config of what sysfs shows', () => {
  it('says where it is the first 64 bytes only, and not that there are no capabilities', () => {
    const whole = pciSpace([{ id: 0x3f, body: new Uint8Array(2) }], []);
    const text = configText('0000:3b:00.0', decodePciConfig(whole.subarray(0, 64)), ids, false);
    assert.match(text, /\nincomplete: capabilities are not known: the first 64 bytes were read/);
  });
});
