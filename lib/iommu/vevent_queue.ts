import { checkId, checkInteger, invalidType, requireObject } from '../core/arguments.ts';
import { type Answer, binding, type NativeFd } from '../core/binding.ts';
import { check } from '../core/call.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { littleEndian } from '../core/structs.ts';
import { EventQueue, type FaultOptions } from './event_queue.ts';
import type { ObjectParent } from './iommufd_object.ts';
import { Users } from './users.ts';

/** Which events of a vIOMMU a queue gets, and how many it keeps. */
export interface VeventQueueOptions {
  /** Their kind, or the kernel's number of it. A vIOMMU has one queue of a kind. */
  type: 'arm-smmuv3' | 'tegra241-cmdqv' | number;
  /** How many events it keeps, 512 by default. Those that find it full are lost, which is told. */
  depth?: number | undefined;
  /** Bytes of one event's data, where the type is a number. */
  dataLength?: number | undefined;
}

/** What an IOMMU told of a guest's devices (struct iommufd_vevent_header and what follows it). */
export interface Vevent {
  /** The queue counts its events from 0 to 2^31 - 1, and then from 0 again; also the lost ones. */
  sequence: number;
  /** How many were lost before this one; of one that is `undefined`, with it. */
  lost: number;
  /**
   * The record: an SMMUv3's event of 32 bytes, the error map of 16 bytes of a Tegra241 CMDQV.
   * Undefined where events were lost and none came after them yet (IOMMU_VEVENTQ_FLAG_LOST_EVENTS).
   */
  data: Uint8Array | undefined;
}

/** enum iommu_veventq_type, and the bytes of an event. */
const types = {
  'arm-smmuv3': { type: 1, dataLength: 32 },
  'tegra241-cmdqv': { type: 2, dataLength: 16 },
} as const;

const headerBytes = 8;
/** IOMMU_VEVENTQ_FLAG_LOST_EVENTS */
const lostEvents = 1;
/** How many events one read takes. */
const most = 64;
const mostDepth = 2 ** 32 - 1;

/** The events of a vIOMMU that are for its guest (IOMMU_VEVENTQ_ALLOC). */
export class VeventQueue extends EventQueue<Vevent> {
  readonly #users: Users;
  readonly #parent: ObjectParent;
  readonly #what: string;
  readonly #dataLength: number;
  /** The number that the next event has where none is lost. */
  #next = 0;

  static {
    defineInspect(this, 'VeventQueue', (queue) => ({ next: queue.#next, ...queue.shown }));
  }

  private constructor(parent: ObjectParent, fd: NativeFd, id: number, dataLength: number) {
    const what = `vEVENTQ ${id}`;
    super(parent.fd, fd, id, what);
    this.#users = new Users(what);
    this.#parent = parent;
    this.#what = what;
    this.#dataLength = dataLength;
    parent.users.addObject(what);
  }

  /** @internal */
  static create(parent: ObjectParent & { id: number }, options: VeventQueueOptions): VeventQueue {
    const { fd, id } = parent;
    requireObject('options', options);
    const { depth = 512 } = options;
    const { type, dataLength } = kindOf(options);
    checkInteger('depth', depth, 1, mostDepth);
    const out = new Uint32Array(1);
    const named = { syscall: 'ioctl', request: 'IOMMU_VEVENTQ_ALLOC', path: fd.path };
    const answer = check(binding().veventqAlloc(fd.native, id, type, depth, out), named);
    return new VeventQueue(parent, answer as NativeFd, out[0] ?? 0, dataLength);
  }

  /**
   * The events that have come; does not wait for any.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  override read(): Vevent[] {
    const size = headerBytes + this.#dataLength;
    const { events, next } = decodeVevents(
      this.readBytes(most * size),
      this.#dataLength,
      this.#next,
    );
    this.#next = next;
    return events;
  }

  /**
   * The events, for `for await`: each time all that `read()` answers. The loop is over when the
   * queue is closed; aborting throws the signal's reason into it.
   *
   * @throws TypeError; into the loop what {@link read} throws, and the signal's reason
   */
  events(options: FaultOptions = {}): AsyncIterableIterator<Vevent[]> {
    return this.iterate(options);
  }

  /** @internal */
  protected override destroyed(answer: Answer): void {
    if (answer !== 0) {
      this.#users.checkDestroyed(answer, { syscall: 'ioctl', request: 'IOMMU_DESTROY' });
    }
    this.#parent.users.removeObject(this.#what);
  }
}

function kindOf({ type, dataLength }: VeventQueueOptions): { type: number; dataLength: number } {
  if (typeof type === 'number') {
    const number = checkId('type', type, 1);
    return { type: number, dataLength: checkInteger('dataLength', dataLength, 1, 4096) };
  }
  if (typeof type === 'string' && Object.hasOwn(types, type)) return types[type];
  throw invalidType('type', `one of ${Object.keys(types).join(', ')}, or a number`, type);
}

/** Headers, each with its event's data, unless it says that events were lost. */
export function decodeVevents(
  bytes: Uint8Array,
  dataLength: number,
  first: number,
): { events: Vevent[]; next: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const events: Vevent[] = [];
  let next = first;
  for (let at = 0; at + headerBytes <= bytes.byteLength;) {
    const isLost = (view.getUint32(at, littleEndian) & lostEvents) !== 0;
    const sequence = view.getUint32(at + 4, littleEndian);
    const end = at + headerBytes + (isLost ? 0 : dataLength);
    if (end > bytes.byteLength) break;
    const data = isLost ? undefined : bytes.slice(at + headerBytes, end);
    // What says that events were lost has the number of the last of them.
    const lost = ((sequence - next) & 0x7fff_ffff) + (isLost ? 1 : 0);
    events.push({ sequence, lost, data });
    next = (sequence + 1) & 0x7fff_ffff;
    at = end;
  }
  return { events, next };
}
