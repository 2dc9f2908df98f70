import { basename } from 'node:path';
import { fs } from '../builtins.ts';
import type { VfioError } from '../errors.ts';
import { isCdevName } from '../locate/path.ts';
import { numbersOf } from '../locate/resolve.ts';
import { readAttribute, readLinkName, undefinedIfMissing } from '../locate/sysfs.ts';
import type { Cause } from '../reasons.ts';
import { absentGroup, noRawioCause } from './group_causes.ts';
import { permissionCause } from './permission.ts';
import type { Subject } from './subject.ts';

/** Why a node could not be opened, or is not the one that sysfs names. */
export function nodeCause({ code, path = '' }: VfioError, subject: Subject): Cause | undefined {
  const isIommufd = path === `${subject.roots.devRoot}/iommu`;
  switch (code) {
    case 'ENOENT':
      return isIommufd ? iommufdCause(path, subject) : absentNode(path, subject);
    case 'EACCES':
      return permissionCause(path);
    case 'EPERM':
      return noRawioCause(path) ?? cgroupCause(path);
    case 'ENXIO':
    case 'ERR_VFIO_NODE_MISMATCH':
      return staleNode(path, subject);
    default:
      return undefined;
  }
}

/** /dev/iommu is not there: has the kernel one? */
function iommufdCause(path: string, { roots: { sysfsRoot } }: Subject): Cause {
  const numbers = readAttribute(`${sysfsRoot}/class/misc/iommu/dev`);
  if (numbers !== undefined) return absent(path, numbers);
  const facts = { release: process.getBuiltinModule('node:os').release() };
  return isModuleInstalled(facts.release)
    ? { reason: 'iommufd-not-loaded', certainty: 'certain', facts }
    : { reason: 'iommufd-absent', certainty: 'likely', facts };
}

/** depmod's list has every module there is, wherever it lies. */
function isModuleInstalled(kernel: string): boolean {
  const list = `/lib/modules/${kernel}/modules.dep`;
  const text = undefinedIfMissing('open', list, () => fs.readFileSync(list, 'utf8')) ?? '';
  return /\/iommufd\.ko(?:\.\w+)?:/.test(text);
}

/** The node of a cdev is not there: does sysfs know the cdev? */
function absentNode(path: string, subject: Subject): Cause | undefined {
  const { sysfsRoot, devRoot } = subject.roots;
  const ofGroup = absentGroup(path, subject);
  if (ofGroup !== undefined) return absent(path, ofGroup);
  const name = basename(path);
  const numbers = readAttribute(`${sysfsRoot}/class/vfio-dev/${name}/dev`);
  if (numbers !== undefined) return absent(path, numbers);
  if (path !== `${devRoot}/vfio/devices/${name}` || !isCdevName(name)) return undefined;
  return { reason: 'no-such-cdev', certainty: 'certain', facts: { path } };
}

function absent(path: string, numbers: string): Cause {
  return { reason: 'node-absent', certainty: 'certain', facts: { path, numbers } };
}

function cgroupCause(path: string): Cause {
  const facts = { path, numbers: numbersAt(path) ?? '' };
  return { reason: 'device-cgroup', certainty: 'likely', facts };
}

function staleNode(path: string, { node, roots: { sysfsRoot } }: Subject): Cause | undefined {
  const found = numbersAt(path) ?? null;
  const expected = node ? `${node.major}:${node.minor}` : null;
  // A node that the kernel has right now is refused for another reason.
  if (found !== null && found === expected && isInSysfs(sysfsRoot, found)) return undefined;
  return { reason: 'stale-node', certainty: 'certain', facts: { path, expected, found } };
}

function isInSysfs(sysfsRoot: string, numbers: string): boolean {
  return readLinkName(`${sysfsRoot}/dev/char/${numbers}`) !== undefined;
}

/** `major:minor` of what a path leads to; undefined for what is no character device. */
function numbersAt(path: string): string | undefined {
  const stat = undefinedIfMissing('stat', path, () => fs.statSync(path, { bigint: true }));
  return stat?.isCharacterDevice() === true ? numbersOf(stat) : undefined;
}
