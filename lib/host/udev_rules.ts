import { invalidType, invalidValue, requireObject } from '../core/arguments.ts';
import type { DeviceAddress, DeviceSpec, Roots } from '../core/location.ts';
import { describeDevice } from '../diagnose/explain.ts';
import { parseSpec } from '../locate/resolve.ts';
import { type RootOptions, rootsOf } from '../locate/roots.ts';

/** Whom {@link udevRules} gives which devices. */
export interface UdevRulesOptions extends RootOptions {
  /** The name of the Unix group whose members may open the nodes. */
  group: string;
  /** The devices, with a VFIO driver or without one yet; all that there are if absent. */
  devices?: readonly DeviceSpec[] | undefined;
  /**
   * The nodes' mode, 0o660 if absent. The group reads and writes, nobody executes; 0o666 lets
   * everyone in.
   */
  mode?: number | undefined;
}

/**
 * Udev rules (udev(7)) that give the members of a Unix group the nodes of VFIO devices: their
 * cdevs, their legacy groups and `/dev/iommu`. They are text for a file such as
 * `/etc/udev/rules.d/70-vfio-<group>.rules`, with comments that say what each right means. Devices
 * that are named are looked up in sysfs, and their rules go by address, whatever numbers the kernel
 * gives their nodes. Nodes of devices without an IOMMU (`noiommu-…`) stay root's. Nothing is
 * written, and whether the group exists is not looked at.
 *
 * @throws TypeError `ERR_INVALID_ARG_TYPE`; `ERR_INVALID_ARG_VALUE` also for an empty list of
 *   devices, and for a device whose address no rule can name exactly
 * @throws VfioError `ERR_VFIO_NO_DEVICE`
 */
export function udevRules(options: UdevRulesOptions): string {
  requireObject('options', options);
  const { group, devices, mode = 0o660 } = options;
  const rights = `GROUP="${checkGroup(group)}", MODE="${octal(checkMode(mode))}"`;
  const roots = rootsOf(options);
  const named = devices === undefined ? undefined : locate(devices, roots);
  const who = isForAll(mode) ? 'Every user of this machine' : `Members of the group ${group}`;
  const parts = [header(who), ...(named === undefined ? all(rights) : only(named, rights))];
  return `${[...parts, iommufd(rights), container].join('\n\n')}\n`;
}

const groupName = /^[A-Za-z_][A-Za-z0-9_.-]{0,31}$/;

/** Neither quotes nor what udev replaces ($, %) nor an end of the line. */
function checkGroup(group: unknown): string {
  const expected =
    'the name of a Unix group: a letter or _, then letters, digits and . _ -, at most 32 in all';
  if (typeof group !== 'string') throw invalidType('group', expected, group);
  if (!groupName.test(group)) throw invalidValue('group', expected, group);
  return group;
}

function checkMode(mode: unknown): number {
  const expected =
    'a mode that lets the group read and write, and nobody execute, such as 0o660 (432)';
  if (typeof mode !== 'number') throw invalidType('mode', expected, mode);
  const isMode = Number.isInteger(mode) && mode >= 0 && mode <= 0o777;
  if (!isMode || (mode & 0o060) !== 0o060 || (mode & 0o111) !== 0) {
    throw invalidValue('mode', expected, mode);
  }
  return mode;
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, '0');
}

function isForAll(mode: number): boolean {
  return (mode & 0o006) === 0o006;
}

/** Looks nothing up before all of them make sense. */
function locate(devices: unknown, roots: Roots): DeviceAddress[] {
  const expected = 'an array of at least one device; absent for all devices';
  if (!Array.isArray(devices)) throw invalidType('devices', expected, devices);
  if (devices.length === 0) throw invalidValue('devices', expected, devices);
  const specs = devices as DeviceSpec[];
  for (const spec of specs) parseSpec(spec, roots);
  return specs.map((spec) => checkName(describeDevice(spec, roots)));
}

/** In a rule `*`, `?`, `[` and `|` are patterns, `$` and `%` are replaced, `"` ends the value. */
const exactName = /^[A-Za-z0-9:._@,+-]+$/;

function checkName({ bus, address }: DeviceAddress): DeviceAddress {
  if (exactName.test(bus) && exactName.test(address)) return { bus, address };
  throw invalidValue('device', 'a device whose address a udev rule can name exactly', address);
}

/** By this a file of this command is known. */
const firstLine = '# Written by vfio udev, which replaces the whole file when it is run again.';

function header(who: string): string {
  return `${firstLine}
# ${who} may open these nodes of VFIO without being root.`;
}

const aboutCdevs = `# Whoever opens a device's cdev can reset the device, program it, and have it read and write memory:
# but only memory that the same process has mapped for it, since the IOMMU stops all else.`;

const aboutGroups = `# Kernels without cdevs, such as Debian's: legacy groups, /dev/vfio/<N>. Whoever opens one has all
# devices of that IOMMU group.`;

const aboutNoiommu = `# Nodes whose names begin with noiommu- are not given: such a device reaches all memory.`;

function all(rights: string): string[] {
  return [
    `${aboutCdevs}
SUBSYSTEM=="vfio-dev", KERNEL=="vfio[0-9]*", ${rights}`,
    `${aboutGroups}
${aboutNoiommu}
SUBSYSTEM=="vfio", KERNEL=="[0-9]*", ${rights}`,
  ];
}

function only(devices: readonly DeviceAddress[], rights: string): string[] {
  const cdevs = devices.map(
    ({ bus, address }) =>
      `SUBSYSTEM=="vfio-dev", KERNEL=="vfio[0-9]*", SUBSYSTEMS=="${bus}", KERNELS=="${address}", ${rights}`,
  );
  const groups = devices.map(
    ({ address }) =>
      `SUBSYSTEM=="vfio", KERNEL=="[0-9]*", TEST=="/sys/kernel/iommu_groups/%k/devices/${address}", ${rights}`,
  );
  return [
    `${aboutCdevs}
# The rules go by the device to which a cdev belongs: the number in vfio<N> changes with every binding.
${cdevs.join('\n')}`,
    `${aboutGroups}
# The number of a group is not the same after every boot, and a group's node belongs to no device in
# sysfs. So the rules ask in which group the device is now.
${aboutNoiommu}
${groups.join('\n')}`,
  ];
}

function iommufd(rights: string): string {
  return `# The iommufd, in which address spaces for cdevs are made. It alone reaches no device. But whoever may
# open it can have memory pinned, which is never swapped out: up to RLIMIT_MEMLOCK (ulimit -l), which
# /etc/security/limits.d sets for logins and LimitMEMLOCK= for units of systemd.
SUBSYSTEM=="misc", KERNEL=="iommu", ${rights}`;
}

/** It has mode 0666 by `drivers/vfio/container.c`, and by udev's own rules. */
const container = `# The container of legacy groups, /dev/vfio/vfio, needs no rule: the kernel gives it to everyone (mode
# 0666), since it can do nothing without a group.`;
