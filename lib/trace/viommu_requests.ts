import type { NativeFd } from '../core/binding.ts';
import { counted } from '../core/counted.ts';
import { littleEndian } from '../core/structs.ts';
import type { Requests } from './request.ts';
import { bytesOf, errnoWords, hex } from './words.ts';

// Requests on an iommufd for the page tables, devices and queues of guests (linux/iommufd.h).

/** Of a little-endian struct: its first 32 bits. */
function firstWord({ buffer, byteOffset }: Uint8Array): number {
  return new DataView(buffer, byteOffset).getUint32(0, littleEndian);
}

export const viommuRequests: Requests = {
  hwptInvalidate: {
    name: 'IOMMU_HWPT_INVALIDATE',
    args: (words, iommufd, id, type, entryLength, entries) => [
      words.fd(iommufd),
      `hwpt_id ${id}`,
      `data_type ${type}`,
      `${counted(entries.length / entryLength, 'entry', 'entries')} of ${counted(entryLength, 'byte')}`,
      bytesOf(entries),
    ],
    answer: (_words, value) => {
      if (typeof value === 'number') return String(value);
      const [error = 0, handled = 0] = value;
      return `${error === 0 ? '0' : errnoWords(-error)}, ${counted(handled, 'entry', 'entries')} handled`;
    },
  },
  viommuAlloc: {
    name: 'IOMMU_VIOMMU_ALLOC',
    args: (words, iommufd, device, parent, type, data) => [
      words.fd(iommufd),
      `dev_id ${device}`,
      `hwpt_id ${parent}`,
      `type ${type}`,
      ...(data.length === 0 ? [] : [bytesOf(data)]),
    ],
    answer: (_words, value) =>
      typeof value === 'number' ? String(value) : `viommu ${firstWord(value)}`,
  },
  vdeviceAlloc: {
    name: 'IOMMU_VDEVICE_ALLOC',
    args: (words, iommufd, viommu, device, virtId) => [
      words.fd(iommufd),
      `viommu ${viommu}`,
      `dev_id ${device}`,
      `virt_id ${hex(virtId)}`,
    ],
    answer: (_words, value) => `vdevice ${value}`,
  },
  veventqAlloc: {
    name: 'IOMMU_VEVENTQ_ALLOC',
    args: (words, iommufd, viommu, type, depth) => [
      words.fd(iommufd),
      `viommu ${viommu}`,
      `type ${type}`,
      `veventq_depth ${depth}`,
    ],
    answer: (words, value, _iommufd, _viommu, _type, _depth, out) =>
      `veventq ${out[0] ?? 0}, ${words.fd(value as NativeFd)}`,
  },
  hwQueueAlloc: {
    name: 'IOMMU_HW_QUEUE_ALLOC',
    args: (words, iommufd, viommu, type, index, iova, length) => [
      words.fd(iommufd),
      `viommu ${viommu}`,
      `type ${type}`,
      `index ${index}`,
      `nesting_parent_iova ${hex(iova)}`,
      `${hex(length)} bytes`,
    ],
    answer: (_words, value) => `hw_queue ${value}`,
  },
};
