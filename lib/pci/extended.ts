import { decodeWith, fields16, fields32, type CapabilityPlace } from './capabilities.ts';
import type { FieldTable } from './fields.ts';
import type {
  PciAccessControl,
  PciAriCapability,
  PciAriControl,
  PciAtsCapability,
  PciAtsControl,
  PciCorrectableErrors,
  PciErrorControl,
  PciPasidCapability,
  PciPasidControl,
  PciPriControl,
  PciPriStatus,
  PciSriovCapability,
  PciSriovControl,
  PciUncorrectableErrors,
  PciVendorHeader,
} from './register_values.ts';
import { viewOf, type PlacedCapability } from './walk.ts';

// Extended capabilities (PCI Express Base Specification 5.0, 7.7 to 7.9; Single Root I/O
// Virtualization; Address Translation Services).

const uncorrectableErrorFields: FieldTable<PciUncorrectableErrors> = {
  dataLinkProtocol: [4, 1],
  surpriseDown: [5, 1],
  poisonedTlp: [12, 1],
  flowControl: [13, 1],
  completionTimeout: [14, 1],
  completerAbort: [15, 1],
  unexpectedCompletion: [16, 1],
  receiverOverflow: [17, 1],
  malformedTlp: [18, 1],
  ecrc: [19, 1],
  unsupportedRequest: [20, 1],
  acsViolation: [21, 1],
  internal: [22, 1],
  multicastBlocked: [23, 1],
  atomicEgressBlocked: [24, 1],
  prefixBlocked: [25, 1],
};

const correctableErrorFields: FieldTable<PciCorrectableErrors> = {
  receiver: [0, 1],
  badTlp: [6, 1],
  badDllp: [7, 1],
  replayRollover: [8, 1],
  replayTimeout: [12, 1],
  advisoryNonFatal: [13, 1],
  internal: [14, 1],
  headerLogOverflow: [15, 1],
};

const errorControlFields: FieldTable<PciErrorControl> = {
  firstError: [0, 5],
  ecrcGenerationCapable: [5, 1],
  ecrcGeneration: [6, 1],
  ecrcCheckCapable: [7, 1],
  ecrcCheck: [8, 1],
  multipleHeadersCapable: [9, 1],
  multipleHeaders: [10, 1],
  prefixLog: [11, 1],
};

const accessControlFields: FieldTable<PciAccessControl> = {
  sourceValidation: [0, 1],
  translationBlocking: [1, 1],
  requestRedirect: [2, 1],
  completionRedirect: [3, 1],
  upstreamForwarding: [4, 1],
  egressControl: [5, 1],
  directTranslated: [6, 1],
};

const ariCapabilityFields: FieldTable<PciAriCapability> = {
  functionGroups: [0, 1],
  acsGroups: [1, 1],
  nextFunction: [8, 8],
};

const ariControlFields: FieldTable<PciAriControl> = {
  functionGroups: [0, 1],
  acsGroups: [1, 1],
  group: [4, 3],
};

const atsCapabilityFields: FieldTable<PciAtsCapability> = {
  invalidateQueueDepth: [0, 5],
  pageAlignedRequest: [5, 1],
  globalInvalidate: [6, 1],
};

const atsControlFields: FieldTable<PciAtsControl> = { smallestUnit: [0, 5], enable: [15, 1] };

const sriovCapabilityFields: FieldTable<PciSriovCapability> = {
  migration: [0, 1],
  ariPreserved: [1, 1],
  tag10Requester: [2, 1],
  interruptMessage: [21, 11],
};

const sriovControlFields: FieldTable<PciSriovControl> = {
  enable: [0, 1],
  migration: [1, 1],
  migrationInterrupt: [2, 1],
  memory: [3, 1],
  ari: [4, 1],
  tag10Requester: [5, 1],
};

const priControlFields: FieldTable<PciPriControl> = { enable: [0, 1], reset: [1, 1] };

const priStatusFields: FieldTable<PciPriStatus> = {
  responseFailure: [0, 1],
  unexpectedIndex: [1, 1],
  stopped: [8, 1],
  pasidRequired: [15, 1],
};

const pasidCapabilityFields: FieldTable<PciPasidCapability> = {
  execute: [1, 1],
  privileged: [2, 1],
  width: [8, 5],
};

const pasidControlFields: FieldTable<PciPasidControl> = {
  enable: [0, 1],
  execute: [1, 1],
  privileged: [2, 1],
};

const vendorHeaderFields: FieldTable<PciVendorHeader> = {
  id: [0, 16],
  revision: [16, 4],
  length: [20, 12],
};

/** An extended capability. `unknown` is one that is not decoded, or cut off. */
export type PciExtendedCapability = CapabilityPlace & { version: number } & (
    | {
        kind: 'aer';
        uncorrectableStatus: PciUncorrectableErrors;
        uncorrectableMask: PciUncorrectableErrors;
        /** Set: fatal. */
        uncorrectableSeverity: PciUncorrectableErrors;
        correctableStatus: PciCorrectableErrors;
        correctableMask: PciCorrectableErrors;
        control: PciErrorControl;
        /** The header of the request that failed. */
        headerLog: number[];
      }
    | { kind: 'dsn'; serial: bigint }
    | { kind: 'vsec'; header: PciVendorHeader }
    | { kind: 'dvsec'; vendor: number; revision: number; length: number; dvsecId: number }
    | {
        kind: 'acs';
        capability: PciAccessControl;
        control: PciAccessControl;
      }
    | {
        kind: 'ari';
        capability: PciAriCapability;
        control: PciAriControl;
      }
    | {
        kind: 'ats';
        capability: PciAtsCapability;
        control: PciAtsControl;
      }
    | {
        kind: 'sriov';
        capability: PciSriovCapability;
        control: PciSriovControl;
        migrationStatus: boolean;
        initialVfs: number;
        totalVfs: number;
        vfs: number;
        functionDependency: number;
        firstVfOffset: number;
        vfStride: number;
        vfDevice: number;
        /** Bit n: pages of 2^(n + 12) bytes. */
        supportedPageSizes: number;
        systemPageSize: number;
        /** The six base address registers of the VFs, as they are. */
        vfBars: number[];
      }
    | {
        kind: 'pri';
        control: PciPriControl;
        status: PciPriStatus;
        capacity: number;
        allocation: number;
      }
    | {
        kind: 'pasid';
        capability: PciPasidCapability;
        control: PciPasidControl;
      }
    | {
        kind: 'ltr';
        /** Nanoseconds; 0 also where the unit is a reserved one. */
        maxSnoopLatency: number;
        maxNoSnoopLatency: number;
      }
    | { kind: 'unknown' }
  );

type Decoded = PciExtendedCapability extends infer Capability
  ? Capability extends CapabilityPlace
    ? Omit<Capability, keyof CapabilityPlace | 'version'>
    : never
  : never;

interface Decoder {
  minimum: () => number;
  decode: (view: DataView) => Decoded;
}

const decoders: Record<number, Decoder> = {
  0x01: { minimum: () => 44, decode: decodeErrors },
  0x03: { minimum: () => 12, decode: decodeSerial },
  0x0b: {
    minimum: () => 8,
    decode: (view) => ({ kind: 'vsec', header: fields32(view, 4, vendorHeaderFields) }),
  },
  0x0d: { minimum: () => 8, decode: decodeAccessControl },
  0x0e: { minimum: () => 8, decode: decodeAri },
  0x0f: { minimum: () => 8, decode: decodeAts },
  0x10: { minimum: () => 64, decode: decodeSriov },
  0x13: { minimum: () => 16, decode: decodePri },
  0x18: { minimum: () => 8, decode: decodeLatency },
  0x1b: { minimum: () => 8, decode: decodePasid },
  0x23: { minimum: () => 10, decode: decodeDesignatedVendor },
};

const names: Record<number, string> = {
  0x01: 'advanced error reporting',
  0x02: 'virtual channel',
  0x03: 'device serial number',
  0x04: 'power budgeting',
  0x05: 'root complex link declaration',
  0x06: 'root complex internal link',
  0x07: 'root complex event collector',
  0x08: 'multi-function virtual channel',
  0x09: 'virtual channel with MFVC',
  0x0a: 'root complex register block',
  0x0b: 'vendor-specific',
  0x0d: 'access control services',
  0x0e: 'alternative routing-ID interpretation',
  0x0f: 'address translation services',
  0x10: 'single root I/O virtualization',
  0x11: 'multi-root I/O virtualization',
  0x12: 'multicast',
  0x13: 'page request interface',
  0x15: 'resizable BAR',
  0x16: 'dynamic power allocation',
  0x17: 'TLP processing hints',
  0x18: 'latency tolerance reporting',
  0x19: 'secondary PCI Express',
  0x1a: 'protocol multiplexing',
  0x1b: 'process address space ID',
  0x1c: 'lightweight notification',
  0x1d: 'downstream port containment',
  0x1e: 'L1 power management substates',
  0x1f: 'precision time measurement',
  0x20: 'M-PCIe',
  0x21: 'function readiness queueing',
  0x22: 'readiness time reporting',
  0x23: 'designated vendor-specific',
  0x24: 'VF resizable BAR',
  0x25: 'data link feature',
  0x26: 'physical layer 16 GT/s',
  0x27: 'lane margining',
  0x28: 'hierarchy ID',
  0x29: 'native PCIe enclosure management',
  0x2a: 'physical layer 32 GT/s',
  0x2b: 'alternate protocol',
  0x2c: 'system firmware intermediary',
  0x2e: 'data object exchange',
  0x2f: 'device 3',
  0x30: 'integrity and data encryption',
};

/** Decodes an extended capability. One that is cut off, or not known, stays `unknown`. */
export function decodeExtended(
  config: Uint8Array,
  placed: PlacedCapability,
): PciExtendedCapability {
  const { id, version, offset, end } = placed;
  const bytes = config.slice(offset, end);
  const decoded = decodeWith(decoders[id], viewOf(bytes));
  const name = names[id] ?? null;
  return { id, version, name, offset, bytes, ...(decoded ?? { kind: 'unknown' }) };
}

function decodeErrors(view: DataView): Decoded {
  return {
    kind: 'aer',
    uncorrectableStatus: fields32(view, 4, uncorrectableErrorFields),
    uncorrectableMask: fields32(view, 8, uncorrectableErrorFields),
    uncorrectableSeverity: fields32(view, 12, uncorrectableErrorFields),
    correctableStatus: fields32(view, 16, correctableErrorFields),
    correctableMask: fields32(view, 20, correctableErrorFields),
    control: fields32(view, 24, errorControlFields),
    headerLog: words(view, 28, 4),
  };
}

function decodeSerial(view: DataView): Decoded {
  return { kind: 'dsn', serial: view.getBigUint64(4, true) };
}

function decodeAccessControl(view: DataView): Decoded {
  return {
    kind: 'acs',
    capability: fields16(view, 4, accessControlFields),
    control: fields16(view, 6, accessControlFields),
  };
}

function decodeAri(view: DataView): Decoded {
  return {
    kind: 'ari',
    capability: fields16(view, 4, ariCapabilityFields),
    control: fields16(view, 6, ariControlFields),
  };
}

function decodeAts(view: DataView): Decoded {
  return {
    kind: 'ats',
    capability: fields16(view, 4, atsCapabilityFields),
    control: fields16(view, 6, atsControlFields),
  };
}

function decodeSriov(view: DataView): Decoded {
  return {
    kind: 'sriov',
    capability: fields32(view, 4, sriovCapabilityFields),
    control: fields16(view, 8, sriovControlFields),
    migrationStatus: (view.getUint16(10, true) & 1) !== 0,
    initialVfs: view.getUint16(12, true),
    totalVfs: view.getUint16(14, true),
    vfs: view.getUint16(16, true),
    functionDependency: view.getUint8(18),
    firstVfOffset: view.getUint16(20, true),
    vfStride: view.getUint16(22, true),
    vfDevice: view.getUint16(26, true),
    supportedPageSizes: view.getUint32(28, true),
    systemPageSize: view.getUint32(32, true),
    vfBars: words(view, 36, 6),
  };
}

function decodePri(view: DataView): Decoded {
  return {
    kind: 'pri',
    control: fields16(view, 4, priControlFields),
    status: fields16(view, 6, priStatusFields),
    capacity: view.getUint32(8, true),
    allocation: view.getUint32(12, true),
  };
}

function decodeLatency(view: DataView): Decoded {
  return {
    kind: 'ltr',
    maxSnoopLatency: nanoseconds(view.getUint16(4, true)),
    maxNoSnoopLatency: nanoseconds(view.getUint16(6, true)),
  };
}

/**
 * Ten bits of a value, then three of its unit: 1, 32, … 32^5 nanoseconds; the others are reserved.
 */
function nanoseconds(latency: number): number {
  const unit = (latency >> 10) & 7;
  return unit > 5 ? 0 : (latency & 0x3ff) * 32 ** unit;
}

function decodePasid(view: DataView): Decoded {
  return {
    kind: 'pasid',
    capability: fields16(view, 4, pasidCapabilityFields),
    control: fields16(view, 6, pasidControlFields),
  };
}

function decodeDesignatedVendor(view: DataView): Decoded {
  const { id, revision, length } = fields32(view, 4, vendorHeaderFields);
  return { kind: 'dvsec', vendor: id, revision, length, dvsecId: view.getUint16(8, true) };
}

function words(view: DataView, at: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => view.getUint32(at + index * 4, true));
}
