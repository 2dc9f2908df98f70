import type { AddressSpace, VfioDevice } from '../../lib/index.ts';
import { NvmeAdmin } from './nvme.ts';

const iova = 0x100000n;

/**
 * Starts the physical function of `nvme-sriov`, which brings the others online: each gets two
 * queues and an interrupt.
 */
export async function startPhysical(
  device: VfioDevice,
  space: AddressSpace,
  count: number,
): Promise<NvmeAdmin> {
  await device.attach(space);
  const admin = await NvmeAdmin.start(device, space, iova);
  const [primary, assign, online] = [1, 8, 9];
  const [queues, interrupts] = [0, 1];
  await admin.virtualize(0, primary, queues, 0);
  await admin.virtualize(0, primary, interrupts, 0);
  for (let controller = 1; controller <= count; controller++) {
    await admin.virtualize(controller, assign, queues, 2);
    await admin.virtualize(controller, assign, interrupts, 1);
    await admin.virtualize(controller, online);
  }
  return admin;
}
