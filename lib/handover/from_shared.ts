import { BoundCdev } from '../backend/cdev_device.ts';
import { Container } from '../backend/container.ts';
import {
  compatContainer,
  vfioContainer,
  type GroupContainer,
  noiommuContainer,
} from '../backend/group_container.ts';
import type { ContainerSpace } from '../backend/container_space.ts';
import { GroupDevice } from '../backend/group_device.ts';
import { readOpened } from '../backend/opened.ts';
import { binding, type NativeFd, type NativeMapping, type NativeMemory } from '../core/binding.ts';
import { check } from '../core/call.ts';
import { EINVAL } from '../core/errno.ts';
import type { Roots } from '../core/location.ts';
import { OwnedFd } from '../core/owned_fd.ts';
import { checkToken, type SharedToken, taken, wrongToken } from '../core/shared_token.ts';
import { type HasClose, closing, closingAll, run, runSync, undoAndThrow } from '../core/steps.ts';
import { VfioDevice } from '../device/device.ts';
import { joinOwners } from '../interrupt/interrupts.ts';
import type { AddressSpace } from '../iommu/address_space.ts';
import { SharedVector } from '../interrupt/shared_vector.ts';
import { DmaBuffer } from '../iommu/dma_buffer.ts';
import { DmaPool } from '../iommu/dma_pool.ts';
import { Ioas } from '../iommu/ioas.ts';
import { Iommufd } from '../iommu/iommufd.ts';
import type { DmaMapping } from '../iommu/mapping.ts';
import { Memory } from '../iommu/memory.ts';
import { SharedCount } from '../iommu/shared_count.ts';
import { MappedRegion } from '../region/mapped_region.ts';
import { OpenMappings } from '../region/owner.ts';

/** What a token of each kind becomes. */
export interface SharedObjects {
  /** Of {@link Iommufd.share}. */
  iommufd: Iommufd;
  /** Of {@link Ioas.share}. */
  ioas: Ioas;
  /** Of {@link ContainerSpace.share}. */
  'container-space': ContainerSpace;
  /** Of {@link DmaBuffer.share}. */
  'dma-buffer': DmaBuffer;
  /** Of {@link DmaMapping.share}. */
  'dma-mapping': DmaMapping;
  /** Of {@link DmaPool.share}. */
  'dma-pool': DmaPool;
  /** Of {@link InterruptVector.share}. */
  vector: SharedVector;
  /** Of {@link MappedRegion.share}. */
  region: MappedRegion;
  /** Of {@link VfioDevice.share}, of a device that was opened by its cdev. */
  device: VfioDevice;
  /** Of {@link VfioDevice.share}, of one that was opened by its group. */
  'group-device': VfioDevice;
}

/**
 * The object that another thread shared, with this thread as one more owner: the last that closes
 * it closes it in the kernel. A token can be used any number of times, in every thread of the
 * process, while somebody has the object open.
 *
 * @throws TypeError for what is no token of this process
 * @throws VfioError `ERR_VFIO_CLOSED` where nobody has it open any more
 */
export function fromShared<Kind extends keyof SharedObjects>(
  token: SharedToken<Kind>,
): SharedObjects[Kind];

export function fromShared(token: SharedToken): SharedObjects[keyof SharedObjects] {
  checkToken(token);
  switch (token.kind) {
    case 'iommufd':
      return iommufdOf(token);
    case 'ioas':
      return ioasOf(token);
    case 'container-space':
      return containerSpaceOf(token);
    case 'dma-buffer':
      return bufferOf(token);
    case 'dma-mapping':
      return mappingOf(token);
    case 'dma-pool':
      return poolOf(token);
    case 'vector':
      return SharedVector.adopt(token);
    case 'region':
      return regionOf(token);
    case 'device':
      return deviceOf(token);
    case 'group-device':
      return groupDeviceOf(token);
  }
}

function iommufdOf({ fd, path, identity }: SharedToken<'iommufd'>): Iommufd {
  return Iommufd.adopt(takeFd(fd, 'the iommufd', path), identity);
}

function ioasOf({ iommufd, id, sharedCount }: SharedToken<'ioas'>): Ioas {
  const own = iommufdOf(iommufd);
  try {
    const counted = SharedCount.take(sharedCount, 'the IOAS');
    return Ioas.adoptShared(own.parent, id, counted, own);
  } catch (error) {
    return runSync(undoAndThrow(error, closing(own)));
  }
}

function bufferOf(token: SharedToken<'dma-buffer'>): DmaBuffer {
  const { memory, size } = token;
  const answer = binding().memoryTake(memory, size);
  if (answer === EINVAL) throw wrongToken(token, 'size');
  const handle = taken(answer, 'the DMA memory') as NativeMemory;
  return DmaBuffer.adopt(new Memory(handle, size));
}

function containerSpaceOf({ fd, path }: SharedToken<'container-space'>): ContainerSpace {
  return Container.adoptSpace(takeFd(fd, 'the container', path));
}

function spaceOf(token: SharedToken<'ioas' | 'container-space'>): AddressSpace {
  return token.kind === 'ioas' ? ioasOf(token).asPart() : containerSpaceOf(token);
}

/** It has a space and a buffer of its own, which go with it. */
function mappingOf(token: SharedToken<'dma-mapping'>): DmaMapping {
  const { iova, size, bufferOffset } = token;
  if (size === 0 || bufferOffset + size > token.buffer.size) throw wrongToken(token, 'size');
  const opened: HasClose[] = [];
  try {
    const space = spaceOf(token.space);
    opened.unshift(space);
    const buffer = bufferOf(token.buffer);
    opened.unshift(disposing(buffer));
    const owners = SharedCount.take(token.owners, 'the DMA mapping');
    const source = { size, length: BigInt(size), buffer, bufferOffset };
    return space.adoptMapping(iova, source, owners, asOne(opened));
  } catch (error) {
    return runSync(undoAndThrow(error, closingAll(opened)));
  }
}

function poolOf(token: SharedToken<'dma-pool'>): DmaPool {
  const { chunkSize, hugePages, populate } = token;
  const space = spaceOf(token.space);
  try {
    return DmaPool.adoptShared(space, { chunkSize, hugePages, populate });
  } catch (error) {
    return runSync(undoAndThrow(error, closing(space)));
  }
}

function disposing(buffer: DmaBuffer): HasClose {
  return {
    close: () => buffer.dispose(),
    closeSync: () => {
      buffer.disposeSync();
    },
  };
}

function asOne(all: readonly HasClose[]): HasClose {
  return {
    close: () => run(closingAll(all)),
    closeSync: () => {
      runSync(closingAll(all));
    },
  };
}

/** Mapped memory keeps the device by itself: the descriptor goes at once. */
function regionOf(token: SharedToken<'region'>): MappedRegion {
  const { location, name, offset, size, high, low, readOnlyStart, readOnlyEnd } = token;
  const { path, device } = location;
  const fd = takeFd(token.fd, `the device ${device.address}`, path);
  const opened: HasClose[] = [fd];
  try {
    // So that the mapping hears of what the device tells.
    joinOwners(fd, device);
    const part = [offset, size, readOnlyStart, readOnlyEnd] as const;
    const answer = binding().map(fd.native, high, low, ...part);
    if (answer === undefined) throw wrongToken(token, 'size');
    const call = { syscall: 'mmap', device: device.address, region: name, path };
    const owner = { fd, location, mappings: new OpenMappings() };
    const readOnly = { start: readOnlyStart, end: readOnlyEnd };
    const area = { offset, size, owner, name, readOnly, high, low };
    const region = MappedRegion.adopt(area, check(answer, call) as NativeMapping);
    opened.unshift(region);
    fd.closeSync();
    return region;
  } catch (error) {
    return runSync(undoAndThrow(error, closingAll(opened)));
  }
}

function deviceOf(token: SharedToken<'device'>): VfioDevice {
  const { location, devId, sysfsRoot, devRoot } = token;
  const opened: HasClose[] = [];
  try {
    const fd = takeFd(token.fd, `the cdev of ${location.device.address}`, location.path);
    opened.push(fd);
    const iommufd = iommufdOf(token.iommufd);
    opened.push(iommufd);
    const node = { location, fd, roots: { sysfsRoot, devRoot } };
    const info = runSync(readOpened(node));
    const target = { iommufd, own: iommufd };
    return VfioDevice.adoptShared(new BoundCdev(node, info, devId, target, 'shared'));
  } catch (error) {
    return runSync(undoAndThrow(error, closingAll(opened)));
  }
}

function groupDeviceOf(token: SharedToken<'group-device'>): VfioDevice {
  const { location, sysfsRoot, devRoot, backend, group } = token;
  const roots = { sysfsRoot, devRoot };
  const opened: HasClose[] = [];
  const take = (offer: number, what: string): OwnedFd => {
    const fd = takeFd(offer, what, location.path);
    opened.unshift(fd);
    return fd;
  };
  try {
    const fd = take(token.fd, `the device ${location.device.address}`);
    const groupFd = take(group.fd, `the group ${group.location.group}`);
    const groupContainer = groupContainerOf(token, roots);
    opened.push(...(groupContainer.own ? [groupContainer.own] : []));
    const joined = groupContainer.groups.adopt({ location: group.location, fd: groupFd, roots });
    const node = { location, fd, roots };
    const info = runSync(readOpened(node));
    return VfioDevice.adoptShared(new GroupDevice(node, info, joined, groupContainer, backend));
  } catch (error) {
    return runSync(undoAndThrow(error, closingAll(opened)));
  }
}

/** It is this thread's own: closed with the device. */
function groupContainerOf(
  { groupContainer, backend }: SharedToken<'group-device'>,
  roots: Roots,
): GroupContainer {
  if ('iommufd' in groupContainer) {
    const iommufd = iommufdOf(groupContainer.iommufd);
    return { ...compatContainer(roots, iommufd), own: iommufd };
  }
  const { fd, path } = groupContainer.container;
  const container = Container.adopt(takeFd(fd, 'the container', path).asPart());
  const make = backend.isolated ? vfioContainer : noiommuContainer;
  return { ...make(roots, container), own: container };
}

function takeFd(offer: number, what: string, path: string): OwnedFd {
  return OwnedFd.adopt(taken(binding().fdTake(offer), what) as NativeFd, what, path);
}
