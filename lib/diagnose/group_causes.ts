import { basename } from 'node:path';
import type { VfioError } from '../core/errors.ts';
import type { Cause } from '../core/reasons.ts';
import type { Steps } from '../core/steps.ts';
import {
  heldByCdev,
  heldByGroup,
  hiddenMembers,
  notViable,
  numbersOf,
  refusedGroup,
} from './bind_causes.ts';
import { tokenCause } from './device_causes.ts';
import { groupOf, membersIn } from './group.ts';
import type { Subject, Suspicion } from './subject.ts';

/** What a group or its container refuses (drivers/vfio/group.c, container.c). */
export function* groupCause(error: VfioError, subject: Subject): Steps<Suspicion | undefined> {
  const { code, request } = error;
  const { node, roots } = subject;
  if (node === undefined) return undefined;
  if (code === 'EACCES') return { cause: tokenCause(node.device) };
  if (code !== 'EPERM' && code !== 'EBUSY' && code !== 'ERR_VFIO_GROUP_NOT_VIABLE')
    return undefined;
  const group = yield* groupOf(node.device, roots.sysfsRoot);
  if (group === undefined) return undefined;
  if ('path' in group) return hiddenMembers(group);
  if (code === 'ERR_VFIO_GROUP_NOT_VIABLE') return notViable(group);
  const module = request === 'VFIO_SET_IOMMU' ? 'vfio_iommu_type1' : 'iommufd';
  return refusedGroup(group, node.device, { sysfsRoot: roots.sysfsRoot, module });
}

/** Opening `/dev/vfio/<group>` answers EBUSY where the group is open, or a cdev of it bound. */
export function* groupNodeCause(path: string, { roots }: Subject): Steps<Suspicion | undefined> {
  const group = /^\/vfio\/(\d+)$/.exec(path.slice(roots.devRoot.length))?.[1];
  if (group === undefined) return undefined;
  const { sysfsRoot } = roots;
  const folder = `${sysfsRoot}/kernel/iommu_groups/${group}/devices`;
  const members = yield* membersIn(folder, sysfsRoot);
  const unseen = members === undefined || members.length === 0;
  const byCdev = heldByCdev(unseen ? { numbers: [], isPartial: true } : numbersOf(members));
  return { ...heldByGroup(Number(group), roots.sysfsRoot), otherwise: byCdev };
}

/** EPERM of a node for devices without an IOMMU. */
export function noRawioCause(path: string): Cause | undefined {
  if (!basename(path).startsWith('noiommu-')) return undefined;
  return { reason: 'no-rawio', certainty: 'likely', facts: { path } };
}
