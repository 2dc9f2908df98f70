import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'mocha';
import type { Binding, NativeFd } from '../../lib/core/binding.ts';
import { failure, vfioFailure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { fakeIoctls } from '../support/fake_kernel.ts';
import { fakeAddress, fakeNode, fakeVfio, putNode } from '../support/fake_vfio.ts';
import { closeHandles, type Handles, openHandles } from '../support/matrix_handles.ts';

// What the kernel gets where a device has process address spaces, which none of the lab's has.

describe('a device with process address spaces', () => {
  let handles: Handles;
  const calls: unknown[][] = [];
  const note =
    (name: string, answer: number) =>
    (_fd: NativeFd, ...args: unknown[]): Promise<number> => {
      calls.push([name, ...args]);
      return Promise.resolve(answer);
    };
  const busy = { destroy: () => Promise.resolve(-16) };
  const fakes: Partial<Binding> = {
    ...fakeIoctls,
    ...busy,
    attach: note('attach', 3),
    detach: note('detach', 0),
  };

  beforeEach(async () => {
    const roots = fakeVfio('1:5');
    putNode(roots, fakeNode, '/dev/zero');
    putNode(roots, 'iommu', '/dev/null');
    handles = await openHandles(roots);
    calls.length = 0;
  });
  afterEach(() => {
    closeHandles(handles);
  });

  const devicesOf = async (used: { close: () => Promise<void> }): Promise<unknown> => {
    const { facts } = await vfioFailure(() => used.close(), 'EBUSY');
    return (facts as { devices: string[] }).devices;
  };

  it('is attached and detached by each of them', () =>
    withBinding(fakes, async () => {
      const { VfioDevice: device, Hwpt: hwpt, NestedHwpt: nested } = handles;
      await device.attach(hwpt);
      assert.equal(await device.attach(nested, { pasid: 7 }), 3);
      await device.attach(hwpt, { pasid: 7 });
      await device.detach({ pasid: 7 });
      await device.detach();
      assert.deepEqual(calls, [
        ['attach', 9, undefined],
        ['attach', 9, 7],
        ['attach', 9, 7],
        ['detach', 7],
        ['detach', undefined],
      ]);
    }));

  it('keeps each table that one of them is attached to', () =>
    withBinding(fakes, async () => {
      const { VfioDevice: device, Hwpt: hwpt, NestedHwpt: nested } = handles;
      await device.attach(hwpt);
      await device.attach(nested, { pasid: 7 });
      assert.deepEqual(await devicesOf(hwpt), [fakeAddress]);
      assert.deepEqual(await devicesOf(nested), [fakeAddress]);
      await device.attach(hwpt, { pasid: 7 });
      assert.deepEqual(await devicesOf(nested), []);
      assert.deepEqual(await devicesOf(hwpt), [fakeAddress, fakeAddress]);
      await device.detach({ pasid: 7 });
      assert.deepEqual(await devicesOf(hwpt), [fakeAddress]);
      await device.detach();
      assert.deepEqual(await devicesOf(hwpt), []);
    }));

  it('is left where it was by what the kernel refuses', () =>
    withBinding({ ...fakes, attach: note('attach', -95) }, async () => {
      const { VfioDevice: device, NestedHwpt: nested } = handles;
      await failure(() => device.attach(nested, { pasid: 2 ** 20 - 1 }), 'ENOTSUP');
      assert.deepEqual(await devicesOf(nested), []);
    }));
});
