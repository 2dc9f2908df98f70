import type { NativeFd } from '../core/binding.ts';
import { counted } from '../core/counted.ts';
import { featureNames, operation } from '../feature/call.ts';
import {
  decodeDeviceFlags,
  decodeIrqInfo,
  decodeRegionInfo,
  irqInfoSize,
  irqNames,
  regionInfoSize,
} from '../info/decode.ts';
import { action } from '../interrupt/set_irqs.ts';
import type { Requests } from './request.ts';
import {
  bindWords,
  bitWords,
  bytesOf,
  errnoWords,
  flagWords,
  hex,
  joined,
  list,
  struct,
  type TraceWords,
} from './words.ts';

// Requests on an open device, as linux/vfio.h names them and their fields.

/** VFIO_IRQ_SET_DATA_* and _ACTION_*. */
const irqSetFlags = {
  data_none: 1,
  data_bool: 2,
  data_eventfd: 4,
  action_mask: action.mask,
  action_unmask: action.unmask,
  action_trigger: action.trigger,
};

const featureRequest = 'VFIO_DEVICE_FEATURE';

function viewOf({ buffer, byteOffset, byteLength }: ArrayBufferView, start = 0): DataView {
  return new DataView(buffer, byteOffset + start, byteLength - start);
}

function regionInfo(words: TraceWords, device: NativeFd, room: Uint32Array, at: number): string {
  const { index, offset, size, flags } = decodeRegionInfo(bare(room, at), []);
  const name = words.regionName(device, index);
  words.noteRegion(device, { name, offset, size: BigInt(size) });
  return struct({ size: hex(size), offset: hex(offset), flags: flagWords(flags) });
}

/** Without the flag that leads to capabilities: these need not be there. */
function bare(room: Uint32Array, at: number): DataView {
  const words = room.slice(at / 4, (at + regionInfoSize) / 4);
  words[3] = 0;
  return new DataView(words.buffer);
}

function irqInfo(room: Uint32Array, at: number): string {
  const { count, flags } = decodeIrqInfo(viewOf(room, at), irqNames([]));
  return struct({ count, flags: flagWords(flags) });
}

/** One answer for each index; where the kernel refused one, its errno. */
function eachIndex(
  results: Int32Array,
  count: number,
  args: (index: number) => string[],
  answer: (index: number) => string,
): [string[], string][] {
  return Array.from({ length: count }, (_, index) => {
    const result = results[index] ?? 0;
    return [args(index), result < 0 ? errnoWords(result) : answer(index)];
  });
}

/** `GET|BUS_MASTER`, of the number of a feature and what is done with it. */
function featureWords(flags: number): string {
  const index = flags & 0xffff;
  const name = featureNames[index]?.name ?? hex(index);
  return flagWords([bitWords(flags & ~0xffff, operation), name]);
}

/** The only one whose data are a secret: pci-vf-token. */
const vfToken = 0;

function featureData(flags: number, bytes: Uint8Array): string[] {
  if (bytes.length === 0) return [];
  if ((flags & 0xffff) === vfToken) return [`${counted(bytes.length, 'byte')} not shown`];
  return [(flags & operation.set) === 0 ? counted(bytes.length, 'byte') : bytesOf(bytes)];
}

function lows(longs: BigUint64Array): string {
  return list(Array.from(longs, hex));
}

/** Above 0 the kernel says how many vectors there are, which are too few. */
function vectors(_words: TraceWords, value: number): string {
  return value > 0 ? `${value}: no more vectors can be had` : String(value);
}

function pasidWords(pasid: number | undefined): string[] {
  return pasid === undefined ? [] : [`pasid ${pasid}`];
}

export const deviceRequests: Requests = {
  getDeviceInfo: {
    name: 'VFIO_DEVICE_GET_INFO',
    args: (words, device) => [words.fd(device)],
    answer: (words, _value, device, _bytes, room) => {
      const flags = decodeDeviceFlags(viewOf(room));
      words.noteDevice(device, flags);
      const { 2: regions = 0, 3: irqs = 0 } = room;
      return struct({ flags: flagWords(flags), num_regions: regions, num_irqs: irqs });
    },
  },
  getRegionInfo: {
    name: 'VFIO_DEVICE_GET_REGION_INFO',
    args: (words, device, index, bytes) => [
      words.fd(device),
      words.regionName(device, index),
      `argsz ${bytes}`,
    ],
    answer: (words, _value, device, _index, _bytes, room) => regionInfo(words, device, room, 0),
  },
  getRegionInfos: {
    name: 'VFIO_DEVICE_GET_REGION_INFO',
    args: (words, device, count) => [words.fd(device), counted(count, 'index', 'indexes')],
    each: (words, device, count, results, room) =>
      eachIndex(
        results,
        count,
        (index) => [words.fd(device), words.regionName(device, index)],
        (index) => regionInfo(words, device, room, index * regionInfoSize),
      ),
  },
  getIrqInfos: {
    name: 'VFIO_DEVICE_GET_IRQ_INFO',
    args: (words, device, count) => [words.fd(device), counted(count, 'index', 'indexes')],
    each: (words, device, count, results, room) =>
      eachIndex(
        results,
        count,
        (index) => [words.fd(device), words.irqName(device, index)],
        (index) => irqInfo(room, index * irqInfoSize),
      ),
  },
  setIrqs: {
    name: 'VFIO_DEVICE_SET_IRQS',
    args: (words, device, act, index, start, count) => [
      words.fd(device),
      words.irqName(device, index),
      bitWords(act | irqSetFlags.data_none, irqSetFlags),
      `start ${start}`,
      `count ${count}`,
    ],
  },
  setIrqsBool: {
    name: 'VFIO_DEVICE_SET_IRQS',
    args: (words, device, act, index, start, which) => [
      words.fd(device),
      words.irqName(device, index),
      bitWords(act | irqSetFlags.data_bool, irqSetFlags),
      `start ${start}`,
      bytesOf(which),
    ],
  },
  setIrqsEventfd: {
    name: 'VFIO_DEVICE_SET_IRQS',
    args: (words, device, act, index, start, events) => [
      words.fd(device),
      words.irqName(device, index),
      bitWords(act | irqSetFlags.data_eventfd, irqSetFlags),
      `start ${start}`,
      words.fds(events),
    ],
    answer: vectors,
  },
  irqsRelease: {
    name: 'VFIO_DEVICE_SET_IRQS',
    args: (words, device, index) => [
      words.fd(device),
      words.irqName(device, index),
      bitWords(irqSetFlags.data_none | irqSetFlags.action_trigger, irqSetFlags),
      'start 0',
      'count 0',
    ],
  },
  reset: { name: 'VFIO_DEVICE_RESET', args: (words, device) => [words.fd(device)] },
  hotReset: {
    name: 'VFIO_DEVICE_PCI_HOT_RESET',
    args: (words, device, groups) => [words.fd(device), `groups ${words.fds(groups)}`],
  },
  hotResetInfo: {
    name: 'VFIO_DEVICE_GET_PCI_HOT_RESET_INFO',
    args: (words, device, count) => [words.fd(device), `room for ${count}`],
    answer: (_words, value) =>
      typeof value === 'number' ? String(value) : struct({ count: value[2] ?? 0 }),
  },
  feature: {
    name: featureRequest,
    args: (words, device, flags, bytes) => [
      words.fd(device),
      featureWords(flags),
      ...featureData(flags, bytes),
    ],
    answer: (_words, value, _device, flags) =>
      typeof value === 'number' || (flags & operation.get) === 0 ? '0' : bytesOf(value),
  },
  lowPowerWakeup: {
    name: featureRequest,
    args: (words, device, event) => [
      words.fd(device),
      featureWords(operation.set | 4),
      words.fd(event),
    ],
  },
  dmaLoggingStart: {
    name: featureRequest,
    args: (words, device, longs) => [
      words.fd(device),
      featureWords(operation.set | 6),
      lows(longs),
    ],
  },
  dmaLoggingReport: {
    name: featureRequest,
    args: (words, device, longs) => [
      words.fd(device),
      featureWords(operation.get | 8),
      lows(longs),
    ],
    answer: (_words, value) => (typeof value === 'number' ? String(value) : bytesOf(value)),
  },
  exportDmabuf: {
    name: featureRequest,
    args: (words, device, region, longs) => [
      words.fd(device),
      featureWords(operation.get | 11),
      words.regionName(device, region),
      lows(longs),
    ],
    answer: (words, value) => words.fd(value as NativeFd),
  },
  zpciError: {
    name: featureRequest,
    args: (words, device, size) => [
      words.fd(device),
      featureWords(operation.get | 13),
      counted(size, 'byte'),
    ],
    answer: (_words, value) => (typeof value === 'number' ? String(value) : bytesOf(value)),
  },
  setMigrationState: {
    name: featureRequest,
    args: (words, device, state) => [
      words.fd(device),
      featureWords(operation.set | 2),
      `device_state ${state}`,
    ],
    answer: (words, value) => words.fd(value as NativeFd | 0),
  },
  precopyInfo: {
    name: 'VFIO_MIG_GET_PRECOPY_INFO',
    args: (words, data) => [words.fd(data)],
    answer: (_words, value) => (typeof value === 'number' ? String(value) : bytesOf(value)),
  },
  queryGfxPlane: {
    name: 'VFIO_DEVICE_QUERY_GFX_PLANE',
    args: (words, device, flags, type) => [words.fd(device), `flags ${hex(flags)}`, `type ${type}`],
    answer: (_words, value) => (typeof value === 'number' ? String(value) : bytesOf(value)),
  },
  getGfxDmabuf: {
    name: 'VFIO_DEVICE_GET_GFX_DMABUF',
    args: (words, device, id) => [words.fd(device), String(id)],
    answer: (words, value) => words.fd(value as NativeFd),
  },
  ioeventfd: {
    name: 'VFIO_DEVICE_IOEVENTFD',
    args: (words, device, width, longs, event) => [
      words.fd(device),
      counted(width, 'byte'),
      lows(longs),
      words.fd(event),
    ],
  },
  bind: {
    name: 'VFIO_DEVICE_BIND_IOMMUFD',
    args: (words, device, iommufd, token, kvm) => [
      words.fd(device),
      `iommufd ${words.fd(iommufd)}`,
      ...(token === undefined ? [] : ['a token that is not shown']),
      ...(kvm === undefined ? [] : [`after KVM_DEV_VFIO_FILE_ADD of ${words.fd(kvm)}`]),
    ],
    answer: (_words, value) => `devid ${value}`,
    failed: bindWords,
  },
  attach: {
    name: 'VFIO_DEVICE_ATTACH_IOMMUFD_PT',
    args: (words, device, pageTable, pasid) => [
      words.fd(device),
      `pt_id ${pageTable}`,
      ...pasidWords(pasid),
    ],
    answer: (_words, value) => `pt_id ${value}`,
  },
  detach: {
    name: 'VFIO_DEVICE_DETACH_IOMMUFD_PT',
    args: (words, device, pasid) => [words.fd(device), ...pasidWords(pasid)],
  },
  map: {
    name: 'mmap',
    args: (words, device, high, low, offset, size) => [
      words.fd(device),
      words.place(device, joined(high, low), offset),
      `${hex(size)} bytes`,
    ],
    answer: (_words, value) => `mapping ${value}`,
  },
  unmap: { name: 'munmap', args: (_words, mapping) => [`mapping ${mapping}`] },
  pread: {
    name: 'pread',
    args: (words, device, high, low, offset, bytes) => [
      words.fd(device),
      words.place(device, joined(high, low), offset),
      counted(bytes.length, 'byte'),
    ],
    answer: (_words, value, _device, _high, _low, _offset, bytes) =>
      `${value} ${bytesOf(bytes.subarray(0, value))}`.trimEnd(),
  },
  pwrite: {
    name: 'pwrite',
    args: (words, device, high, low, offset, bytes) => [
      words.fd(device),
      words.place(device, joined(high, low), offset),
      bytesOf(bytes),
    ],
  },
};
