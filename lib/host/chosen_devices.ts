import { explained, VfioError } from '../core/errors.ts';
import type { SysfsDevice } from '../core/location.ts';
import { hiddenText } from '../core/messages.ts';
import type { Steps } from '../core/steps.ts';
import { removalCause } from '../diagnose/device_causes.ts';
import { describeDevice } from '../diagnose/explain.ts';
import { groupOf } from '../diagnose/group.ts';
import { inSysfs } from '../locate/find_cdev.ts';
import { listNames, readAttribute, readLinkName } from '../locate/sysfs.ts';
import type { Plan } from './bind_options.ts';
import { type DriverReport, stateOf } from './driver_report.ts';
import { isKeptBridge, isPciBridge } from './refusals.ts';

/** The devices that a plan is about, each once, and what of their groups is not among them. */
export interface Chosen {
  devices: SysfsDevice[];
  leftOut: DriverReport['leftOut'];
  notes: string[];
}

/**
 * @param isBack - they go back to the host, which does not mind who else of the group is with it
 * @throws VfioError `ERR_VFIO_NO_DEVICE`; `ERR_VFIO_UNSUPPORTED` with the reason
 *   `no-driver-override`
 */
export function* chosenDevices(plan: Plan, isBack = false): Steps<Chosen> {
  const chosen: Chosen = { devices: [], leftOut: [], notes: [] };
  const add = (device: SysfsDevice): void => {
    const isKnown = chosen.devices.some(({ sysfsPath }) => sysfsPath === device.sysfsPath);
    if (!isKnown) chosen.devices.push(device);
  };
  for (const spec of plan.specs) {
    const { bus, address, sysfsPath } = describeDevice(spec, plan.roots);
    add({ bus, address, sysfsPath });
  }
  for (const device of [...chosen.devices]) yield* lookAtGroup(device, plan, isBack, chosen, add);
  for (const device of chosen.devices) requireChangeable(device);
  // Virtual functions first: they go when their physical function is taken from its driver.
  const isVirtual = ({ sysfsPath }: SysfsDevice): boolean =>
    readLinkName(`${sysfsPath}/physfn`) !== undefined;
  chosen.devices.sort((a, b) => Number(isVirtual(b)) - Number(isVirtual(a)));
  return chosen;
}

function* lookAtGroup(
  device: SysfsDevice,
  { roots, group: isWhole }: Plan,
  isBack: boolean,
  chosen: Chosen,
  add: (device: SysfsDevice) => void,
): Steps<void> {
  const group = yield* groupOf(device, roots.sysfsRoot);
  if (group === undefined) {
    if (isWhole) chosen.notes.push(`${device.address} has no IOMMU group, so it is taken alone`);
    return;
  }
  if ('path' in group) {
    chosen.notes.push(`what else is in the IOMMU group of ${device.address}: ${hiddenText(group)}`);
    return;
  }
  const named = new Set(chosen.devices.map(({ address }) => address));
  for (const { bus, address, driver, folder, verdict } of group.members) {
    if (named.has(address)) continue;
    const classCode = bus === 'pci' ? readAttribute(`${folder}/class`) : undefined;
    const isLeft = isKeptBridge(classCode) || (isPciBridge(classCode) && driver === null);
    if (isLeft && isWhole) {
      const why = 'a bridge, which stays the host’s; VFIO does not mind';
      if (!chosen.leftOut.some((each) => each.address === address))
        chosen.leftOut.push({ bus, address, driver, why });
    } else if (isWhole) {
      add(inSysfs({ bus, address }, roots));
    } else if (verdict === 'host-driver' && !isBack) {
      chosen.notes.push(
        `${address} is in the same IOMMU group ${group.group}, and with ${driver ?? 'no driver'}: nobody opens ${device.address} before that is given up, too (--group takes the whole group)`,
      );
    }
  }
}

function requireChangeable(device: SysfsDevice): void {
  const { bus, address, sysfsPath } = device;
  const { driver } = stateOf(device);
  if (bus !== 'mdev' && listNames(sysfsPath)?.includes('driver_override') === true) return;
  const message = `the driver of ${address} cannot be chosen`;
  const error = new VfioError({ code: 'ERR_VFIO_UNSUPPORTED', message, device: address });
  const facts = { bus, address, driver };
  throw explained(error, { reason: 'no-driver-override', certainty: 'certain', facts });
}

/**
 * Asked under the lock, so that nobody of ours is at it.
 *
 * @throws VfioError `ERR_VFIO_IN_USE` with the reason `being-removed`
 */
export function requireNoRemoval(device: SysfsDevice): void {
  const removal = removalCause(device);
  if (removal === undefined) return;
  const { address } = device;
  const message = `the driver of ${address} cannot be changed now`;
  const error = new VfioError({ code: 'ERR_VFIO_IN_USE', message, device: address });
  throw explained(error, removal);
}
