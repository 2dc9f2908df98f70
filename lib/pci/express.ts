import { decodeFields, type FieldTable } from './fields.ts';
import type {
  PciExpressDeviceCapability,
  PciExpressDeviceCapability2,
  PciExpressDeviceControl,
  PciExpressDeviceControl2,
  PciExpressDeviceStatus,
  PciExpressFlags,
  PciExpressLinkCapability,
  PciExpressLinkCapability2,
  PciExpressLinkControl,
  PciExpressLinkControl2,
  PciExpressLinkStatus,
  PciExpressLinkStatus2,
} from './register_values.ts';

// The PCI Express capability (PCI Express Base Specification 5.0, 7.5.3). Slot and root registers,
// which no endpoint has, are left out.

const expressFlagFields: FieldTable<PciExpressFlags> = {
  version: [0, 4],
  portType: [4, 4],
  slot: [8, 1],
  interruptMessage: [9, 5],
};

const deviceCapabilityFields: FieldTable<PciExpressDeviceCapability> = {
  maxPayload: [0, 3, 'payload'],
  phantomFunctions: [3, 2],
  extendedTag: [5, 1],
  l0sLatency: [6, 3],
  l1Latency: [9, 3],
  roleBasedErrors: [15, 1],
  slotPowerValue: [18, 8],
  slotPowerScale: [26, 2],
  functionLevelReset: [28, 1],
};

const deviceControlFields: FieldTable<PciExpressDeviceControl> = {
  correctableErrors: [0, 1],
  nonFatalErrors: [1, 1],
  fatalErrors: [2, 1],
  unsupportedRequests: [3, 1],
  relaxedOrdering: [4, 1],
  maxPayload: [5, 3, 'payload'],
  extendedTag: [8, 1],
  phantomFunctions: [9, 1],
  auxPower: [10, 1],
  noSnoop: [11, 1],
  maxReadRequest: [12, 3, 'payload'],
  functionLevelReset: [15, 1],
};

const deviceStatusFields: FieldTable<PciExpressDeviceStatus> = {
  correctableError: [0, 1],
  nonFatalError: [1, 1],
  fatalError: [2, 1],
  unsupportedRequest: [3, 1],
  auxPower: [4, 1],
  transactionsPending: [5, 1],
};

const linkCapabilityFields: FieldTable<PciExpressLinkCapability> = {
  speed: [0, 4, 'speed'],
  width: [4, 6],
  aspmL0s: [10, 1],
  aspmL1: [11, 1],
  l0sExitLatency: [12, 3],
  l1ExitLatency: [15, 3],
  clockPowerManagement: [18, 1],
  surpriseDown: [19, 1],
  linkActive: [20, 1],
  bandwidthNotification: [21, 1],
  aspmOptionality: [22, 1],
  port: [24, 8],
};

const linkControlFields: FieldTable<PciExpressLinkControl> = {
  aspmL0s: [0, 1],
  aspmL1: [1, 1],
  readCompletion128: [3, 1],
  disabled: [4, 1],
  commonClock: [6, 1],
  extendedSync: [7, 1],
  clockPowerManagement: [8, 1],
  autonomousWidthDisable: [9, 1],
  bandwidthInterrupt: [10, 1],
  autonomousBandwidthInterrupt: [11, 1],
};

const linkStatusFields: FieldTable<PciExpressLinkStatus> = {
  speed: [0, 4, 'speed'],
  width: [4, 6],
  training: [11, 1],
  slotClock: [12, 1],
  linkActive: [13, 1],
  bandwidthManagement: [14, 1],
  autonomousBandwidth: [15, 1],
};

const deviceCapability2Fields: FieldTable<PciExpressDeviceCapability2> = {
  completionTimeoutRanges: [0, 4],
  completionTimeoutDisable: [4, 1],
  ariForwarding: [5, 1],
  atomicRouting: [6, 1],
  atomicCompleter32: [7, 1],
  atomicCompleter64: [8, 1],
  atomicCompleter128: [9, 1],
  noRelaxedPassing: [10, 1],
  latencyTolerance: [11, 1],
  tphCompleter: [12, 1],
  extendedTphCompleter: [13, 1],
  tag10Completer: [16, 1],
  tag10Requester: [17, 1],
  optimizedBufferFlush: [18, 2],
  extendedFormat: [20, 1],
  endToEndPrefix: [21, 1],
  endToEndPrefixes: [22, 2],
  functionReadiness: [31, 1],
};

const deviceControl2Fields: FieldTable<PciExpressDeviceControl2> = {
  completionTimeout: [0, 4],
  completionTimeoutDisable: [4, 1],
  ariForwarding: [5, 1],
  atomicRequester: [6, 1],
  atomicEgressBlock: [7, 1],
  idoRequest: [8, 1],
  idoCompletion: [9, 1],
  latencyTolerance: [10, 1],
  tag10Requester: [12, 1],
  optimizedBufferFlush: [13, 2],
  endToEndPrefixBlock: [15, 1],
};

const linkCapability2Fields: FieldTable<PciExpressLinkCapability2> = {
  speed2_5: [1, 1],
  speed5: [2, 1],
  speed8: [3, 1],
  speed16: [4, 1],
  speed32: [5, 1],
  speed64: [6, 1],
  crosslink: [8, 1],
};

const linkControl2Fields: FieldTable<PciExpressLinkControl2> = {
  targetSpeed: [0, 4, 'speed'],
  enterCompliance: [4, 1],
  autonomousSpeedDisable: [5, 1],
  selectableDeEmphasis: [6, 1],
  transmitMargin: [7, 3],
  enterModifiedCompliance: [10, 1],
  complianceSos: [11, 1],
};

const linkStatus2Fields: FieldTable<PciExpressLinkStatus2> = {
  lowDeEmphasis: [0, 1],
  equalizationComplete: [1, 1],
  equalizationPhase1: [2, 1],
  equalizationPhase2: [3, 1],
  equalizationPhase3: [4, 1],
  equalizationRequest: [5, 1],
};

/**
 * The registers that an endpoint has. The speed of a link is in GT/s, 0 where it has none. What the
 * capability's version or type does not have is undefined, and so is what is cut off.
 */
export interface PciExpressRegisters {
  flags: PciExpressFlags;
  /** Such as `endpoint`; `0x…` for what the specification does not know. */
  port: string;
  deviceCapability: PciExpressDeviceCapability;
  deviceControl: PciExpressDeviceControl;
  deviceStatus: PciExpressDeviceStatus;
  /** Those of a link: not of a root complex's integrated endpoint, nor of its event collector. */
  linkCapability?: PciExpressLinkCapability;
  linkControl?: PciExpressLinkControl;
  linkStatus?: PciExpressLinkStatus;
  /** This and what follows: from version 2 of the capability on. */
  deviceCapability2?: PciExpressDeviceCapability2;
  deviceControl2?: PciExpressDeviceControl2;
  /** The same fields of a link. */
  linkCapability2?: PciExpressLinkCapability2;
  linkControl2?: PciExpressLinkControl2;
  linkStatus2?: PciExpressLinkStatus2;
}

const portTypes: Record<number, string> = {
  0: 'endpoint',
  1: 'legacy endpoint',
  4: 'root port',
  5: 'upstream port',
  6: 'downstream port',
  7: 'bridge to PCI',
  8: 'bridge from PCI',
  9: 'integrated endpoint',
  10: 'root complex event collector',
};

/** Where each group of registers ends: all functions have the first, some have the others. */
const deviceEnd = 12;
const linkEnd = 20;
const device2End = 44;
const link2End = 52;

/** How many bytes every function's capability has. */
export function expressMinimum(): number {
  return deviceEnd;
}

function isIntegrated(portType: number): boolean {
  return portType === 9 || portType === 10;
}

/**
 * Decodes the capability, from its header on: the registers that its version and type have, as far
 * as the bytes go.
 */
export function decodeExpress(view: DataView): PciExpressRegisters {
  const u16 = <Values>(at: number, table: FieldTable<Values>): Values =>
    decodeFields(view.getUint16(at, true), table);
  const u32 = <Values>(at: number, table: FieldTable<Values>): Values =>
    decodeFields(view.getUint32(at, true), table);
  const flags = u16(2, expressFlagFields);
  const reaches = (end: number): boolean => view.byteLength >= end;
  const hasLink = !isIntegrated(flags.portType);
  const isSecond = flags.version >= 2;
  return {
    flags,
    port: portTypes[flags.portType] ?? `0x${flags.portType.toString(16)}`,
    deviceCapability: u32(4, deviceCapabilityFields),
    deviceControl: u16(8, deviceControlFields),
    deviceStatus: u16(10, deviceStatusFields),
    ...(hasLink &&
      reaches(linkEnd) && {
        linkCapability: u32(12, linkCapabilityFields),
        linkControl: u16(16, linkControlFields),
        linkStatus: u16(18, linkStatusFields),
      }),
    ...(isSecond &&
      reaches(device2End) && {
        deviceCapability2: u32(36, deviceCapability2Fields),
        deviceControl2: u16(40, deviceControl2Fields),
      }),
    ...(isSecond &&
      hasLink &&
      reaches(link2End) && {
        linkCapability2: u32(44, linkCapability2Fields),
        linkControl2: u16(48, linkControl2Fields),
        linkStatus2: u16(50, linkStatus2Fields),
      }),
  };
}
