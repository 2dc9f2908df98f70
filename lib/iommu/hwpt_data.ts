import { checkId, invalidType, requireBoolean, requireObject } from '../core/arguments.ts';
import { checkIova } from '../core/iova.ts';
import { checkData, checkLongs, longBytes, type OtherData } from './vendor_data.ts';

/** A stage-1 page table of Intel VT-d (struct iommu_hwpt_vtd_s1). */
export interface VtdS1Data {
  /** Intel VT-d. */
  type: 'vtd-s1';
  /** Where the table begins, as the nesting parent's address space has it. */
  pgtblAddr: bigint;
  /** Bits of an address that it translates. */
  addrWidth: number;
  /** Supervisor requests (IOMMU_VTD_S1_SRE). */
  sre?: boolean | undefined;
  /** Extended access (IOMMU_VTD_S1_EAFE). */
  eafe?: boolean | undefined;
  /** Write protection (IOMMU_VTD_S1_WPE). */
  wpe?: boolean | undefined;
}

/** The first two double words of an SMMUv3's stream table entry (struct iommu_hwpt_arm_smmuv3). */
export interface ArmSmmuv3Data {
  /** An Arm SMMUv3. */
  type: 'arm-smmuv3';
  /** The guest's stream table entry: its first two words of 64 bits. */
  ste: readonly [bigint, bigint];
}

/** A guest's device table entry of an AMD IOMMU (struct iommu_hwpt_amd_guest). */
export interface AmdGuestData {
  /** An AMD IOMMU. */
  type: 'amd-guest';
  /** The guest's device table entry: four words of 64 bits. */
  dte: readonly [bigint, bigint, bigint, bigint];
}

/** What a page table of the hardware is made of, besides its parent. */
export type HwptData = VtdS1Data | ArmSmmuv3Data | AmdGuestData | OtherData;

/** enum iommu_hwpt_data_type */
const types = { 'vtd-s1': 1, 'arm-smmuv3': 2, 'amd-guest': 3 } as const;

/** enum iommu_hwpt_vtd_s1_flags */
const vtdFlags = { sre: 1n, eafe: 2n, wpe: 4n };

/** As IOMMU_HWPT_ALLOC takes them. */
export interface EncodedData {
  type: number;
  bytes: Uint8Array;
}

/** IOMMU_HWPT_DATA_NONE */
export const noHwptData: EncodedData = { type: 0, bytes: new Uint8Array(0) };

/** @throws TypeError, RangeError */
export function encodeHwptData(data: HwptData): EncodedData {
  requireObject('data', data);
  const { type } = data;
  if (type === 'vtd-s1') return { type: types[type], bytes: vtdS1(data) };
  if (type === 'arm-smmuv3') {
    return { type: types[type], bytes: longBytes(checkLongs('data.ste', data.ste, 2)) };
  }
  if (type === 'amd-guest') {
    return { type: types[type], bytes: longBytes(checkLongs('data.dte', data.dte, 4)) };
  }
  if (typeof type === 'number')
    return { type: checkId('data.type', type, 1), bytes: checkData(data) };
  throw invalidType('data.type', `one of ${Object.keys(types).join(', ')}, or a number`, type);
}

function vtdS1({ pgtblAddr, addrWidth, sre, eafe, wpe }: VtdS1Data): Uint8Array {
  const on = Object.entries({ sre, eafe, wpe }).filter(([name, value]) => {
    requireBoolean(`data.${name}`, value);
    return value;
  });
  const flags = on.reduce((all, [name]) => all | vtdFlags[name as keyof typeof vtdFlags], 0n);
  const width = BigInt(checkId('data.addrWidth', addrWidth, 1));
  // The width is a word that another one follows, which is 0.
  return longBytes([flags, checkIova('data.pgtblAddr', pgtblAddr), width], [false, false, true]);
}
