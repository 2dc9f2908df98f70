import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, it } from 'mocha';

import { lab, skipUnlessPrepared } from './vm.ts';

interface Seen {
  name: string;
  bus: string;
  driver: string;
  node: boolean;
  group: string;
}

interface Report {
  devices: Seen[];
  iommu: boolean;
  unplugged: { before: boolean; after: boolean };
}

/** Runs in the guest; prints a report as JSON. */
const PROGRAM = join(import.meta.dirname, 'in-guest.ts');

describe('the devices of the lab', function () {
  for (const [lane, args, cdevs] of [
    ['6.12', ['--nvme', '3'], true],
    ['stock', ['--stock'], false],
    ['7.3', ['--kernel', '7.3', '--nvme', '3'], true],
  ] as const) {
    it(`are bound to vfio-pci as the manifest says, and can be unplugged (${lane})`, async function () {
      if (lane === '7.3') skipUnlessPrepared(this);
      const { stdout, stderr, status } = await lab([...args, 'node', '--import', 'tsx', PROGRAM]);
      assert.deepEqual([stderr, status], ['', 0]);
      const report = JSON.parse(stdout.toString()) as Report;
      const fixed = ['edu', 'testdev', 'edu-port', 'nvme-port', 'e1000e-port', 'nvme-sriov'];
      const nvme = cdevs ? ['nvme0', 'nvme1', 'nvme2'] : ['nvme0'];
      const mediated = cdevs ? ['mtty', 'mdpy', 'mbochs'] : [];
      assert.deepEqual(
        report.devices.map(({ name }) => name),
        [...fixed, ...nvme, ...mediated],
      );
      for (const { name, bus, driver, node, group } of report.devices) {
        if (bus === 'pci') assert.equal(driver, 'vfio-pci', name);
        assert.equal(node, cdevs, `${name} has a node`);
        assert.match(group, /^\d+$/, name);
      }
      assert.equal(new Set(report.devices.map(({ group }) => group)).size, report.devices.length);
      assert.equal(report.iommu, cdevs);
      assert.deepEqual(report.unplugged, { before: true, after: false });
    });
  }

  it('are in the manual', () => {
    const manual = readFileSync(join(import.meta.dirname, '../../docs/lab.md'), 'utf8');
    for (const name of ['edu-port', 'nvme-sriov', 'testdev', 'mbochs']) {
      assert(manual.includes(`\`${name}\``), name);
    }
  });
});
