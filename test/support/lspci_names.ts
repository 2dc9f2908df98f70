// What lspci calls the fields that the decoders have: for each capability and each heading, lspci's
// flag (`Name+`, `Name-`) or, as a pattern with one group, number, and where the decoders say it.

/** From lspci's flag to `register.field`. */
type Flags = Record<string, string>;
/** From `register.field` to a pattern whose group is its number. */
type Numbers = Record<string, RegExp>;

export interface Section {
  flags?: Flags;
  numbers?: Numbers;
}

export const headerSections: Record<string, Section> = {
  Control: {
    flags: {
      'I/O': 'command.io',
      Mem: 'command.memory',
      BusMaster: 'command.busMaster',
      SpecCycle: 'command.specialCycles',
      MemWINV: 'command.memoryWriteInvalidate',
      VGASnoop: 'command.vgaSnoop',
      ParErr: 'command.parityError',
      Stepping: 'command.stepping',
      SERR: 'command.systemError',
      FastB2B: 'command.fastBackToBack',
      DisINTx: 'command.interruptDisable',
    },
  },
  Status: {
    flags: {
      Cap: 'status.capabilities',
      '66MHz': 'status.is66MHz',
      FastB2B: 'status.fastBackToBack',
      ParErr: 'status.parityError',
      '>TAbort': 'status.signalledTargetAbort',
      '<TAbort': 'status.receivedTargetAbort',
      '<MAbort': 'status.receivedMasterAbort',
      '>SERR': 'status.signalledSystemError',
      '<PERR': 'status.detectedParityError',
      INTx: 'status.interrupt',
    },
  },
};

const uncorrectable = (register: string): Section => ({
  flags: {
    DLP: `${register}.dataLinkProtocol`,
    SDES: `${register}.surpriseDown`,
    TLP: `${register}.poisonedTlp`,
    FCP: `${register}.flowControl`,
    CmpltTO: `${register}.completionTimeout`,
    CmpltAbrt: `${register}.completerAbort`,
    UnxCmplt: `${register}.unexpectedCompletion`,
    RxOF: `${register}.receiverOverflow`,
    MalfTLP: `${register}.malformedTlp`,
    ECRC: `${register}.ecrc`,
    UnsupReq: `${register}.unsupportedRequest`,
    ACSViol: `${register}.acsViolation`,
  },
});

const correctable = (register: string): Section => ({
  flags: {
    RxErr: `${register}.receiver`,
    BadTLP: `${register}.badTlp`,
    BadDLLP: `${register}.badDllp`,
    Rollover: `${register}.replayRollover`,
    Timeout: `${register}.replayTimeout`,
    AdvNonFatalErr: `${register}.advisoryNonFatal`,
  },
});

const accessControl = (register: string): Section => ({
  flags: {
    SrcValid: `${register}.sourceValidation`,
    TransBlk: `${register}.translationBlocking`,
    ReqRedir: `${register}.requestRedirect`,
    CmpltRedir: `${register}.completionRedirect`,
    UpstreamFwd: `${register}.upstreamForwarding`,
    EgressCtrl: `${register}.egressControl`,
    DirectTrans: `${register}.directTranslated`,
  },
});

/** By the decoders' kind of capability. */
export const capabilitySections: Record<
  string,
  { title: RegExp; sections: Record<string, Section> }
> = {
  pm: {
    title: /^Power Management version/,
    sections: {
      '': { numbers: { 'capability.version': /version (\d)/ } },
      Flags: {
        flags: {
          PMEClk: 'capability.pmeClock',
          DSI: 'capability.deviceSpecificInit',
          D1: 'capability.d1',
          D2: 'capability.d2',
          'PME(D0': 'capability.pmeFromD0',
          D3hot: 'capability.pmeFromD3hot',
          D3cold: 'capability.pmeFromD3cold',
        },
      },
      Status: {
        flags: {
          NoSoftRst: 'control.noSoftReset',
          'PME-Enable': 'control.pmeEnable',
          PME: 'control.pmeStatus',
        },
        numbers: {
          'control.powerState': /^ D(\d)/,
          'control.dataSelect': /DSel=(\d+)/,
          'control.dataScale': /DScale=(\d+)/,
        },
      },
    },
  },
  msi: {
    title: /^MSI:/,
    sections: {
      '': {
        flags: {
          Enable: 'control.enable',
          Maskable: 'control.maskable',
          '64bit': 'control.is64Bit',
        },
        numbers: {
          'control.vectorsEnabled': /Count=(\d+)\//,
          'control.vectors': /Count=\d+\/(\d+)/,
        },
      },
      Address: { numbers: { address: /^ ([0-9a-f]+)/, data: /Data: ([0-9a-f]+)/ } },
    },
  },
  msix: {
    title: /^MSI-X:/,
    sections: {
      '': {
        flags: { Enable: 'control.enable', Masked: 'control.masked' },
        numbers: { 'control.vectors': /Count=(\d+)/ },
      },
      'Vector table': {
        numbers: { 'table.bar': /BAR=(\d)/, 'table.offset': /offset=([0-9a-f]{8})/ },
      },
      PBA: { numbers: { 'pba.bar': /BAR=(\d)/, 'pba.offset': /offset=([0-9a-f]{8})/ } },
    },
  },
  pcie: {
    title: /^Express \(v\d\)/,
    sections: {
      '': {
        numbers: {
          'flags.version': /\(v(\d)\)/,
          'flags.interruptMessage': /(?:MSI|IntMsgNum) ([0-9a-f]+)/,
        },
      },
      DevCap: {
        flags: {
          ExtTag: 'deviceCapability.extendedTag',
          RBE: 'deviceCapability.roleBasedErrors',
          FLReset: 'deviceCapability.functionLevelReset',
        },
        numbers: {
          'deviceCapability.maxPayload': /MaxPayload (\d+)/,
        },
      },
      DevCtl: {
        flags: {
          CorrErr: 'deviceControl.correctableErrors',
          NonFatalErr: 'deviceControl.nonFatalErrors',
          FatalErr: 'deviceControl.fatalErrors',
          UnsupReq: 'deviceControl.unsupportedRequests',
          RlxdOrd: 'deviceControl.relaxedOrdering',
          ExtTag: 'deviceControl.extendedTag',
          PhantFunc: 'deviceControl.phantomFunctions',
          AuxPwr: 'deviceControl.auxPower',
          NoSnoop: 'deviceControl.noSnoop',
        },
        numbers: {
          'deviceControl.maxPayload': /MaxPayload (\d+)/,
          'deviceControl.maxReadRequest': /MaxReadReq (\d+)/,
        },
      },
      DevSta: {
        flags: {
          CorrErr: 'deviceStatus.correctableError',
          NonFatalErr: 'deviceStatus.nonFatalError',
          FatalErr: 'deviceStatus.fatalError',
          UnsupReq: 'deviceStatus.unsupportedRequest',
          AuxPwr: 'deviceStatus.auxPower',
          TransPend: 'deviceStatus.transactionsPending',
        },
      },
      LnkCap: {
        flags: {
          ClockPM: 'linkCapability.clockPowerManagement',
          Surprise: 'linkCapability.surpriseDown',
          LLActRep: 'linkCapability.linkActive',
          BwNot: 'linkCapability.bandwidthNotification',
          ASPMOptComp: 'linkCapability.aspmOptionality',
        },
        numbers: {
          'linkCapability.port': /Port #(\d+)/,
          'linkCapability.speed': /Speed ([\d.]+)GT/,
          'linkCapability.width': /Width x(\d+)/,
        },
      },
      LnkCtl: {
        flags: {
          Disabled: 'linkControl.disabled',
          CommClk: 'linkControl.commonClock',
          ExtSynch: 'linkControl.extendedSync',
          ClockPM: 'linkControl.clockPowerManagement',
          AutWidDis: 'linkControl.autonomousWidthDisable',
          BWInt: 'linkControl.bandwidthInterrupt',
          AutBWInt: 'linkControl.autonomousBandwidthInterrupt',
        },
      },
      LnkSta: {
        flags: {
          Train: 'linkStatus.training',
          SlotClk: 'linkStatus.slotClock',
          DLActive: 'linkStatus.linkActive',
          BWMgmt: 'linkStatus.bandwidthManagement',
          ABWMgmt: 'linkStatus.autonomousBandwidth',
        },
        numbers: {
          'linkStatus.speed': /Speed ([\d.]+)GT/,
          'linkStatus.width': /Width x(\d+)/,
        },
      },
      DevCap2: {
        flags: {
          TimeoutDis: 'deviceCapability2.completionTimeoutDisable',
          NROPrPrP: 'deviceCapability2.noRelaxedPassing',
          LTR: 'deviceCapability2.latencyTolerance',
          '10BitTagComp': 'deviceCapability2.tag10Completer',
          '10BitTagReq': 'deviceCapability2.tag10Requester',
          ExtFmt: 'deviceCapability2.extendedFormat',
          EETLPPrefix: 'deviceCapability2.endToEndPrefix',
          FRS: 'deviceCapability2.functionReadiness',
        },
      },
      AtomicOpsCap: {
        flags: {
          '32bit': 'deviceCapability2.atomicCompleter32',
          '64bit': 'deviceCapability2.atomicCompleter64',
          '128bitCAS': 'deviceCapability2.atomicCompleter128',
        },
      },
      DevCtl2: {
        flags: {
          TimeoutDis: 'deviceControl2.completionTimeoutDisable',
          LTR: 'deviceControl2.latencyTolerance',
          '10BitTagReq': 'deviceControl2.tag10Requester',
        },
      },
      AtomicOpsCtl: { flags: { ReqEn: 'deviceControl2.atomicRequester' } },
      LnkCtl2: {
        flags: {
          EnterCompliance: 'linkControl2.enterCompliance',
          SpeedDis: 'linkControl2.autonomousSpeedDisable',
        },
      },
      'Transmit Margin': {
        flags: {
          EnterModifiedCompliance: 'linkControl2.enterModifiedCompliance',
          ComplianceSOS: 'linkControl2.complianceSos',
        },
      },
      LnkSta2: {
        flags: {
          EqualizationComplete: 'linkStatus2.equalizationComplete',
          EqualizationPhase1: 'linkStatus2.equalizationPhase1',
          EqualizationPhase2: 'linkStatus2.equalizationPhase2',
          EqualizationPhase3: 'linkStatus2.equalizationPhase3',
          LinkEqualizationRequest: 'linkStatus2.equalizationRequest',
        },
      },
    },
  },
  vendor: {
    title: /^Vendor Specific Information/,
    sections: { '': { numbers: { length: /Len=([0-9a-f]{2})/ } } },
  },
  af: {
    title: /^PCI Advanced Features/,
    sections: {
      AFCap: { flags: { TP: 'capability.transactionsPending', FLR: 'capability.flr' } },
    },
  },
  aer: {
    title: /^Advanced Error Reporting/,
    sections: {
      UESta: uncorrectable('uncorrectableStatus'),
      UEMsk: uncorrectable('uncorrectableMask'),
      UESvrt: uncorrectable('uncorrectableSeverity'),
      CESta: correctable('correctableStatus'),
      CEMsk: correctable('correctableMask'),
      AERCap: {
        flags: {
          ECRCGenCap: 'control.ecrcGenerationCapable',
          ECRCGenEn: 'control.ecrcGeneration',
          ECRCChkCap: 'control.ecrcCheckCapable',
          ECRCChkEn: 'control.ecrcCheck',
          MultHdrRecCap: 'control.multipleHeadersCapable',
          MultHdrRecEn: 'control.multipleHeaders',
          TLPPfxPres: 'control.prefixLog',
        },
        numbers: { 'control.firstError': /Pointer: ([0-9a-f]{2})/ },
      },
    },
  },
  dsn: { title: /^Device Serial Number/, sections: {} },
  vsec: {
    title: /^Vendor Specific Information: ID=/,
    sections: {
      '': {
        numbers: {
          'header.id': /ID=([0-9a-f]{4})/,
          'header.revision': /Rev=([0-9a-f])/,
          'header.length': /Len=([0-9a-f]{3})/,
        },
      },
    },
  },
  acs: {
    title: /^Access Control Services/,
    sections: { ACSCap: accessControl('capability'), ACSCtl: accessControl('control') },
  },
  ari: {
    title: /^Alternative Routing-ID/,
    sections: {
      ARICap: {
        flags: { MFVC: 'capability.functionGroups', ACS: 'capability.acsGroups' },
        numbers: { 'capability.nextFunction': /Next Function: (\d+)/ },
      },
      ARICtl: {
        flags: { MFVC: 'control.functionGroups', ACS: 'control.acsGroups' },
        numbers: { 'control.group': /Function Group: (\d+)/ },
      },
    },
  },
  ats: {
    title: /^Address Translation Service/,
    sections: {
      ATSCap: { numbers: { 'capability.invalidateQueueDepth': /Depth: ([0-9a-f]{2})/ } },
      ATSCtl: {
        flags: { Enable: 'control.enable' },
        numbers: { 'control.smallestUnit': /Unit: ([0-9a-f]{2})/ },
      },
    },
  },
  sriov: {
    title: /^Single Root I\/O Virtualization/,
    sections: {
      IOVCap: {
        flags: { Migration: 'capability.migration', '10BitTagReq': 'capability.tag10Requester' },
        numbers: { 'capability.interruptMessage': /Number: ([0-9a-f]{3})/ },
      },
      IOVCtl: {
        flags: {
          Enable: 'control.enable',
          Migration: 'control.migration',
          Interrupt: 'control.migrationInterrupt',
          MSE: 'control.memory',
          ARIHierarchy: 'control.ari',
          '10BitTagReq': 'control.tag10Requester',
        },
      },
      IOVSta: { flags: { Migration: 'migrationStatus' } },
      'Initial VFs': {
        numbers: {
          initialVfs: /^ (\d+),/,
          totalVfs: /Total VFs: (\d+)/,
          vfs: /Number of VFs: (\d+)/,
          functionDependency: /Dependency Link: ([0-9a-f]{2})/,
        },
      },
      'VF offset': { numbers: { firstVfOffset: /^ (\d+)/, vfStride: /stride: (\d+)/ } },
      '*': {
        numbers: {
          vfDevice: /Device ID: ([0-9a-f]{4})/,
          supportedPageSizes: /Supported Page Size: ([0-9a-f]{8})/,
          systemPageSize: /System Page Size: ([0-9a-f]{8})/,
        },
      },
    },
  },
  pri: {
    title: /^Page Request Interface/,
    sections: {
      PRICtl: { flags: { Enable: 'control.enable', Reset: 'control.reset' } },
      PRISta: {
        flags: {
          RF: 'status.responseFailure',
          UPRGI: 'status.unexpectedIndex',
          Stopped: 'status.stopped',
        },
      },
    },
  },
  pasid: {
    title: /^Process Address Space ID/,
    sections: {
      PASIDCap: {
        flags: { Exec: 'capability.execute', Priv: 'capability.privileged' },
        numbers: { 'capability.width': /Width: ([0-9a-f]{2})/ },
      },
      PASIDCtl: {
        flags: {
          Enable: 'control.enable',
          Exec: 'control.execute',
          Priv: 'control.privileged',
        },
      },
    },
  },
  ltr: {
    title: /^Latency Tolerance Reporting/,
    sections: {
      '*': {
        numbers: {
          maxSnoopLatency: /Max snoop latency: (\d+)ns/,
          maxNoSnoopLatency: /Max no snoop latency: (\d+)ns/,
        },
      },
    },
  },
};
