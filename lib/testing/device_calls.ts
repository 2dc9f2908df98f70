import { EINVAL, ENODEV, ENOSPC, ENOTTY, EPERM } from '../core/errno.ts';
import type { Fakes } from './calls.ts';
import { EBADFD } from './errno.ts';
import type { FakeDevice } from './fake_device.ts';
import { StructWriter } from './kernel_structs.ts';
import type { Machine } from './machine.ts';

/** VFIO_DEVICE_BIND_IOMMUFD and what follows it, resets and features. */
export function deviceCalls(machine: Machine): Fakes {
  return {
    bindSync: (handle, iommufd) => bind(machine, handle, iommufd),
    // No device has process address spaces: none is attached by one, and to detach it does nothing.
    attachSync: (handle, id, pasid) => {
      const found = boundTo(machine, handle);
      if (found === undefined || pasid !== undefined) return EINVAL;
      return found.iommufd.attach(found.device, id);
    },
    detachSync: (handle, pasid) => {
      const found = boundTo(machine, handle);
      if (found === undefined) return EINVAL;
      if (pasid === undefined) found.iommufd.detach(found.device);
      return 0;
    },
    resetSync: (handle) => {
      const device = machine.bound(handle);
      if (device === undefined || !(device.options.reset ?? true)) return EINVAL;
      if (!device.isPlugged) return ENOTTY;
      device.doReset('function');
      return 0;
    },
    hotResetInfoSync: (handle, count) => hotResetInfo(machine, handle, count),
    hotResetSync: (handle, groups) => {
      const found = boundTo(machine, handle);
      if (found === undefined || groups.length > 0) return EINVAL;
      const all = onBusOf(machine, found.device);
      if (isOnRootBus(found.device)) return ENODEV;
      if (all.some((each) => each.isOpen && !found.iommufd.has(each))) return EINVAL;
      for (const device of all) device.doReset('hot');
      return 0;
    },
    featureSync: (handle, flags, bytes) => {
      const device = machine.bound(handle);
      if (device === undefined) return EINVAL;
      const { onFeature } = device.options;
      if (onFeature === undefined) return ENOTTY;
      const copy = bytes.slice();
      const answer = onFeature(flags & 0xffff, flags >>> 16, copy);
      return answer < 0 ? answer : copy;
    },
  };
}

function bind(machine: Machine, handle: number, iommufdHandle: number): number {
  const file = machine.files.get(handle);
  const iommufd = machine.files.get(iommufdHandle);
  if (file?.what.kind !== 'device') return EINVAL;
  if (iommufd?.what.kind !== 'iommufd') return EBADFD;
  const { what } = file;
  const { device } = what;
  if (!device.isPlugged) return ENODEV;
  if (device.isOpen || what.iommufd !== undefined) return EINVAL;
  if (isGroupElsewhere(machine, device, iommufd.what.iommufd)) return EPERM;
  device.devId = iommufd.what.iommufd.bind(device);
  device.told.fill(false);
  what.iommufd = iommufd;
  machine.files.keep(iommufd);
  device.config.open();
  device.onConfig();
  device.doReset('open');
  return device.devId;
}

/** Of one IOMMU group all are in one iommufd, as iommu_device_claim_dma_owner has it. */
function isGroupElsewhere(
  machine: Machine,
  { group }: FakeDevice,
  iommufd: { has: (device: FakeDevice) => boolean },
): boolean {
  return [...machine.devices.values()].some(
    (other) => other.group === group && other.isOpen && !iommufd.has(other),
  );
}

function boundTo(
  machine: Machine,
  handle: unknown,
): { device: FakeDevice; iommufd: NonNullable<ReturnType<Machine['iommufd']>> } | undefined {
  const what = machine.files.get(handle)?.what;
  if (what?.kind !== 'device' || what.iommufd?.what.kind !== 'iommufd') return undefined;
  return { device: what.device, iommufd: what.iommufd.what.iommufd };
}

/** All functions on its bus, which a hot reset hits. */
function onBusOf(machine: Machine, { address }: FakeDevice): FakeDevice[] {
  const bus = address.slice(0, address.lastIndexOf(':'));
  return [...machine.devices.values()].filter((each) => each.address.startsWith(`${bus}:`));
}

/** It has no port above it that could reset it. */
function isOnRootBus({ address }: FakeDevice): boolean {
  return /^[0-9a-f]+:00:/.test(address);
}

const VFIO_PCI_HOT_RESET_FLAG_DEV_ID = 1;
const VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED = 2;
const notOwned = 0xffff_ffff;

function hotResetInfo(machine: Machine, handle: number, room: number): Uint32Array | number {
  const found = boundTo(machine, handle);
  if (found === undefined) return EINVAL;
  const { device, iommufd } = found;
  if (isOnRootBus(device)) return ENODEV;
  const all = onBusOf(machine, device);
  if (all.length > room) return ENOSPC;
  const ids = all.map((each) => {
    if (iommufd.has(each)) return each.devId;
    return each.group === device.group && !each.isOpen ? 0 : notOwned;
  });
  const owned = ids.includes(notOwned) ? 0 : VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED;
  const words = new Uint32Array(3 + 2 * all.length);
  const struct = new StructWriter(words);
  struct
    .u32(0, words.byteLength)
    .u32(4, VFIO_PCI_HOT_RESET_FLAG_DEV_ID | owned)
    .u32(8, all.length);
  for (const [at, { address }] of all.entries()) {
    const [domain = '', bus = '', slot = '', fn = ''] = address.split(/[:.]/);
    const bytes = new Uint8Array(words.buffer);
    struct.u32(12 + 8 * at, ids[at] ?? notOwned).u16(16 + 8 * at, parseInt(domain, 16));
    bytes[18 + 8 * at] = parseInt(bus, 16);
    bytes[19 + 8 * at] = (parseInt(slot, 16) << 3) | Number(fn);
  }
  return words;
}
