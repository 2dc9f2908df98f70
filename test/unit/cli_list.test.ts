import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { listJson, listText, whyNone } from '../../lib/cli/list.ts';
import { PciIds } from '../../lib/cli/pci_ids.ts';
import { listDevicesSync, type ListedDevice } from '../../lib/index.ts';
import { boundToVfio, pciDevice, sysfsFiles } from '../support/sysfs.ts';
import { tree } from '../support/tree.ts';

const ids = new PciIds('1b36  Red Hat, Inc.\n\t0010  QEMU NVM Express Controller\n');

function devices(): ListedDevice[] {
  const files = sysfsFiles({
    pci: {
      '0000:3b:00.0': pciDevice(11, boundToVfio('vfio3', '511:3\n')),
      '0000:00:1f.0': pciDevice(8, { vendor: '0x8086\n', device: '0x2918\n' }),
    },
    mdev: { '6d747479-0000-4000-8000-000000000001': { uevent: '', ...boundToVfio('vfio12') } },
  });
  return listDevicesSync({ sysfsRoot: tree(files) });
}

const table = `ADDRESS                               IDS        DRIVER    GROUP  CDEV   NAME
6d747479-0000-4000-8000-000000000001  -          vfio-pci      -  -
0000:00:1f.0                          8086:2918  -             8  -
0000:3b:00.0                          1b36:0010  vfio-pci     11  vfio3  Red Hat, Inc. QEMU NVM Express Controller`;

describe('vfio list', () => {
  it('prints a table', () => {
    assert.equal(listText(devices(), ids, { colour: false }), table);
  });

  it('fits every width of a terminal', () => {
    const lines = table.split('\n');
    const listed = devices();
    for (let width = 1; width < 130; width++) {
      const cut = listText(listed, ids, { colour: false, width }).split('\n');
      for (const [at, line] of cut.entries()) {
        const whole = lines[at] ?? '';
        assert.equal(line, whole.length <= width ? whole : `${whole.slice(0, width - 1)}…`);
      }
    }
  });

  it('prints a bold heading on a terminal', () => {
    const [heading] = listText(devices(), ids, { colour: true, width: 12 }).split('\n');
    assert.equal(heading, '\u001b[1mADDRESS    …\u001b[22m');
  });

  it('prints JSON with the keys that its help names, in their order', () => {
    const listed = devices();
    const parsed = JSON.parse(listJson(listed)) as object[];
    assert.deepEqual(parsed, listed);
    for (const device of parsed) assert.equal(Object.keys(device).join(' '), keys);
    assert.equal(listJson([]), '[]');
  });

  it('says what to do where there is nothing', () => {
    assert.match(whyNone([]), /no device has an IOMMU group/);
    assert.match(whyNone(devices().slice(0, 1)), /list --all shows one device that/);
    assert.match(whyNone(devices()), /vfio doctor <device> says what one lacks$/);
    assert.match(whyNone(devices()), /bound to a VFIO driver.*--all shows 3 devices that/);
  });
});

const keys =
  'bus address sysfsPath vendor device subsystemVendor subsystemDevice class revision driver ' +
  'driverOverride iommuGroup numaNode boundToVfio cdev physfn virtfns sriovNumVfs sriovTotalVfs';
