import { basename } from 'node:path';
import type { VfioError } from '../core/errors.ts';
import type { SysfsDevice } from '../core/location.ts';
import type { Cause, Certainty, GroupMember, Holding } from '../core/reasons.ts';
import type { Steps } from '../core/steps.ts';
import { readAttribute, readLinkText } from '../locate/sysfs.ts';
import { sysfsAbsent, tokenCause } from './device_causes.ts';
import { groupOf, type IommuGroup, type Member, membersIn } from './group.ts';
import { foundNobody, notSearched, type Search } from './holders.ts';
import type { Subject, Suspicion } from './subject.ts';

/** A descriptor that a group gave for a device has no node. */
const legacyDevice = 'anon_inode:[vfio-device]';

/** What VFIO_DEVICE_BIND_IOMMUFD refuses, by errno (drivers/vfio/device_cdev.c, iommu/iommufd). */
export function* bindCause({ code }: VfioError, subject: Subject): Steps<Suspicion | undefined> {
  const { node, roots } = subject;
  if (node === undefined) return undefined;
  if (code === 'EACCES') return { cause: tokenCause(node.device) };
  if (code === 'EINVAL') return heldByCdev({ numbers: [`${node.major}:${node.minor}`] });
  if (code !== 'EBUSY' && code !== 'EPERM') return undefined;
  return yield* byGroup(node.device, roots.sysfsRoot, (group) =>
    code === 'EBUSY'
      ? heldByGroup(group.group, roots.sysfsRoot)
      : refusedGroup(group, node.device, { sysfsRoot: roots.sysfsRoot, module: 'iommufd' }),
  );
}

/** What `causeOf` says of the device's group, where it can be seen which devices are in it. */
function* byGroup(
  device: SysfsDevice,
  sysfsRoot: string,
  causeOf: (group: IommuGroup) => Suspicion | undefined,
): Steps<Suspicion | undefined> {
  const group = yield* groupOf(device, sysfsRoot);
  if (group === undefined) return undefined;
  if (!('path' in group)) return causeOf(group);
  const cause = sysfsAbsent(group);
  return cause && { cause };
}

function heldByCdev(numbers: Numbers): Suspicion {
  return held(numbers, (holding, certainty) => ({
    reason: 'held-by-cdev',
    certainty,
    facts: holding,
  }));
}

function heldByGroup(group: number, sysfsRoot: string): Suspicion {
  const numbers = readAttribute(`${sysfsRoot}/class/vfio/${group}/dev`);
  const known = numbers === undefined ? { numbers: [], isPartial: true } : { numbers: [numbers] };
  return held(known, (holding, certainty) => ({
    reason: 'held-by-group',
    certainty,
    facts: { group, ...holding },
  }));
}

function held(
  numbers: Numbers,
  causeOf: (holding: Holding, certainty: Certainty) => Cause,
): Suspicion {
  return {
    cause: causeOf(notSearched, 'likely'),
    search: { ...numbers, targets: [legacyDevice] },
    settle: (holding) => causeOf(holding, certaintyOf(holding)),
  };
}

/**
 * Opening is not exclusive: of several who have a descriptor only one is in the way. It may be one
 * of a pid namespace that is not to be seen from here.
 */
function certaintyOf({ holders, hidden, searched }: Holding): Certainty {
  const isOne = searched && hidden === 0 && holders.length === 1;
  return isOne && seesAllNamespaces() ? 'certain' : 'likely';
}

/**
 * The kernel's number of the first pid namespace, from which all others are seen
 * (PROC_PID_INIT_INO).
 */
const firstNamespace = 'pid:[4026531836]';

function seesAllNamespaces(): boolean {
  return readLinkText('/proc/self/ns/pid') === firstNamespace;
}

/** Which of the kernel's modules decides whether interrupts are safe. */
interface Judge {
  sysfsRoot: string;
  module: 'iommufd' | 'vfio_iommu_type1';
}

/** EPERM has three causes, told apart by what is in the group. */
function refusedGroup(
  whole: IommuGroup,
  device: SysfsDevice,
  { sysfsRoot, module }: Judge,
): Suspicion | undefined {
  const { group, members } = whole;
  const unviable = notViable(whole);
  if (unviable) return unviable;
  const shown = members.map(withoutCdevs);
  const parameter = `${sysfsRoot}/module/${module}/parameters/allow_unsafe_interrupts`;
  const allowed = readAttribute(parameter);
  const unsafe: Cause | undefined =
    allowed === 'N'
      ? { reason: 'unsafe-interrupts', certainty: 'certain', facts: { group, parameter } }
      : undefined;
  const numbers = numbersOf(members.filter(({ address }) => address !== device.address));
  if (numbers.length === 0) {
    // The module that refuses has the parameter.
    const unseen = allowed === undefined ? { path: parameter, code: 'ENOENT' } : undefined;
    const cause = unsafe ?? sysfsAbsent(unseen);
    return cause && { cause };
  }
  const owned = (holding: Holding): Cause => ({
    reason: 'group-owned',
    // Only where it is known that they are allowed.
    certainty: allowed === 'Y' ? 'certain' : 'likely',
    facts: { group, members: shown, ...holding },
  });
  return {
    cause: owned(notSearched),
    search: { numbers, targets: [legacyDevice] },
    // The hint for unsafe interrupts gives up a protection.
    settle: (holding) =>
      unsafe && foundNobody(holding) ? { ...unsafe, certainty: 'likely' } : owned(holding),
  };
}

/** A device of the group has a host driver. */
export function notViable({ group, members }: IommuGroup): Suspicion | undefined {
  const shown = members.map(withoutCdevs);
  if (shown.every(({ verdict }) => verdict === 'ok')) return undefined;
  const facts = { group, members: shown };
  return { cause: { reason: 'group-not-viable', certainty: 'certain', facts } };
}

function withoutCdevs(member: Member): GroupMember {
  const { bus, address, driver, verdict, uses, unseen, bridge } = member;
  return {
    ...{ bus, address, driver, verdict },
    ...(uses && { uses }),
    ...(unseen && { unseen }),
    ...(bridge && { bridge }),
  };
}

/** `major:minor` of cdevs whose holders are searched for. */
type Numbers = Pick<Search, 'numbers' | 'isPartial'>;

/**
 * The numbers of the members' cdevs. A kernel that makes no nodes for cdevs has their folders, and
 * no numbers.
 */
function numbersOf(members: readonly Member[]): string[] {
  return members
    .flatMap(({ cdevs, folder }) => cdevs.map((name) => `${folder}/vfio-dev/${name}/dev`))
    .map(readAttribute)
    .filter((numbers) => numbers !== undefined);
}

/** What a group or its container refuses (drivers/vfio/group.c, container.c). */
export function* groupCause(error: VfioError, subject: Subject): Steps<Suspicion | undefined> {
  const { code, request } = error;
  const { node, roots } = subject;
  if (node === undefined) return undefined;
  if (code === 'EACCES') return { cause: tokenCause(node.device) };
  if (code !== 'EPERM' && code !== 'EBUSY' && code !== 'ERR_VFIO_GROUP_NOT_VIABLE')
    return undefined;
  const module = request === 'VFIO_SET_IOMMU' ? 'vfio_iommu_type1' : 'iommufd';
  return yield* byGroup(node.device, roots.sysfsRoot, (group) =>
    code === 'ERR_VFIO_GROUP_NOT_VIABLE'
      ? notViable(group)
      : refusedGroup(group, node.device, { sysfsRoot: roots.sysfsRoot, module }),
  );
}

/** Opening `/dev/vfio/<group>` answers EBUSY where the group is open, or a cdev of it bound. */
export function* groupNodeCause(path: string, { roots }: Subject): Steps<Suspicion | undefined> {
  const group = /^\/vfio\/(\d+)$/.exec(path.slice(roots.devRoot.length))?.[1];
  if (group === undefined) return undefined;
  const { sysfsRoot } = roots;
  const folder = `${sysfsRoot}/kernel/iommu_groups/${group}/devices`;
  const members = yield* membersIn(folder, sysfsRoot);
  const isPartial = members === undefined || members.length === 0;
  const numbers = numbersOf(members ?? []);
  const holder = heldByGroup(Number(group), sysfsRoot);
  // A kernel without cdevs has no numbers of them.
  if (numbers.length === 0 && !isPartial) return holder;
  return { ...holder, otherwise: heldByCdev({ numbers, isPartial }) };
}

/** EPERM of a node for devices without an IOMMU. */
export function noRawioCause(path: string): Cause | undefined {
  if (!basename(path).startsWith('noiommu-')) return undefined;
  return { reason: 'no-rawio', certainty: 'likely', facts: { path } };
}
