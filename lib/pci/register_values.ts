// The values of PCI's registers, as the tables of their fields decode them.

/** The bits of the Command register. */
export interface PciCommand {
  io: boolean;
  memory: boolean;
  busMaster: boolean;
  specialCycles: boolean;
  memoryWriteInvalidate: boolean;
  vgaSnoop: boolean;
  parityError: boolean;
  stepping: boolean;
  systemError: boolean;
  fastBackToBack: boolean;
  interruptDisable: boolean;
}

/** The bits of the Status register. */
export interface PciStatus {
  interrupt: boolean;
  capabilities: boolean;
  is66MHz: boolean;
  fastBackToBack: boolean;
  parityError: boolean;
  devselTiming: number;
  signalledTargetAbort: boolean;
  receivedTargetAbort: boolean;
  receivedMasterAbort: boolean;
  signalledSystemError: boolean;
  detectedParityError: boolean;
}

/** Power management: what the function can do. */
export interface PciPowerCapability {
  version: number;
  pmeClock: boolean;
  deviceSpecificInit: boolean;
  auxCurrent: number;
  d1: boolean;
  d2: boolean;
  pmeFromD0: boolean;
  pmeFromD1: boolean;
  pmeFromD2: boolean;
  pmeFromD3hot: boolean;
  pmeFromD3cold: boolean;
}

/** Power management: control and status. */
export interface PciPowerControl {
  powerState: number;
  noSoftReset: boolean;
  pmeEnable: boolean;
  dataSelect: number;
  dataScale: number;
  pmeStatus: boolean;
}

/** MSI: message control. */
export interface PciMsiControl {
  enable: boolean;
  /** Vectors that the device can send, and those that it may. */
  vectors: number;
  vectorsEnabled: number;
  is64Bit: boolean;
  maskable: boolean;
}

/** MSI-X: message control. */
export interface PciMsixControl {
  vectors: number;
  masked: boolean;
  enable: boolean;
}

/** Advanced features of conventional PCI: what the function can do. */
export interface PciAdvancedFeatures {
  transactionsPending: boolean;
  flr: boolean;
}

/** PCI Express: the capability itself. */
export interface PciExpressFlags {
  version: number;
  portType: number;
  slot: boolean;
  interruptMessage: number;
}

/** PCI Express: device capabilities. */
export interface PciExpressDeviceCapability {
  /** Bytes. */
  maxPayload: number;
  phantomFunctions: number;
  extendedTag: boolean;
  l0sLatency: number;
  l1Latency: number;
  roleBasedErrors: boolean;
  slotPowerValue: number;
  slotPowerScale: number;
  functionLevelReset: boolean;
}

/** PCI Express: device control. */
export interface PciExpressDeviceControl {
  correctableErrors: boolean;
  nonFatalErrors: boolean;
  fatalErrors: boolean;
  unsupportedRequests: boolean;
  relaxedOrdering: boolean;
  /** Bytes. */
  maxPayload: number;
  extendedTag: boolean;
  phantomFunctions: boolean;
  auxPower: boolean;
  noSnoop: boolean;
  /** Bytes. */
  maxReadRequest: number;
  functionLevelReset: boolean;
}

/** PCI Express: device status. */
export interface PciExpressDeviceStatus {
  correctableError: boolean;
  nonFatalError: boolean;
  fatalError: boolean;
  unsupportedRequest: boolean;
  auxPower: boolean;
  transactionsPending: boolean;
}

/** PCI Express: link capabilities. */
export interface PciExpressLinkCapability {
  /** GT/s; 0 for what is not defined. */
  speed: number;
  width: number;
  aspmL0s: boolean;
  aspmL1: boolean;
  l0sExitLatency: number;
  l1ExitLatency: number;
  clockPowerManagement: boolean;
  surpriseDown: boolean;
  linkActive: boolean;
  bandwidthNotification: boolean;
  aspmOptionality: boolean;
  port: number;
}

/** PCI Express: link control. */
export interface PciExpressLinkControl {
  aspmL0s: boolean;
  aspmL1: boolean;
  readCompletion128: boolean;
  disabled: boolean;
  commonClock: boolean;
  extendedSync: boolean;
  clockPowerManagement: boolean;
  autonomousWidthDisable: boolean;
  bandwidthInterrupt: boolean;
  autonomousBandwidthInterrupt: boolean;
}

/** PCI Express: link status. */
export interface PciExpressLinkStatus {
  /** GT/s; 0 for what is not defined. */
  speed: number;
  width: number;
  training: boolean;
  slotClock: boolean;
  linkActive: boolean;
  bandwidthManagement: boolean;
  autonomousBandwidth: boolean;
}

/** PCI Express: device capabilities 2. */
export interface PciExpressDeviceCapability2 {
  completionTimeoutRanges: number;
  completionTimeoutDisable: boolean;
  ariForwarding: boolean;
  atomicRouting: boolean;
  atomicCompleter32: boolean;
  atomicCompleter64: boolean;
  atomicCompleter128: boolean;
  noRelaxedPassing: boolean;
  latencyTolerance: boolean;
  tphCompleter: boolean;
  extendedTphCompleter: boolean;
  tag10Completer: boolean;
  tag10Requester: boolean;
  optimizedBufferFlush: number;
  extendedFormat: boolean;
  endToEndPrefix: boolean;
  endToEndPrefixes: number;
  functionReadiness: boolean;
}

/** PCI Express: device control 2. */
export interface PciExpressDeviceControl2 {
  completionTimeout: number;
  completionTimeoutDisable: boolean;
  ariForwarding: boolean;
  atomicRequester: boolean;
  atomicEgressBlock: boolean;
  idoRequest: boolean;
  idoCompletion: boolean;
  latencyTolerance: boolean;
  tag10Requester: boolean;
  optimizedBufferFlush: number;
  endToEndPrefixBlock: boolean;
}

/** PCI Express: link capabilities 2, the speeds in GT/s that the link supports. */
export interface PciExpressLinkCapability2 {
  speed2_5: boolean;
  speed5: boolean;
  speed8: boolean;
  speed16: boolean;
  speed32: boolean;
  speed64: boolean;
  crosslink: boolean;
}

/** PCI Express: link control 2. */
export interface PciExpressLinkControl2 {
  /** GT/s; 0 for what is not defined. */
  targetSpeed: number;
  enterCompliance: boolean;
  autonomousSpeedDisable: boolean;
  selectableDeEmphasis: boolean;
  transmitMargin: number;
  enterModifiedCompliance: boolean;
  complianceSos: boolean;
}

/** PCI Express: link status 2. */
export interface PciExpressLinkStatus2 {
  lowDeEmphasis: boolean;
  equalizationComplete: boolean;
  equalizationPhase1: boolean;
  equalizationPhase2: boolean;
  equalizationPhase3: boolean;
  equalizationRequest: boolean;
}

/** Advanced error reporting: a bit for each uncorrectable error. */
export interface PciUncorrectableErrors {
  dataLinkProtocol: boolean;
  surpriseDown: boolean;
  poisonedTlp: boolean;
  flowControl: boolean;
  completionTimeout: boolean;
  completerAbort: boolean;
  unexpectedCompletion: boolean;
  receiverOverflow: boolean;
  malformedTlp: boolean;
  ecrc: boolean;
  unsupportedRequest: boolean;
  acsViolation: boolean;
  internal: boolean;
  multicastBlocked: boolean;
  atomicEgressBlocked: boolean;
  prefixBlocked: boolean;
}

/** Advanced error reporting: a bit for each correctable error. */
export interface PciCorrectableErrors {
  receiver: boolean;
  badTlp: boolean;
  badDllp: boolean;
  replayRollover: boolean;
  replayTimeout: boolean;
  advisoryNonFatal: boolean;
  internal: boolean;
  headerLogOverflow: boolean;
}

/** Advanced error reporting: capabilities and control. */
export interface PciErrorControl {
  firstError: number;
  ecrcGenerationCapable: boolean;
  ecrcGeneration: boolean;
  ecrcCheckCapable: boolean;
  ecrcCheck: boolean;
  multipleHeadersCapable: boolean;
  multipleHeaders: boolean;
  prefixLog: boolean;
}

/** Access control services: what is there, or what is on. */
export interface PciAccessControl {
  sourceValidation: boolean;
  translationBlocking: boolean;
  requestRedirect: boolean;
  completionRedirect: boolean;
  upstreamForwarding: boolean;
  egressControl: boolean;
  directTranslated: boolean;
}

/** Alternative routing-ID interpretation: what the function can do. */
export interface PciAriCapability {
  functionGroups: boolean;
  acsGroups: boolean;
  nextFunction: number;
}

/** Alternative routing-ID interpretation: control. */
export interface PciAriControl {
  functionGroups: boolean;
  acsGroups: boolean;
  group: number;
}

/** Address translation services: what the function can do. */
export interface PciAtsCapability {
  /** 0 means 32. */
  invalidateQueueDepth: number;
  pageAlignedRequest: boolean;
  globalInvalidate: boolean;
}

/** Address translation services: control. */
export interface PciAtsControl {
  smallestUnit: number;
  enable: boolean;
}

/** Single root I/O virtualization: what the function can do. */
export interface PciSriovCapability {
  migration: boolean;
  ariPreserved: boolean;
  tag10Requester: boolean;
  interruptMessage: number;
}

/** Single root I/O virtualization: control. */
export interface PciSriovControl {
  enable: boolean;
  migration: boolean;
  migrationInterrupt: boolean;
  memory: boolean;
  ari: boolean;
  tag10Requester: boolean;
}

/** Page request interface: control. */
export interface PciPriControl {
  enable: boolean;
  reset: boolean;
}

/** Page request interface: status. */
export interface PciPriStatus {
  responseFailure: boolean;
  unexpectedIndex: boolean;
  stopped: boolean;
  pasidRequired: boolean;
}

/** Process address space IDs: what the function can do. */
export interface PciPasidCapability {
  execute: boolean;
  privileged: boolean;
  /** Bits of a PASID. */
  width: number;
}

/** Process address space IDs: control. */
export interface PciPasidControl {
  enable: boolean;
  execute: boolean;
  privileged: boolean;
}

/** A header of 32 bits with which a vendor says what follows. */
export interface PciVendorHeader {
  id: number;
  revision: number;
  length: number;
}
