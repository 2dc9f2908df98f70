import { binding } from '../core/binding.ts';
import { check } from '../core/call.ts';
import { VfioError } from '../core/errors.ts';
import type { Roots } from '../core/location.ts';
import type { SharedTokens } from '../core/shared_token.ts';
import type { AddressSpace } from '../iommu/address_space.ts';
import { Ioas } from '../iommu/ioas.ts';
import { Iommufd } from '../iommu/iommufd.ts';
import { SharedCount } from '../iommu/shared_count.ts';
import { Container } from './container.ts';
import { ContainerSpace } from './container_space.ts';
import { Groups } from './groups.ts';

/** Where a group's devices have their address space: a container, or an iommufd in its place. */
export interface GroupContainer {
  readonly groups: Groups;
  readonly container: Container | undefined;
  readonly iommufd: Iommufd | undefined;
  /** The same, where the device opened it and is to close it. */
  readonly own: Container | Iommufd | undefined;
  createIoas: () => AddressSpace;
  /** For another thread's {@link sharedHost}. */
  share: () => SharedTokens['group-device']['groupContainer'];
  /** Whether that is the address space which its devices are in. */
  isOwn: (target: AddressSpace) => boolean;
}

/** A type1 container: the one given, or one of the device's own. */
export function vfioContainer(roots: Roots, given: Container | undefined): GroupContainer {
  const container = given ?? Container.openFor(roots);
  const own = given ? undefined : container;
  const { groups, owned } = container;
  return {
    groups,
    container,
    iommufd: undefined,
    own,
    createIoas: () => container.createIoas(),
    share: () => ({ container: { fd: owned.offer(), path: owned.path } }),
    isOwn: (target) => ContainerSpace.isContainerSpace(target) && target.container === owned,
  };
}

/** A container without an IOMMU maps nothing. */
export function noiommuContainer(roots: Roots, given: Container | undefined): GroupContainer {
  return {
    ...vfioContainer(roots, given),
    createIoas: () => {
      throw new VfioError({
        code: 'ERR_VFIO_WRONG_BACKEND',
        message: 'without an IOMMU a container maps nothing: DMA is to physical addresses',
      });
    },
  };
}

/** An iommufd as container: the one given, or one of the device's own. */
export function compatContainer(roots: Roots, given: Iommufd | undefined): GroupContainer {
  const iommufd = given ?? Iommufd.openFor(roots);
  const own = given ? undefined : iommufd;
  const { groups, sharedCount } = sideOf(iommufd);
  return {
    groups,
    container: undefined,
    iommufd,
    own,
    share: () => ({ iommufd: iommufd.share() }),
    createIoas: () => {
      const counted = SharedCount.take(sharedCount.offer(), 'the IOAS');
      const ioas = Ioas.adoptShared(iommufd.parent, compatId(iommufd), counted);
      ioas.attached('');
      return ioas;
    },
    isOwn: (target) =>
      Ioas.isIoas(target) &&
      target.iommufdIdentity === iommufd.identity &&
      target.id === compatId(iommufd),
  };
}

/** What an iommufd has besides where groups use it. */
interface CompatSide {
  groups: Groups;
  /**
   * Its own part in the address space: others who have it never are the last, and destroy it not.
   */
  sharedCount: SharedCount;
}

const sides = new WeakMap<Iommufd, CompatSide>();

function sideOf(iommufd: Iommufd): CompatSide {
  const known = sides.get(iommufd);
  if (known) return known;
  // The kernel makes the address space with the first group, and keeps it.
  const side = {
    groups: new Groups(iommufd.owned, {}),
    sharedCount: SharedCount.make(),
  };
  sides.set(iommufd, side);
  return side;
}

/** IOMMU_VFIO_IOAS_GET */
const vfioIoasGet = 0;

function compatId(iommufd: Iommufd): number {
  const call = { syscall: 'ioctl', request: 'IOMMU_VFIO_IOAS', path: iommufd.owned.path };
  return check(binding().compatIoas(iommufd.owned.native, vfioIoasGet, 0), call);
}
