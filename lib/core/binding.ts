import { loadAddon, requirePlatform } from '../addon.ts';
import { type MapCalls, mapCalls, type MapsByMail } from './map_mail.ts';

declare const fdBrand: unique symbol;

/** A file descriptor that the addon owns: a handle of its table, not the descriptor's number. */
export type NativeFd = number & { readonly [fdBrand]: never };

declare const mappingBrand: unique symbol;

/** Mapped device memory that the addon owns, by a handle like {@link NativeFd}'s; 0 names none. */
export type NativeMapping = number & { readonly [mappingBrand]: never };

declare const preparedBrand: unique symbol;

/** Accesses of a mapping that the addon has ready. */
export type NativePrepared = number & { readonly [preparedBrand]: never };

declare const dmaPollBrand: unique symbol;

/** Where in which memory the addon looks for what is new. */
export type NativeDmaPoll = number & { readonly [dmaPollBrand]: never };

declare const memoryBrand: unique symbol;

/** Memory that the addon has mapped: a handle of another table. */
export type NativeMemory = number & { readonly [memoryBrand]: never };

declare const sharedCountBrand: unique symbol;

/** One of the owners of what the kernel names by a number alone, counted over all threads. */
export type NativeSharedCount = number & { readonly [sharedCountBrand]: never };

/**
 * Where a mapping goes, and what may be done with it there; flags of `enum iommufd_ioas_map_flags`.
 */
type MapTarget = [iommufd: NativeFd, ioas: number, flags: number];

/**
 * What a native function answers: a value of zero or more, or `-errno`. `undefined` says that the
 * addon refused the arguments and made no system call, which is a bug of the caller in `lib/`.
 */
export type Answer = number | undefined;

/**
 * A call that can block: a promise on a thread of the addon's own, and the twin that blocks here.
 */
type Slow<Name extends string, Args extends unknown[], Value = number> = Record<
  Name,
  (...args: Args) => Promise<Value | number> | undefined
> &
  Record<`${Name}Sync`, (...args: Args) => Value | Answer>;

/**
 * What an entry of a folder holds: a file's text, a link's target, a folder's names; 0 where only
 * its presence was asked; or `-errno`.
 */
export type Content = string | string[] | number;

/** One access, whose arguments and result are in the addon's `mailbox`. */
type Access = () => void;

type ReadWriteBlock = (mapping: NativeMapping, offset: number, values: ArrayBufferView) => Answer;

type Batch = (mapping: NativeMapping, offsets: Uint32Array, values: Uint32Array) => Answer;

type Poll = [
  mapping: NativeMapping,
  offset: number,
  mask: number,
  value: number,
  milliseconds: number,
];

type GetInfos = (device: NativeFd, count: number, results: Int32Array, room: Uint32Array) => Answer;

/** `action` is a VFIO_IRQ_SET_ACTION_*; the interrupts of an index are counted from `start`. */
type IrqTarget = [device: NativeFd, action: number, index: number, start: number];

/**
 * A region's start in the device fd, the kernel's own 64-bit number in two halves, an offset in the
 * region, and the bytes.
 */
type Transfer = [device: NativeFd, high: number, low: number, offset: number, bytes: Uint8Array];

/** The addon's functions, each one thing that the kernel offers. */
export type Binding = {
  /** O_CLOEXEC is always set. */
  open: (path: string, flags: number) => Answer;
  /** Fills `[st_mode, major(st_rdev), minor(st_rdev)]`. */
  fstat: (fd: NativeFd, out: Uint32Array) => Answer;
  /**
   * Locks a file for whoever has its open file, also processes that inherit it; answers at once,
   * -EAGAIN where another has the lock. `number` is one of Node's descriptors.
   */
  flock: (number: number) => Answer;
  /** The descriptor's number; -EBADF when closed. */
  fdNumber: (fd: NativeFd) => Answer;
  /** Fills `bytes` of `room` with the kernel's struct, and its capabilities where they fit. */
  getDeviceInfo: (device: NativeFd, bytes: number, room: Uint32Array) => Answer;
  getRegionInfo: (device: NativeFd, index: number, bytes: number, room: Uint32Array) => Answer;
  /**
   * Fills `room` with the bare structs of the first `count` indexes, `results` with 0 or -errno.
   */
  getRegionInfos: GetInfos;
  getIrqInfos: GetInfos;
  /** The text of a small file of the kernel's without its last newline: at most 4,096 bytes. */
  readSmallFile: (path: string) => string | Answer;
  /** The names in a folder, in no order. */
  listFolder: (path: string) => string[] | Answer;
  /** Answers how many bytes were read. */
  pread: (...transfer: Transfer) => Answer;
  pageSize: () => number;
  /** Maps `size` bytes from `offset`; writes between the last two, counted from it, are refused. */
  map: (
    device: NativeFd,
    high: number,
    low: number,
    offset: number,
    size: number,
    readOnlyStart: number,
    readOnlyEnd: number,
  ) => Answer;
  /**
   * The memory, which stays until the ArrayBuffer is collected. Refused where a part is read-only.
   */
  exposeMapping: (mapping: NativeMapping) => ArrayBuffer | Answer;
  /** Where the mapping is in this process. */
  mappingAddress: (mapping: NativeMapping) => bigint | Answer;
  detachBuffer: (buffer: ArrayBuffer) => Answer;
  /** What single accesses read and write, see lib/region/mailbox.ts. */
  mailbox: () => ArrayBuffer;
  /** One register of a device's region, by the mailbox. */
  pread8: Access;
  pread16: Access;
  pread32: Access;
  pread64: Access;
  pwrite8: Access;
  pwrite16: Access;
  pwrite32: Access;
  pwrite64: Access;
  read8: Access;
  read16: Access;
  read32: Access;
  read64: Access;
  write8: Access;
  write16: Access;
  write32: Access;
  write64: Access;
  barrier: Access;
  /** The width of each access is the array's. */
  readBlock: ReadWriteBlock;
  writeBlock: ReadWriteBlock;
  readBatch32: Batch;
  writeBatch32: Batch;
  /** A short row, which the mailbox has. */
  readRows32: Access;
  writeRows32: Access;
  /** `kinds` are those of `Prepared::Access` in native/prepared.h. Answers a NativePrepared. */
  prepare: (mapping: NativeMapping, kinds: Uint8Array, offsets: BigUint64Array) => Answer;
  /** For each access 64 bits, then for each 32: what it writes or has read. */
  preparedValues: (prepared: NativePrepared) => ArrayBuffer | Answer;
  preparedRelease: (prepared: NativePrepared) => Answer;
  /** Makes the accesses that the mailbox names. */
  runPrepared: Access;
  /**
   * `layout` is `[counter, width, mask, value, step, count, most]`, as in native/dma_poll.h.
   * Answers a NativeDmaPoll.
   */
  dmaPoll: (memory: NativeMemory, offset: number, stride: number, layout: Uint32Array) => Answer;
  /** `[first, head]`, which each poll writes. */
  dmaPollState: (poll: NativeDmaPoll) => ArrayBuffer | Answer;
  dmaPollRelease: (poll: NativeDmaPoll) => Answer;
  /** Looks where the mailbox says for what is new. */
  pollMemory: Access;
  /** `runPrepared`, then `pollMemory`. */
  ringAndPoll: Access;
  ioasAlloc: (iommufd: NativeFd) => Answer;
  /** Another descriptor, close-on-exec, for what a number of the caller's stands for. */
  dup: (number: number) => Answer;
  /**
   * The same, of what may have maps: the addon knows the open file again where it has descriptors
   * of it, and keeps what is mapped there as long as any of them is open.
   */
  take: (number: number) => Answer;
  /**
   * The kernel keeps `other` open as long as `fd`, which `bind` and the like find out by
   * themselves.
   */
  hold: (fd: NativeFd, other: NativeFd) => Answer;
  /** 0 where the descriptor is a VM's VFIO device. */
  kvmVfioHasAdd: (kvm: NativeFd) => Answer;
  /** A new eventfd that counts nothing yet. */
  eventfdOpen: () => Answer;
  /** The count, which is 0 from then on; -EAGAIN where it is 0 already. */
  eventfdRead: (event: NativeFd) => Answer;
  /** Adds to the count. */
  eventfdWrite: (event: NativeFd, count: number) => Answer;
  /**
   * Has the environment's loop poll the eventfd and keeps the loop alive; the callback gets each
   * answer of `eventfdRead`. Closing the eventfd ends it. `name` is for the trace: the addon knows
   * none.
   */
  eventfdWatch: (event: NativeFd, callback: (answer: number) => void, name?: string) => Answer;
  /**
   * Has the environment's loop tell, again and again, when a descriptor is readable (1), writable
   * (2) or its other end is gone (4; of a pipe that is an answer below 0), and keeps the loop alive;
   * 0 ends it, as closing does. An answer below 0 is the last.
   */
  fdPoll: (fd: NativeFd, events: number, callback: (answer: number) => void) => Answer;
  /** 1, or 0 where it was not watched. */
  eventfdUnwatch: (event: NativeFd) => Answer;
  /**
   * Has the method called on the receiver with counts, in the callback's place, which goes on
   * getting errors; undefined for both ends that. Answers as `eventfdUnwatch`.
   */
  eventfdMethod: (
    event: NativeFd,
    receiver: object | undefined,
    method: ((count: number) => void) | undefined,
  ) => Answer;
  /** Whether the watch keeps the loop alive; answers as `eventfdUnwatch`. */
  eventfdRef: (event: NativeFd, ref: boolean) => Answer;
  /**
   * Unix sockets whose messages keep their bounds (SOCK_SEQPACKET). None of these blocks: -EAGAIN
   * says that `fdPoll` will tell when to try again. `socketPair` fills the handles of both ends.
   * `socketListen` and `socketConnect` make several system calls: see `checkSteps`.
   */
  socketPair: (out: Uint32Array) => Answer;
  socketListen: (path: string, mode: number, backlog: number) => Answer;
  socketConnect: (path: string) => Answer;
  socketAccept: (listener: NativeFd) => Answer;
  /** 1 of such a socket that does not listen, 0 of another. */
  socketKind: (socket: NativeFd) => Answer;
  /** Fills `[pid, uid, gid]`. */
  socketPeer: (socket: NativeFd, out: Int32Array) => Answer;
  /** `numbers` are those of descriptors. */
  socketSend: (socket: NativeFd, bytes: Uint8Array, numbers: Int32Array) => Answer;
  /**
   * Fills the room with a message, `handles`, of which there are 253, with those of its
   * descriptors, and `out` with `[MSG_… flags, descriptors]`. There is room for `most` descriptors,
   * and a few more may come all the same. Answers its bytes; 0 at the end.
   */
  socketReceive: (
    socket: NativeFd,
    room: Uint8Array,
    most: number,
    handles: Uint32Array,
    out: Int32Array,
  ) => Answer;
  /** A socket that gets the kernel's uevents, with room for so many bytes of them. */
  ueventOpen: (bytes: number) => Answer;
  /**
   * Fills the room with one and answers its bytes; 0 of what the kernel did not send; -EMSGSIZE of
   * what is longer; -EAGAIN where there is none; -ENOBUFS, once, where some were lost.
   */
  ueventReceive: (socket: NativeFd, room: Uint8Array) => Answer;
  /** An inotify descriptor. */
  watchOpen: () => Answer;
  /** Watches a folder's names and their rights; answers the watch's number. */
  watchFolder: (watch: NativeFd, path: string) => Answer;
  /**
   * Waits for a change, and forgets all there were; 0 when the time is up. Blocks, unless `fdPoll`
   * told before that there is one, or no time is given.
   */
  waitForChangeSync: (watch: NativeFd, milliseconds: number) => Answer;
  /** -EINVAL where the kernel knows this request of an iommufd, -ENOTTY where it does not. */
  iommufdProbe: (iommufd: NativeFd, request: number) => Answer;
  /**
   * Fills `[alignment, start, last, start, last, …]`; answers how many ranges there are, which may
   * be more than fit.
   */
  ioasIovaRanges: (iommufd: NativeFd, ioas: number, room: BigUint64Array) => Answer;
  /** `ranges` is `[start, last, start, last, …]`. */
  ioasAllowIovas: (iommufd: NativeFd, ioas: number, ranges: BigUint64Array) => Answer;
  iommuOption: (
    iommufd: NativeFd,
    option: number,
    operation: number,
    object: number,
    value: bigint,
  ) => bigint | Answer;
  /**
   * The address space of groups whose container the iommufd is: asks for it (0), sets it (1), or
   * has groups have none (2).
   */
  compatIoas: (iommufd: NativeFd, operation: number, ioas: number) => Answer;
  /**
   * Where a page of an address space without an IOMMU is in memory; fills `[contiguous bytes]` from
   * there.
   */
  ioasPhysicalAddress: (
    iommufd: NativeFd,
    ioas: number,
    iova: bigint,
    length: bigint,
    out: BigUint64Array,
  ) => bigint | Answer;
  /** The flags of struct vfio_group_status. */
  groupStatus: (group: NativeFd) => Answer;
  containerVersion: (container: NativeFd) => Answer;
  /** Above 0 where the container has the extension. */
  containerCheck: (container: NativeFd, extension: number) => Answer;
  /** Fills `room` with struct vfio_iommu_type1_info and those of its capabilities that fit. */
  containerInfo: (container: NativeFd, room: Uint32Array) => Answer;
  /**
   * Fills `out` with `[capabilities, type, log2 of PASIDs]` and `data` with the struct of the type,
   * the IOMMU's own where none is given, of which the kernel has as many bytes as is answered.
   */
  getHwInfo: (
    iommufd: NativeFd,
    device: number,
    type: number | undefined,
    out: BigUint64Array,
    data: BigUint64Array,
  ) => Answer;
  /** Fills `[id]`; answers the queue's descriptor, a NativeFd. */
  faultQueueAlloc: (iommufd: NativeFd, out: Uint32Array) => Answer;
  /** The same, for the events of a vIOMMU. */
  veventqAlloc: (
    iommufd: NativeFd,
    viommu: number,
    type: number,
    depth: number,
    out: Uint32Array,
  ) => Answer;
  /**
   * Maps a part of a file as `memoryAllocate` does with its own; the descriptor stays the caller's.
   */
  memoryFromFile: (fd: number, offset: bigint, size: bigint) => Answer;
  /** An ArrayBuffer over the pages; -EOPNOTSUPP where the engine takes no memory of others. */
  memoryBuffer: (memory: NativeMemory, offset: bigint, length: bigint) => ArrayBuffer | Answer;
  /** Where the pages are in this process. */
  memoryAddress: (memory: NativeMemory) => bigint | Answer;
  /** The number of the memory's own descriptor. */
  memoryFile: (memory: NativeMemory) => Answer;
  /** Forgets the handle: the pages stay until no call and no ArrayBuffer needs them. */
  memoryRelease: (memory: NativeMemory) => Answer;
  /**
   * Has the device share who has its interrupts with all descriptors of this process that joined by
   * the same name. The eventfd, or 0 for none, is signalled when another takes one away. Joining
   * again changes the eventfd.
   */
  irqsJoin: (device: NativeFd, name: string, told: NativeFd | 0) => Answer;
  /**
   * What the kernel signals where the device tells that it is wanted back (0) or that it failed (1);
   * 0 where it never does. Of a device that has joined.
   */
  noticesWatch: (device: NativeFd, kind: number, event: NativeFd | 0) => Answer;
  /** The loop heard of it. */
  noticesTell: (device: NativeFd, kind: number) => Answer;
  /**
   * Of the device or mapping that the mailbox names: bits 0 and 1 whether it told, bits 2 and 3
   * whether that would be heard of; -EBADF where nobody has joined.
   */
  noticesOfDevice: Access;
  noticesOfMapping: Access;
  /** 1, or 0 where another descriptor has the interrupt. Only who claimed it can enable it. */
  irqsClaim: (device: NativeFd, index: number) => Answer;
  /** Gives back one that is not enabled. */
  irqsUnclaim: (device: NativeFd, index: number) => Answer;
  /** 0: nobody; 1: this descriptor has claimed it; 2: another has enabled it. */
  irqsOwner: (device: NativeFd, index: number) => Answer;
  /** Offers a descriptor to the other threads of the process; answers the offer's number. */
  fdOffer: (fd: NativeFd) => Answer;
  /** A NativeFd of the same open file; -ENOENT where its owner has closed it. */
  fdTake: (offer: number) => Answer;
  memoryOffer: (memory: NativeMemory) => Answer;
  /** A NativeMemory of the same pages; -EINVAL where they are not so many bytes. */
  memoryTake: (offer: number, size: number) => Answer;
  /** A NativeSharedCount, the first of its kind. */
  sharedCountNew: () => number;
  sharedCountOffer: (sharedCount: NativeSharedCount) => Answer;
  /** A NativeSharedCount of the same kind. */
  sharedCountTake: (offer: number) => Answer;
  /** Forgets the handle; 1 where it was the last of its kind. */
  sharedCountDrop: (sharedCount: NativeSharedCount) => Answer;
} & Slow<'close', [fd: NativeFd, next?: NativeFd]> &
  /**
   * With `kvm`, the VFIO device of a VM, KVM is told of the device first: -8192 - errno where it
   * refuses.
   */
  Slow<'bind', [device: NativeFd, iommufd: NativeFd, token?: Uint8Array, kvm?: NativeFd]> &
  /** Answers how many bytes were written. */
  Slow<'pwrite', Transfer> &
  /** Forgets the mapping at once; waits for polls under way, which it ends. */
  Slow<'unmap', [mapping: NativeMapping]> &
  /** Answers the register's value; -ETIMEDOUT, or -ECANCELED where it is unmapped meanwhile. */
  Slow<'poll32', Poll> &
  /** The device as a whole where no PASID is given. */
  Slow<'attach', [device: NativeFd, pageTable: number, pasid?: number]> &
  Slow<'detach', [device: NativeFd, pasid?: number]> &
  Slow<'destroy', [iommufd: NativeFd, id: number]> &
  /** Disables an interrupt, whichever descriptor of the device has it. */
  Slow<'irqsRelease', [device: NativeFd, index: number]> &
  /**
   * Acts on `count` interrupts. Of these three, an answer above 0 says how many there would be;
   * -ECANCELED that this descriptor, which wants to enable or disable, has it no more.
   */
  Slow<'setIrqs', [...target: IrqTarget, count: number]> &
  /** Acts on those whose byte is not 0. */
  Slow<'setIrqsBool', [...target: IrqTarget, which: Uint8Array]> &
  /** Ties an eventfd to each; 0 in a handle's place stands for none. */
  Slow<'setIrqsEventfd', [...target: IrqTarget, events: Uint32Array]> &
  Slow<'reset', [device: NativeFd]> &
  /** `groups`: the descriptors of those that are hit, by their handles; none of a cdev's. */
  Slow<'hotReset', [device: NativeFd, groups: Uint32Array]> &
  /** The words of struct vfio_pci_hot_reset_info, with room for `count` devices. */
  Slow<'hotResetInfo', [device: NativeFd, count: number], Uint32Array> &
  /** VFIO_DEVICE_FEATURE: the bytes as the kernel left them. */
  Slow<'feature', [device: NativeFd, flags: number, bytes: Uint8Array], Uint8Array> &
  /** Low power until something wakes the device, which signals the eventfd. */
  Slow<'lowPowerWakeup', [device: NativeFd, event: NativeFd]> &
  /** `[page size, iova, length, iova, length, …]`; answers the page size that the device chose. */
  Slow<'dmaLoggingStart', [device: NativeFd, longs: BigUint64Array]> &
  /** `[iova, length, page size]`; answers the bitmap. */
  Slow<'dmaLoggingReport', [device: NativeFd, longs: BigUint64Array], BigUint64Array> &
  /** A dma-buf over `[offset, length, …]` of a region. */
  Slow<'exportDmabuf', [device: NativeFd, region: number, longs: BigUint64Array]> &
  Slow<'zpciError', [device: NativeFd, size: number], Uint8Array> &
  /** The descriptor of the data that flows from or to the new state, or 0. */
  Slow<'setMigrationState', [device: NativeFd, state: number]> &
  /** The words of struct vfio_precopy_info. */
  Slow<'precopyInfo', [data: NativeFd], Uint32Array> &
  /** At most so many bytes; none at the end. */
  Slow<'readData', [data: NativeFd, length: number], Uint8Array> &
  Slow<'writeData', [data: NativeFd, bytes: Uint8Array]> &
  /** The words of struct vfio_device_gfx_plane_info. */
  Slow<'queryGfxPlane', [device: NativeFd, flags: number, type: number], Uint32Array> &
  Slow<'getGfxDmabuf', [device: NativeFd, id: number]> &
  /** `[offset, value]`, written in so many bytes whenever the eventfd is signalled; 0 ends it. */
  Slow<'ioeventfd', [device: NativeFd, width: number, longs: BigUint64Array, event: NativeFd | 0]> &
  /** The VFIO device of a KVM VM: a handle of another descriptor, by which KVM is told of files. */
  Slow<'kvmCreateVfio', [vm: NativeFd]> &
  /** Of a device or a group, which the kernel keeps open until it is removed. */
  Slow<'kvmVfioAdd' | 'kvmVfioRemove', [kvm: NativeFd, file: NativeFd]> &
  Slow<'ioasMap', [...MapTarget, address: bigint, length: bigint, iova: bigint], bigint> &
  Slow<
    'ioasMapMemory' | 'ioasMapMemoryFile',
    [...MapTarget, memory: NativeMemory, offset: bigint, length: bigint, iova: bigint],
    bigint
  > &
  Slow<
    'ioasMapFile',
    [...MapTarget, fd: number, offset: bigint, length: bigint, iova: bigint],
    bigint
  > &
  /** Answers the bytes that were mapped there. */
  Slow<'ioasUnmap', [iommufd: NativeFd, ioas: number, iova: bigint, length: bigint], bigint> &
  Slow<
    'ioasCopy',
    [...MapTarget, source: number, sourceIova: bigint, length: bigint, iova: bigint],
    bigint
  > &
  Slow<'groupSetContainer', [group: NativeFd, container: NativeFd]> &
  /** Answers the device's NativeFd. */
  Slow<'groupGetDevice', [group: NativeFd, name: string]> &
  Slow<'containerSetIommu', [container: NativeFd, type: number]> &
  Slow<
    'containerMap',
    [container: NativeFd, flags: number, address: bigint, length: bigint, iova: bigint],
    bigint
  > &
  Slow<
    'containerMapMemory',
    [
      container: NativeFd,
      flags: number,
      memory: NativeMemory,
      offset: bigint,
      length: bigint,
      iova: bigint,
    ],
    bigint
  > &
  /** Answers the bytes that were mapped there, 0 where nothing was. */
  Slow<
    'containerUnmap',
    [container: NativeFd, flags: number, iova: bigint, length: bigint],
    bigint
  > &
  Slow<'ioasChangeProcess', [iommufd: NativeFd]> &
  /** Starts (1) or stops (2) to note what devices write. */
  Slow<'containerTrackDirty', [container: NativeFd, flags: number]> &
  /** A bit for each page, in as many words as asked for. */
  Slow<
    'containerDirtyBitmap',
    [container: NativeFd, iova: bigint, length: bigint, pageSize: bigint, words: number],
    BigUint64Array
  > &
  /** The same after a word with the bytes that were mapped there. */
  Slow<
    'containerUnmapDirty',
    [container: NativeFd, iova: bigint, length: bigint, pageSize: bigint, words: number],
    BigUint64Array
  > &
  /** Answers the id. */
  Slow<
    'hwptAlloc',
    [
      iommufd: NativeFd,
      device: number,
      parent: number,
      flags: number,
      faultQueue: number,
      dataType: number,
      data: Uint8Array,
    ]
  > &
  /** Answers `[errno or 0, how many entries were handled]`. */
  Slow<
    'hwptInvalidate',
    [iommufd: NativeFd, id: number, type: number, entryLength: number, entries: Uint8Array],
    Uint32Array
  > &
  /** The bytes of the id, then the data as the kernel left them. */
  Slow<
    'viommuAlloc',
    [iommufd: NativeFd, device: number, parent: number, type: number, data: Uint8Array],
    Uint8Array
  > &
  Slow<'vdeviceAlloc', [iommufd: NativeFd, viommu: number, device: number, virtId: bigint]> &
  Slow<
    'hwQueueAlloc',
    [iommufd: NativeFd, viommu: number, type: number, index: number, iova: bigint, length: bigint]
  > &
  Slow<'hwptSetDirtyTracking', [iommufd: NativeFd, hwpt: number, flags: number]> &
  /** A bit for each page, in as many words as asked for. */
  Slow<
    'hwptGetDirtyBitmap',
    [
      iommufd: NativeFd,
      hwpt: number,
      flags: number,
      iova: bigint,
      length: bigint,
      pageSize: bigint,
      words: number,
    ],
    BigUint64Array
  > &
  /** `flags` are those of memfd_create(2); answers a NativeMemory. */
  Slow<'memoryAllocate', [size: bigint, flags: number, populate: number]> &
  /**
   * Reads the same entries of every folder, one folder after the other, into a flat list. An
   * entry's last character says what it is, as with `ls -F`: `@` a link, `/` a folder, else a file;
   * `?` asks only whether it is there. A file with `:` and the name of a link behind it is read
   * only while that link is there, and otherwise answers -ENOENT.
   */
  Slow<'readFolders', [folders: string[], entries: readonly string[]], Content[]> &
  /**
   * Finds in every folder the names of its links that lead to a character device with one of the
   * `numbers` (`[major, minor, …]`), or whose text is one of `targets`; or `-errno`.
   */
  Slow<
    'findEntries',
    [folders: string[], numbers: Uint32Array, targets: readonly string[]],
    (string[] | number)[]
  >;

let loaded: Binding | undefined;

/** The addon, loaded at first use: importing the package works on every platform. */
export function binding(): Binding {
  if (loaded === undefined) {
    requirePlatform();
    const native = loadAddon() as Omit<Binding, keyof MapCalls> & MapsByMail;
    // A copy: engines keep what an addon exports one by one as a hash table, in which they would look
    // the function up at each call, three times as long as an access takes.
    const plain = { ...native, ...mapCalls(native) };
    loaded = whenLoaded(plain);
    addon = { plain, loaded };
  }
  return loaded;
}

/** The addon's functions, without and with what {@link atLoad} puts before them. */
let addon: { plain: Binding; loaded: Binding } | undefined;

/** What {@link binding} answers, without what {@link atLoad} put before it. */
export function plainBinding(): Binding {
  const whole = binding();
  return whole === addon?.loaded ? addon.plain : whole;
}

/** Puts before a binding of another's what {@link atLoad} puts before the addon's functions. */
export function asLoaded(other: Binding): Binding {
  return whenLoaded(other);
}

let whenLoaded = (native: Binding): Binding => native;

/** What may stand between the library and the addon when that is loaded: the trace. */
export function atLoad(wrap: (native: Binding) => Binding): void {
  whenLoaded = wrap;
}

/** Puts another binding in the addon's place, for tests. Returns what puts the old one back. */
export function replaceBinding(other: Binding): () => void {
  const before = loaded;
  loaded = other;
  return () => {
    loaded = before;
  };
}
