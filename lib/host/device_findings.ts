import { counted } from '../core/counted.ts';
import { VfioError } from '../core/errors.ts';
import type { SysfsDevice } from '../core/location.ts';
import { hiddenText, wordsOf } from '../core/messages.ts';
import type { Cause, GroupMember } from '../core/reasons.ts';
import type { Steps } from '../core/steps.ts';
import { notViable } from '../diagnose/bind_causes.ts';
import { deviceCause, hiddenCause, removalCause } from '../diagnose/device_causes.ts';
import { groupOf, type IommuGroup } from '../diagnose/group.ts';
import { driverLeft, overrideIn } from '../locate/driver_override.ts';
import { findCdev, isPresent, noDevice } from '../locate/find_cdev.ts';
import { hiddenDevice, listNames, readAttribute, readLinkName } from '../locate/sysfs.ts';
import { virtfnsOf } from '../locate/virtual_functions.ts';
import { isVfio } from './device_holders.ts';
import { readRecord } from './driver_record.ts';
import { stateOf } from './driver_report.ts';
import { type Finding, look, lookBySteps, type Place, type Seen } from './finding.ts';
import { holderFindings } from './holder_findings.ts';
import { deviceNodeFindings } from './device_nodes.ts';

/** What is to be said of one device. Of one that is not there no more than that. */
export function* deviceFindings(device: SysfsDevice, place: Place): Steps<Finding[]> {
  const { address } = device;
  const there = look('device', address, () => presence(device, place));
  if (there[0]?.status !== 'ok') return there;
  const group = yield* lookBySteps('group', address, () => groupSeen(device, place));
  return [
    ...there,
    ...look('driver', address, () => driver(device, place)),
    ...look('driver-override', address, () => driverOverride(device, place)),
    ...look('driver-before', address, () => driverBefore(device, place)),
    ...group,
    ...look('sriov', address, () => sriov(device)),
    ...(yield* holderFindings(device, place)),
    ...deviceNodeFindings(device, place),
  ];
}

function presence(device: SysfsDevice, { roots }: Place): Seen {
  if (isPresent(device)) return ['ok', describe(device)];
  const error = noDevice(device, roots);
  const hidden = hiddenDevice(device, roots) !== undefined;
  return [hidden ? 'unknown' : 'bad', error.message, hintFor(error, device, { roots })];
}

function describe({ bus, sysfsPath }: SysfsDevice): string {
  const [vendor, model, classCode] = ['vendor', 'device', 'class'].map((name) =>
    bus === 'pci' ? readAttribute(`${sysfsPath}/${name}`)?.replace('0x', '') : undefined,
  );
  if (vendor === undefined) return `it is there, on the bus ${bus}`;
  return `it is there, on the bus ${bus}: ${vendor}:${model ?? '?'}, class ${classCode ?? '?'}`;
}

function hintFor(
  error: VfioError,
  device: SysfsDevice,
  { roots }: Pick<Place, 'roots'>,
): string | undefined {
  const subject = { device, roots };
  const cause = hiddenCause(error, subject) ?? deviceCause(error, subject);
  return cause === undefined ? undefined : wordsOf(cause).hint;
}

/** `findCdev` says whether a device has a VFIO driver; why it has none, and what that takes, deviceCause. */
function driver(device: SysfsDevice, { roots }: Place): Seen {
  const name = readLinkName(`${device.sysfsPath}/driver`);
  try {
    findCdev(device, roots);
  } catch (error) {
    if (!(error instanceof VfioError)) throw error;
    if (error.code !== 'ERR_VFIO_NO_CDEV') {
      const cause = deviceCause(error, { device, roots });
      if (cause === undefined) throw error;
      return ['bad', withWhy(error.message, cause), mendOf(cause)];
    }
  }
  // A physical function keeps its cdev until its virtual functions are gone.
  const removal = removalCause(device);
  if (removal) return ['bad', wordsOf(removal).why, wordsOf(removal).hint];
  return ['ok', `a VFIO driver has it: ${name ?? 'without a name in sysfs'}`];
}

function withWhy(message: string, cause: Cause): string {
  const { why } = wordsOf(cause);
  return why === '' ? message : `${message}: ${why}`;
}

/** What switches the IOMMU on is said once, of the host. */
const seeIommu = 'see the finding iommu of the host, which says what switches it on';

function mendOf({ reason, facts }: Cause): string {
  const isOff = reason === 'no-iommu-group' && (facts as { iommus: number | null }).iommus === 0;
  return isOff ? seeIommu : wordsOf({ reason, facts } as Cause).hint;
}

/** Which driver it gets, when it is bound anew. */
function driverOverride(
  { address, bus, sysfsPath }: SysfsDevice,
  { roots: { sysfsRoot } }: Place,
): Seen | undefined {
  if (driverLeft({ sysfsPath }) !== undefined) {
    const what = 'it is not read while the device is being taken from its driver: that would wait';
    return ['unknown', what, 'see the finding driver'];
  }
  const text = readAttribute(`${sysfsPath}/driver_override`);
  // Not every bus has one.
  if (text === undefined) return undefined;
  const name = readLinkName(`${sysfsPath}/driver`);
  if (overrideIn(text) === null) return ['ok', 'no driver is laid down'];
  if (text === name) return ['ok', `only ${text} may have it, which it has`];
  const lift = `echo | sudo tee /sys/bus/${bus}/devices/${address}/driver_override`;
  if (name !== undefined) {
    return [
      'warning',
      `it has ${name}, and only ${text} may have it when it is bound anew`,
      `where that is not meant, lift it (the driver of now stays): ${lift}`,
    ];
  }
  const isLoaded = listNames(`${sysfsRoot}/bus/${bus}/drivers/${text}`) !== undefined;
  return [
    'warning',
    `it has no driver, and only ${text} may have it${isLoaded ? '' : ', which is not loaded'}`,
    `to have ${text} take it: sudo npx vfio bind --driver ${text} ${address}; to let the host's drivers have it again: ${lift}`,
  ];
}

/** What `vfio bind` remembers; a change that was not finished is one of a program that was ended. */
function driverBefore(device: SysfsDevice, place: Place): Seen | undefined {
  const record = readRecord(device, place);
  if (record === undefined) return undefined;
  const { driver: before, driverOverride, target } = record;
  const now = readLinkName(`${device.sysfsPath}/driver`);
  const had = `vfio bind remembers that it had ${before ?? 'no driver'}`;
  if (now === target) return ['ok', `${had}; vfio unbind gives it that back`];
  if (now !== undefined && now === before && stateOf(device).driverOverride === driverOverride)
    return ['ok', `${had}, and it has that: its change to ${target} was not begun, or was undone, as when it is plugged in anew`]; // prettier-ignore
  if (now !== undefined && now !== before && !isVfio(device))
    return ['warning', `${had}, before it went to ${target}; since then another program, or the host when it was plugged in anew, gave it to ${now}: vfio unbind leaves it there`]; // prettier-ignore
  const mend = `sudo npx vfio unbind ${device.address} gives it back what it had`;
  return ['warning', `${had}; its change to ${target} is not finished, or was undone: it has ${now ?? 'no driver'}`, mend]; // prettier-ignore
}

function* groupSeen(device: SysfsDevice, { roots }: Place): Steps<Seen | undefined> {
  const group = yield* groupOf(device, roots.sysfsRoot);
  if (group === undefined) return noGroup(device, roots.sysfsRoot);
  if ('path' in group) return ['unknown', hiddenText(group)];
  const what = `IOMMU group ${group.group}: ${group.members.map(memberText).join('; ')}`;
  // The group's own name does not tell: mdevs, whose drivers confine them, have the same.
  const name = `noiommu-${group.group}`;
  if (listNames(`${roots.sysfsRoot}/class/vfio/${name}`) !== undefined) {
    const mend =
      "where that is meant: --backend noiommu, in programs { backend: 'noiommu' }; otherwise see the finding iommu of the host";
    return ['warning', `${what}: no IOMMU confines what it does to memory`, mend];
  }
  return viability(group, what);
}

function viability(group: IommuGroup, what: string): Seen {
  const cause = notViable(group)?.cause;
  return cause === undefined ? ['ok', what] : ['bad', what, wordsOf(cause).hint];
}

function noGroup({ sysfsPath }: SysfsDevice, sysfsRoot: string): Seen {
  const hasVfio = readAttribute(`${sysfsRoot}/module/vfio/parameters/enable_unsafe_noiommu_mode`);
  const mode = hasVfio === 'Y' ? '; a VFIO driver makes one for it without an IOMMU' : '';
  const bound = readLinkName(`${sysfsPath}/driver`);
  const what = `it has no IOMMU group (its driver: ${bound ?? 'none'})${mode}`;
  const hasIommu = (listNames(`${sysfsRoot}/class/iommu`) ?? []).length > 0;
  const mend = hasIommu
    ? 'the kernel has an IOMMU, but the device is not behind it: only another slot or machine helps'
    : seeIommu;
  return [mode === '' ? 'bad' : 'warning', what, mend];
}

function memberText({ address, driver, verdict, uses = [], unseen = [] }: GroupMember): string {
  const has = uses.map(({ kind, name, now }) => `${kind} ${name}${now === null ? '' : ` ${now}`}`);
  const hidden = unseen.length > 0 ? [`not to be seen from here: ${unseen.join(', ')}`] : [];
  const more = [...has, ...hidden].join(', ');
  const judged = verdict === 'ok' ? 'ok' : "the host's driver";
  return `${address} (${driver ?? 'no driver'}: ${judged}${more === '' ? '' : `; ${more}`})`;
}

/** Physical and virtual functions are opened with one token. */
function sriov({ sysfsPath }: SysfsDevice): Seen | undefined {
  const token =
    'a program opens it with { vfToken }, the UUID that the program with the physical function set';
  const parent = readLinkName(`${sysfsPath}/physfn`);
  if (parent !== undefined) {
    const owner = readLinkName(`${sysfsPath}/physfn/driver`);
    const what = `a virtual function of ${parent}, whose driver is ${owner ?? 'none'}`;
    return owner === 'vfio-pci' ? ['warning', `${what}: it takes a VF token`, token] : ['ok', what];
  }
  const total = readAttribute(`${sysfsPath}/sriov_totalvfs`);
  if (total === undefined) return undefined;
  const count = virtfnsOf({ sysfsPath }).length;
  const what = `a physical function: ${count} of ${counted(Number(total), 'virtual function')}`;
  const isShared = count > 0 && readLinkName(`${sysfsPath}/driver`) === 'vfio-pci';
  return isShared ? ['warning', `${what}, which are opened with a VF token`, token] : ['ok', what];
}
