import { checkId, invalidType } from '../core/arguments.ts';
import { binding } from '../core/binding.ts';
import { check } from '../core/call.ts';
import type { OwnedFd } from '../core/owned_fd.ts';
import {
  type AmdInfo,
  type ArmSmmuv3Info,
  decodeAmd,
  decodeArmSmmuv3,
  decodeTegra241Cmdqv,
  decodeVtd,
  type Tegra241CmdqvInfo,
  type VtdInfo,
} from './hardware_registers.ts';

/** An IOMMU that the library has a name for, or the kernel's number of another. */
export type HardwareType = 'none' | 'intel-vtd' | 'arm-smmuv3' | 'tegra241-cmdqv' | 'amd' | number;

/** enum iommu_hw_info_type */
const types: readonly HardwareType[] = ['none', 'intel-vtd', 'arm-smmuv3', 'tegra241-cmdqv', 'amd'];

/** enum iommufd_hw_capabilities */
const capability = { dirtyTracking: 1n, pasidExec: 2n, pasidPriv: 4n, noAts: 8n };

/** What the IOMMU in front of a device can do (struct iommu_hw_info). */
export interface HardwareInfo {
  /** Which IOMMU it is, or the kernel's number for one that this library does not know. */
  type: HardwareType;
  /** Whether page tables can tell which pages devices wrote. */
  dirtyTracking: boolean;
  /** How many process address spaces the device can have at once; 0 for none. */
  maxPasids: number;
  /** Whether requests with a PASID may ask to execute (IOMMU_HW_CAP_PCI_PASID_EXEC). */
  pasidExec: boolean;
  /** Whether requests with a PASID may be privileged (IOMMU_HW_CAP_PCI_PASID_PRIV). */
  pasidPriv: boolean;
  /** The device has no ATS, or cannot use it (IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED). */
  atsNotSupported: boolean;
  /** enum iommufd_hw_capabilities, as a set of bits. */
  capabilities: bigint;
  /** The struct of the type, such as iommu_hw_info_vtd; empty for `none`. */
  data: Uint8Array;
  /** `data` of an Intel VT-d. */
  vtd: VtdInfo | undefined;
  /** `data` of an Arm SMMUv3. */
  smmuv3: ArmSmmuv3Info | undefined;
  /** `data` of a Tegra241 CMDQV. */
  cmdqv: Tegra241CmdqvInfo | undefined;
  /** `data` of an AMD IOMMU. */
  amd: AmdInfo | undefined;
}

/** Larger than every struct that there is. */
const dataBytes = 512;

/** Asks the kernel what stands in front of a device. */
export function readHardwareInfo(
  iommufd: OwnedFd,
  devId: number,
  type?: HardwareType,
): HardwareInfo {
  const out = new BigUint64Array(3);
  const data = new BigUint64Array(dataBytes / 8);
  const call = { syscall: 'ioctl', request: 'IOMMU_GET_HW_INFO', path: iommufd.path };
  const bytes = check(binding().getHwInfo(iommufd.native, devId, typeOf(type), out, data), call);
  return decodeHardwareInfo(out, new Uint8Array(data.buffer, 0, Math.min(bytes, dataBytes)));
}

/** @throws TypeError, RangeError */
function typeOf(type: unknown): number | undefined {
  if (type === undefined) return undefined;
  if (typeof type === 'number') return checkId('type', type);
  const at = types.indexOf(type as HardwareType);
  if (at >= 0) return at;
  throw invalidType('type', `one of ${types.join(', ')}, or a number`, type);
}

/** `out` is `[capabilities, type, log2 of PASIDs]`. */
function decodeHardwareInfo(out: BigUint64Array, bytes: Uint8Array): HardwareInfo {
  const [capabilities = 0n, number = 0n, pasids = 0n] = out;
  const has = (bit: bigint): boolean => (capabilities & bit) !== 0n;
  const type = types[Number(number)] ?? Number(number);
  const data = type === 'none' ? new Uint8Array(0) : bytes;
  return {
    type,
    dirtyTracking: has(capability.dirtyTracking),
    maxPasids: pasids === 0n ? 0 : 2 ** Number(pasids),
    pasidExec: has(capability.pasidExec),
    pasidPriv: has(capability.pasidPriv),
    atsNotSupported: has(capability.noAts),
    capabilities,
    data,
    vtd: type === 'intel-vtd' ? decodeVtd(data) : undefined,
    smmuv3: type === 'arm-smmuv3' ? decodeArmSmmuv3(data) : undefined,
    cmdqv: type === 'tegra241-cmdqv' ? decodeTegra241Cmdqv(data) : undefined,
    amd: type === 'amd' ? decodeAmd(data) : undefined,
  };
}
