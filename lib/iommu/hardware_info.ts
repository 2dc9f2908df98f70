import { binding } from '../core/binding.ts';
import { check } from '../core/call.ts';
import type { OwnedFd } from '../core/owned_fd.ts';

/** enum iommu_hw_info_type */
const types: readonly HardwareInfo['type'][] = [
  'none',
  'intel-vtd',
  'arm-smmuv3',
  'tegra241-cmdqv',
  'amd',
];

/** What the IOMMU in front of a device can do (struct iommu_hw_info). */
export interface HardwareInfo {
  /** Which IOMMU it is, or the kernel's number for one that this library does not know. */
  type: 'none' | 'intel-vtd' | 'arm-smmuv3' | 'tegra241-cmdqv' | 'amd' | number;
  /** Whether page tables can tell which pages devices wrote. */
  dirtyTracking: boolean;
  /** How many process address spaces the device can have at once; 0 for none. */
  maxPasids: number;
  /** enum iommufd_hw_capabilities, as a set of bits. */
  capabilities: bigint;
  /** The struct of the type, such as iommu_hw_info_vtd; empty for `none`. */
  data: Uint8Array;
}

/** Larger than every struct that there is. */
const dataBytes = 512;

/** Asks the kernel what stands in front of a device. */
export function readHardwareInfo(iommufd: OwnedFd, devId: number): HardwareInfo {
  const out = new BigUint64Array(3);
  const data = new BigUint64Array(dataBytes / 8);
  const call = { syscall: 'ioctl', request: 'IOMMU_GET_HW_INFO', path: iommufd.path };
  const bytes = check(binding().getHwInfo(iommufd.native, devId, out, data), call);
  return decodeHardwareInfo(out, new Uint8Array(data.buffer, 0, Math.min(bytes, dataBytes)));
}

/** `out` is `[capabilities, type, log2 of PASIDs]`. */
function decodeHardwareInfo(out: BigUint64Array, data: Uint8Array): HardwareInfo {
  const [capabilities = 0n, type = 0n, pasids = 0n] = out;
  return {
    type: types[Number(type)] ?? Number(type),
    dirtyTracking: (capabilities & 1n) !== 0n,
    maxPasids: pasids === 0n ? 0 : 2 ** Number(pasids),
    capabilities,
    data: type === 0n ? new Uint8Array(0) : data,
  };
}
