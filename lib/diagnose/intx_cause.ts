import type { SysfsDevice } from '../locate/find_cdev.ts';
import { readAttribute } from '../locate/sysfs.ts';
import type { Cause } from '../reasons.ts';

/**
 * Who else has the line of a device's INTx. vfio-pci shares a line where the device can be masked by its
 * Command register, and wants it for itself otherwise.
 */
export function intxCause(device: SysfsDevice, sysfsRoot: string): Cause<'intx-line-taken'> {
  const line = Number(readAttribute(`${device.sysfsPath}/irq`) ?? 0);
  const actions = readAttribute(`${sysfsRoot}/kernel/irq/${line}/actions`) ?? '';
  const others = actions.split(',').filter((name) => name !== '');
  const parameter = readAttribute(`${sysfsRoot}/module/vfio_pci/parameters/nointxmask`);
  return {
    reason: 'intx-line-taken',
    certainty: others.length > 0 ? 'certain' : 'likely',
    facts: { address: device.address, line, others, nointxmask: parameter === 'Y' },
  };
}
