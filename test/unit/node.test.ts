import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { bindNode } from '../../lib/backend/cdev_open.ts';
import { openNode } from '../../lib/backend/node.ts';
import { binding } from '../../lib/core/binding.ts';
import type { CdevLocation } from '../../lib/core/location.ts';
import { run, runSync } from '../../lib/core/steps.ts';
import { failure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { assertNoMore, libraryFds } from '../support/proc.ts';
import { tree } from '../support/tree.ts';

const address = '0000:3b:00.0';

/** A cdev with these numbers in sysfs and this node in /dev. /dev/null is 1:3. */
function location(numbers: [number, number], path: string): CdevLocation {
  const [major, minor] = numbers;
  const device = { bus: 'pci', address, sysfsPath: `/sys/bus/pci/devices/${address}` };
  return { device, name: 'vfio0', major, minor, path };
}

describe('openNode', () => {
  it('opens a node that has the numbers of sysfs', () => {
    const node = openNode(location([1, 3], '/dev/null'));
    assert.ok(node.fd.number >= 0);
    node.fd.closeSync();
  });

  it('closes and refuses a node with other numbers, naming both', async () => {
    const before = libraryFds();
    const wrong = location([511, 7], '/dev/null');
    const error = await failure(() => openNode(wrong), 'ERR_VFIO_NODE_MISMATCH');
    assert.match(error.message, /511:7.*\/dev\/null is the character device 1:3/);
    assert.deepEqual(Object.entries(error), [
      ['code', 'ERR_VFIO_NODE_MISMATCH'],
      ['path', '/dev/null'],
      ['device', address],
    ]);
    assertNoMore(libraryFds(), before);
  });

  it('refuses a regular file', async () => {
    const file = `${tree({ vfio0: '' })}/vfio0`;
    const error = await failure(() => openNode(location([0, 0], file)), 'ERR_VFIO_NODE_MISMATCH');
    assert.match(error.message, /is not a character device/);
  });

  it('names the node that cannot be opened', async () => {
    const error = await failure(() => openNode(location([1, 3], '/no/vfio0')), 'ENOENT');
    assert.equal(error.message, `ENOENT: no such file or directory, open ${address} '/no/vfio0'`);
  });
});

describe('bindNode', () => {
  // The kernel here has no VFIO: /dev/null stands for both nodes, and refuses every ioctl.
  const { open } = binding();
  const fakeIommufd = { open: (_path: string, flags: number) => open('/dev/null', flags) };

  it('leaves the node open and closes its own iommufd where the kernel refuses', async () => {
    await withBinding(fakeIommufd, async () => {
      const node = openNode(location([1, 3], '/dev/null'));
      const before = libraryFds();
      const error = await failure(() => run(bindNode(node)), 'ENOTTY');
      assert.match(error.message, /ioctl VFIO_DEVICE_BIND_IOMMUFD 0000:3b:00\.0 '\/dev\/null'/);
      await failure(() => runSync(bindNode(node)), 'ENOTTY');
      assertNoMore(libraryFds(), before);
      assert.ok(node.fd.number >= 0);
      await node.fd.close();
      await failure(() => runSync(bindNode(node)), 'ERR_VFIO_CLOSED');
    });
  });
});
