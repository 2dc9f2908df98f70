import { littleEndian, requireBytes } from '../core/structs.ts';

/**
 * What an Intel VT-d says of itself (struct iommu_hw_info_vtd): its registers, and what nesting
 * needs of them by the names of the VT-d specification, 11.4.2 and 11.4.3.
 */
export interface VtdInfo {
  /** No read-only maps in a nesting parent (IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17). */
  errata772415Spr17: boolean;
  capReg: bigint;
  ecapReg: bigint;
  /** Bits of an address at most. */
  mgaw: number;
  /** Adjusted guest address widths of second-stage tables, in bits. */
  sagaw: number[];
  /** Pages of 1 GiB in first-stage tables. */
  fl1gp: boolean;
  /** First-stage tables of five levels. */
  fl5lp: boolean;
  /** Scalable mode. */
  smts: boolean;
  /** First-stage and second-stage translation in scalable mode. */
  flts: boolean;
  slts: boolean;
  /** Nested translation. */
  nest: boolean;
  /** Accessed and dirty bits of second-stage tables. */
  slads: boolean;
  /** Process address spaces, and the bits of their ids. */
  pasid: boolean;
  pss: number;
  /** Page requests. */
  prs: boolean;
  /** Supervisor requests. */
  srs: boolean;
  /** Extended accessed flags. */
  eafs: boolean;
}

/**
 * What an Arm SMMUv3 says of itself (struct iommu_hw_info_arm_smmuv3), with those fields of its
 * registers that the kernel lets be used, by the names of its specification, 6.3.1 to 6.3.6.
 */
export interface ArmSmmuv3Info {
  /** TLBI and CFGI commands are to be given twice (…_ERRATA_REPEAT_TLBI_CFGI). */
  errataRepeatTlbiCfgi: boolean;
  /** The six identification registers. */
  idr: number[];
  iidr: number;
  aidr: number;
  stLevel: number;
  termModel: number;
  stallModel: number;
  ttEndian: number;
  cd2l: boolean;
  asid16: boolean;
  ttf: number;
  ssidSize: number;
  sidSize: number;
  bbml: number;
  ril: boolean;
  vax: number;
  ds: boolean;
  gran64k: boolean;
  gran16k: boolean;
  gran4k: boolean;
}

/** What a Tegra241 CMDQV says of itself (struct iommu_hw_info_tegra241_cmdqv). */
export interface Tegra241CmdqvInfo {
  version: number;
  /** Log2 of the number of VCMDQs. */
  log2vcmdqs: number;
  /** Log2 of the number of SID replacements. */
  log2vsids: number;
}

/**
 * What an AMD IOMMU says of itself (struct iommu_hw_info_amd), with those fields of its extended
 * features that a VMM may show to a guest, by the names of its specification.
 */
export interface AmdInfo {
  efr: bigint;
  efr2: bigint;
  pprSup: boolean;
  gtSup: boolean;
  gaSup: boolean;
  gats: number;
  glx: number;
  pasMax: number;
  gioSup: boolean;
  ephSup: boolean;
}

/** Adjusted guest address widths, by their bits in SAGAW. */
const widths = [30, 39, 48, 57, 64];

export function decodeVtd(bytes: Uint8Array): VtdInfo {
  const view = viewOf(bytes, 24);
  const capReg = view.getBigUint64(8, littleEndian);
  const ecapReg = view.getBigUint64(16, littleEndian);
  const cap = (low: number, bits = 1): number => field(capReg, low, bits);
  const ecap = (low: number, bits = 1): number => field(ecapReg, low, bits);
  const sagaw = cap(8, 5);
  return {
    errata772415Spr17: (view.getUint32(0, littleEndian) & 1) !== 0,
    capReg,
    ecapReg,
    mgaw: cap(16, 6) + 1,
    sagaw: widths.filter((_, at) => (sagaw >> at) & 1),
    fl1gp: cap(56) === 1,
    fl5lp: cap(60) === 1,
    smts: ecap(43) === 1,
    flts: ecap(47) === 1,
    slts: ecap(46) === 1,
    nest: ecap(26) === 1,
    slads: ecap(45) === 1,
    pasid: ecap(40) === 1,
    pss: ecap(40) === 1 ? ecap(35, 5) + 1 : 0,
    prs: ecap(29) === 1,
    srs: ecap(31) === 1,
    eafs: ecap(34) === 1,
  };
}

export function decodeArmSmmuv3(bytes: Uint8Array): ArmSmmuv3Info {
  const view = viewOf(bytes, 40);
  const word = (at: number): number => view.getUint32(at, littleEndian);
  const idr = Array.from({ length: 6 }, (_, at) => word(8 + 4 * at));
  const of = (register: number, low: number, bits = 1): number =>
    field(BigInt(idr[register] ?? 0), low, bits);
  return {
    errataRepeatTlbiCfgi: (word(0) & 1) !== 0,
    idr,
    iidr: word(32),
    aidr: word(36),
    stLevel: of(0, 27, 2),
    termModel: of(0, 26),
    stallModel: of(0, 24, 2),
    ttEndian: of(0, 21, 2),
    cd2l: of(0, 19) === 1,
    asid16: of(0, 12) === 1,
    ttf: of(0, 2, 2),
    ssidSize: of(1, 6, 5),
    sidSize: of(1, 0, 6),
    bbml: of(3, 11, 2),
    ril: of(3, 10) === 1,
    vax: of(5, 10, 2),
    ds: of(5, 7) === 1,
    gran64k: of(5, 6) === 1,
    gran16k: of(5, 5) === 1,
    gran4k: of(5, 4) === 1,
  };
}

export function decodeTegra241Cmdqv(bytes: Uint8Array): Tegra241CmdqvInfo {
  const view = viewOf(bytes, 8);
  const [version, log2vcmdqs, log2vsids] = [4, 5, 6].map((at) => view.getUint8(at));
  return { version: version ?? 0, log2vcmdqs: log2vcmdqs ?? 0, log2vsids: log2vsids ?? 0 };
}

export function decodeAmd(bytes: Uint8Array): AmdInfo {
  const view = viewOf(bytes, 16);
  const efr = view.getBigUint64(0, littleEndian);
  const of = (low: number, bits = 1): number => field(efr, low, bits);
  return {
    efr,
    efr2: view.getBigUint64(8, littleEndian),
    pprSup: of(1) === 1,
    gtSup: of(4) === 1,
    gaSup: of(7) === 1,
    gats: of(12, 2),
    glx: of(14, 2),
    pasMax: of(32, 5),
    gioSup: of(48) === 1,
    ephSup: of(50) === 1,
  };
}

function field(register: bigint, low: number, bits: number): number {
  return Number((register >> BigInt(low)) & ((1n << BigInt(bits)) - 1n));
}

/** @throws VfioError `ERR_VFIO_BAD_ANSWER` where the kernel has fewer bytes */
function viewOf(bytes: Uint8Array, size: number): DataView {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  requireBytes(view, 0, size);
  return view;
}
