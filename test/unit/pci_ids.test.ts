import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { PciIds, systemPciIds } from '../../lib/cli/pci_ids.ts';
import { tree } from '../support/tree.ts';

const list = `# a comment
0001  SafeNet (wrong ID)
1b36  Red Hat, Inc.
\t0001  QEMU PCI-PCI bridge
# a comment within
\t0010  QEMU NVM Express Controller
\t\t1af4 1100  QEMU Virtual Machine
1b37  Signal Processing Devices
\t0011  A device of the next vendor
C 01  Mass storage controller
\t08  Non-Volatile memory controller`;

describe('the list of PCI ids', () => {
  const ids = new PciIds(list);

  it('names vendors and devices', () => {
    const names = { vendor: 'Red Hat, Inc.', device: 'QEMU NVM Express Controller' };
    assert.deepEqual(ids.names('1b36', '0010'), names);
    assert.deepEqual(ids.names('1b36', '0010'), names, 'asked again');
    assert.deepEqual(ids.names('0001', 'ffff'), {
      vendor: 'SafeNet (wrong ID)',
      device: undefined,
    });
  });

  it('takes no device of another vendor, no subsystem and no class', () => {
    assert.equal(ids.names('1b36', '0011').device, undefined);
    assert.equal(ids.names('1b36', '1af4').device, undefined);
    assert.equal(ids.names('1b37', '08').device, undefined);
    assert.deepEqual(ids.names('dead', '0010'), { vendor: undefined, device: undefined });
    assert.deepEqual(ids.names('', ''), { vendor: undefined, device: undefined });
  });

  it('is read from the first place that has one, and empty where none has', () => {
    const root = tree({ 'two/pci.ids': list });
    const files = [`${root}/one/pci.ids`, `${root}/two/pci.ids`];
    assert.equal(systemPciIds(files).names('1b36', '0001').device, 'QEMU PCI-PCI bridge');
    assert.equal(systemPciIds([`${root}/none`]).names('1b36', '0001').vendor, undefined);
  });

  it('may hold anything: no text and no id makes it throw', () => {
    const id = fc.oneof(fc.constantFrom('1b36', '0010', '', '.*', '\n'), fc.string());
    const piece = fc.constantFrom('\n', '\t', '#', '1b36  ', '\t0010  ', 'C 01  ', '\r', '\0');
    const text = fc
      .array(fc.oneof(piece, fc.string({ unit: 'binary' })))
      .map((all) => all.join(''));
    fc.assert(
      fc.property(text, id, id, (any, vendor, device) => {
        const names = new PciIds(any).names(vendor, device);
        for (const name of Object.values(names) as (string | undefined)[]) {
          assert.ok(name === undefined || (!name.includes('\n') && any.includes(name)));
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('finds in a list what was put there', () => {
    const hex = fc.integer({ min: 0, max: 0xffff }).map((id) => id.toString(16).padStart(4, '0'));
    const name = fc.stringMatching(/^[A-Za-z][\w ()[\]/,.&-]*\w$/);
    const vendors = fc.dictionary(hex, fc.tuple(name, fc.dictionary(hex, name)), { minKeys: 1 });
    fc.assert(
      fc.property(vendors, (all) => {
        const lines = Object.entries(all).flatMap(([vendor, [called, devices]]) => [
          `${vendor}  ${called}`,
          ...Object.entries(devices).map(([device, model]) => `\t${device}  ${model}`),
        ]);
        const ids = new PciIds(lines.join('\n'));
        for (const [vendor, [called, devices]] of Object.entries(all)) {
          for (const [device, model] of Object.entries(devices)) {
            assert.deepEqual(ids.names(vendor, device), { vendor: called, device: model });
          }
        }
      }),
    );
  });
});
