import { requirePlatform } from '../addon.ts';
import { requireObject } from '../core/arguments.ts';
import { counted } from '../core/counted.ts';
import { VfioError } from '../core/errors.ts';
import type { DeviceSpec, Roots, SysfsDevice } from '../core/location.ts';
import { either, run, runSync, type Steps } from '../core/steps.ts';
import { inSysfs } from '../locate/find_cdev.ts';
import { type ListedDevice, listDevices, listDevicesSync } from '../locate/list.ts';
import { parseSpec, resolveSpec } from '../locate/resolve.ts';
import { hiddenNumbers } from '../locate/sysfs.ts';
import { deviceFindings } from './device_findings.ts';
import { type Finding, finding, host, lookBySteps, type Place, type Seen } from './finding.ts';
import { type HostRootOptions, hostRootsOf } from './host_roots.ts';
import { kernelFindings } from './kernel_findings.ts';
import { sharedNodeFindings } from './node_findings.ts';
import { processFindings } from './process_findings.ts';
import { readUsage, type Usage } from './usage.ts';

/** What {@link diagnose} found. */
export interface Diagnosis {
  /** In a fixed order: of the host, then of the device. */
  findings: Finding[];
}

/**
 * Looks at all that opening devices by VFIO needs: the kernel, this process's rights and limits,
 * and where `spec` is given that device. Opens no device and changes nothing. What cannot be looked
 * at is `unknown`, and keeps nobody from the rest. Who holds the device is searched for 2 seconds
 * at most.
 *
 * @param spec - the device; without it, the host alone
 * @param options - where sysfs, procfs, the device nodes and what is remembered are, if elsewhere
 * @throws TypeError, RangeError for what cannot name a device
 * @throws VfioError `ERR_VFIO_UNSUPPORTED_PLATFORM`
 */
export async function diagnose(
  spec?: DeviceSpec,
  options: HostRootOptions = {},
): Promise<Diagnosis> {
  return await run(diagnosis(spec, options));
}

/** The blocking form of {@link diagnose}. It does not search who holds the device. */
export function diagnoseSync(spec?: DeviceSpec, options: HostRootOptions = {}): Diagnosis {
  return runSync(diagnosis(spec, options));
}

function* diagnosis(spec: DeviceSpec | undefined, options: HostRootOptions): Steps<Diagnosis> {
  requirePlatform();
  requireObject('options', options);
  const roots = hostRootsOf(options);
  const place: Place = { roots, procRoot: roots.procRoot, runRoot: roots.runRoot };
  const given = spec === undefined ? undefined : deviceOf(spec, place);
  const ofKernel = kernelFindings(place).map((found) => softenFor(given, found));
  const ofHost = [...ofKernel, ...processFindings(place)];
  const nodes = sharedNodeFindings(place);
  if (given !== undefined) {
    return { findings: [...ofHost, ...nodes, ...(yield* ofDevice(given, place))] };
  }
  const all = yield* lookBySteps('devices', host, () => devices(place));
  return { findings: [...ofHost, ...all, ...nodes] };
}

/** The driver of a mediated device confines it: without an IOMMU it can be opened all the same. */
function softenFor(given: SysfsDevice | Finding | undefined, found: Finding): Finding {
  const isMediated = given !== undefined && 'bus' in given && given.bus === 'mdev';
  const isSoft = isMediated && found.id === 'iommu' && found.status === 'bad';
  return isSoft ? { ...found, status: 'warning' } : found;
}

function* ofDevice(given: SysfsDevice | Finding, place: Place): Steps<Finding[]> {
  return 'id' in given ? [given] : yield* deviceFindings(given, place);
}

/** The device, or that what was given leads to none. */
function deviceOf(spec: DeviceSpec, { roots }: Place): SysfsDevice | Finding {
  parseSpec(spec, roots);
  try {
    return inSysfs(resolveSpec(spec, roots), roots);
  } catch (error) {
    if (!(error instanceof VfioError)) throw error;
    const mend = 'ls /sys/bus/*/devices shows the devices there are';
    const status = isKnownAbsent(error, roots) ? 'bad' : 'unknown';
    return finding('device', nameOf(spec), [status, error.message, error.hint ?? mend]);
  }
}

/** That nothing is found says that nothing is there only where it could be looked at. */
function isKnownAbsent({ code }: VfioError, roots: Roots): boolean {
  if (code === 'ENOENT' || code === 'EBADF') return true;
  const isJudged = code === 'ERR_VFIO_NO_DEVICE' || code === 'ERR_VFIO_NODE_MISMATCH';
  return isJudged && hiddenNumbers(roots) === undefined;
}

function nameOf(spec: DeviceSpec): string {
  return typeof spec === 'object' ? spec.address : String(spec);
}

function* devices({ roots, procRoot, runRoot }: Place): Steps<Seen> {
  const all = yield* either(
    () => listDevices(roots),
    () => listDevicesSync(roots),
  );
  const bound = all.filter(({ boundToVfio }) => boundToVfio);
  if (bound.length > 0) {
    const usage = yield* either(
      () => usageUnlessHidden({ ...roots, procRoot, runRoot }),
      () => undefined,
    );
    const names = bound.map((device) => {
      const open = openIn(device, usage);
      return `${device.address} (${device.driver ?? 'no name'}${open && `, open in ${open}`})`;
    });
    return ['ok', `with a VFIO driver: ${names.join(', ')}${unseenIn(usage)}`];
  }
  if (all.length === 0)
    return ['warning', 'no device has an IOMMU group', 'see the finding iommu of the host'];
  const those = all.length === 1 ? 'the one device' : `none of the ${all.length} devices`;
  return [
    'warning',
    `${those} with an IOMMU group has ${all.length === 1 ? 'no' : 'a'} VFIO driver`,
    'vfio list --all shows them; vfio doctor <device> says what one lacks, and what binding it would take from the host',
  ];
}

/** What is searched for here is said of each device by the doctor of it, too. */
function usageUnlessHidden(options: HostRootOptions): Promise<Usage | undefined> {
  return readUsage(options).catch((error: unknown) => {
    if (error instanceof VfioError) return undefined;
    throw error;
  });
}

function openIn({ bus, address }: ListedDevice, usage: Usage | undefined): string {
  const used = usage?.devices.find((each) => each.bus === bus && each.address === address);
  const named = (used?.pids ?? []).map((pid) => {
    const command = usage?.processes.find((each) => each.pid === pid)?.command ?? '';
    return `process ${pid} (${command})`;
  });
  return named.join(' and ');
}

/** That nobody is named says that nobody has it open only where all could be looked at. */
function unseenIn(usage: Usage | undefined): string {
  if (usage === undefined) return '';
  const { hidden, searched } = usage;
  if (hidden > 0) {
    return `; ${counted(hidden, 'process', 'processes')} may not be looked at by this user, and may have some open: root sees all`;
  }
  return searched ? '' : '; not all processes were looked at, which may have some open';
}
