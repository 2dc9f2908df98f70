import {
  checkId,
  invalidType,
  outOfRange,
  requireBoolean,
  requireObject,
} from '../core/arguments.ts';
import type { CallName } from '../core/call.ts';
import { checkList } from '../core/call.ts';
import { explained, systemError } from '../core/errors.ts';
import { checkIova } from '../core/iova.ts';
import type { OwnedFd } from '../core/owned_fd.ts';
import { call, type Steps } from '../core/steps.ts';
import { checkData, checkLongs, longBytes, type OtherData } from './vendor_data.ts';

/** What of a stage-1 page table of VT-d has changed (struct iommu_hwpt_vtd_s1_invalidate). */
export interface VtdS1Invalidation {
  /** A multiple of 4,096. */
  addr: bigint;
  /** Pages of 4 KiB; with `addr` 0 and `2n ** 64n - 1n` here, all that belongs to the table. */
  npages: bigint;
  /** The leaves alone have (IOMMU_VTD_INV_FLAGS_LEAF). */
  leaf?: boolean | undefined;
}

/** What is to be forgotten of the hardware's caches, in this order. */
export type Invalidation =
  | { type: 'vtd-s1'; entries: readonly VtdS1Invalidation[] }
  /** Commands of an SMMUv3's queue (struct iommu_viommu_arm_smmuv3_invalidate), of a vIOMMU. */
  | { type: 'arm-smmuv3'; entries: readonly (readonly [bigint, bigint])[] }
  /** The kernel's number, and entries of one length. */
  | { type: number; entries: readonly Uint8Array[] };

/** enum iommu_hwpt_invalidate_data_type */
const types = { 'vtd-s1': 0, 'arm-smmuv3': 1 } as const;

/** Longer rows are to be given in parts, so that none takes the kernel's memory or time away. */
const mostEntries = 1 << 16;

interface Encoded {
  type: number;
  entryLength: number;
  bytes: Uint8Array;
}

/**
 * IOMMU_HWPT_INVALIDATE of a nested page table or a vIOMMU; answers how many entries were handled,
 * which is all of them.
 */
export function* invalidate(
  { native, path }: OwnedFd,
  id: number,
  invalidation: Invalidation,
): Steps<number> {
  const { type, entryLength, bytes } = encode(invalidation);
  const named: CallName = { syscall: 'ioctl', request: 'IOMMU_HWPT_INVALIDATE', path };
  const answer = yield* call('hwptInvalidate', native, id, type, entryLength, bytes);
  const [errno = 0, handled = 0] = checkList(answer, named);
  if (errno === 0) return handled;
  const facts = { handled, entries: bytes.length / entryLength };
  const error = systemError({ ...named, errno: -errno });
  throw explained(error, { reason: 'invalidated-in-part', certainty: 'certain', facts });
}

/** @throws TypeError, RangeError */
function encode(invalidation: Invalidation): Encoded {
  requireObject('invalidation', invalidation);
  const { type, entries } = invalidation;
  if (!Array.isArray(entries)) throw invalidType('invalidation.entries', 'an array', entries);
  if (entries.length > mostEntries) {
    throw outOfRange('invalidation.entries.length', `at most ${mostEntries}`, entries.length);
  }
  if (type === 'vtd-s1') return joined(types[type], 24, (entries as unknown[]).map(vtdS1));
  if (type === 'arm-smmuv3') return joined(types[type], 16, (entries as unknown[]).map(command));
  if (typeof type !== 'number') {
    const expected = `one of ${Object.keys(types).join(', ')}, or a number`;
    throw invalidType('invalidation.type', expected, type);
  }
  const number = checkId('invalidation.type', type);
  const all = (entries as OtherData['data'][]).map((data, at) =>
    checkData({ type, data }, nameOf(at)),
  );
  const length = all[0]?.length ?? 1;
  const odd = all.findIndex((each) => each.length !== length);
  if (odd >= 0)
    throw outOfRange(`${nameOf(odd)}.length`, `${length}, as of the first`, all[odd]?.length);
  return joined(number, length, all);
}

const nameOf = (at: number): string => `invalidation.entries[${at}]`;

function joined(type: number, entryLength: number, entries: readonly Uint8Array[]): Encoded {
  const bytes = new Uint8Array(entryLength * entries.length);
  for (const [at, entry] of entries.entries()) bytes.set(entry, at * entryLength);
  return { type, entryLength, bytes };
}

function vtdS1(entry: unknown, at: number): Uint8Array {
  const name = nameOf(at);
  requireObject(name, entry);
  const { addr, npages, leaf } = entry as VtdS1Invalidation;
  requireBoolean(`${name}.leaf`, leaf);
  const start = checkIova(`${name}.addr`, addr);
  if (start % 4096n !== 0n) throw outOfRange(`${name}.addr`, 'a multiple of 4096', addr);
  const pages = checkIova(`${name}.npages`, npages);
  return longBytes([start, pages, leaf ? 1n : 0n], [false, false, true]);
}

function command(entry: unknown, at: number): Uint8Array {
  return longBytes(checkLongs(nameOf(at), entry, 2));
}
