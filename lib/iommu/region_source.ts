import { invalidType, outOfRange } from '../core/arguments.ts';
import { type Answer, binding, type NativeFd } from '../core/binding.ts';
import { ENODEV, EOPNOTSUPP } from '../core/errno.ts';
import { explained, systemError, VfioError } from '../core/errors.ts';
import { call, run, runSync, type Steps } from '../core/steps.ts';
import { FeatureCalls } from '../feature/call.ts';
import { Dmabuf } from '../feature/dmabuf.ts';
import type { RegionInfo } from '../info/decode.ts';
import { checkLength, checkRange } from '../region/checks.ts';
import type { RegionOwner } from '../region/owner.ts';
import { Region } from '../region/region.ts';
import type { Source } from './source.ts';

/**
 * BARs have these indexes; the regions after them are the ROM, the configuration space and others.
 */
const bars = 6;

type MapAnswer = bigint | Answer;

/**
 * A part of a device's memory. Each map exports it as a dma-buf of its own, which the iommufd
 * keeps.
 */
export class RegionSource implements Source {
  readonly what = 'region' as const;
  readonly request = 'IOMMU_IOAS_MAP_FILE' as const;
  readonly memory: undefined;
  readonly buffer: undefined;
  readonly bufferOffset = 0;
  readonly owner: RegionOwner;
  readonly offset: bigint;
  readonly length: bigint;
  readonly size: number;
  readonly #info: RegionInfo;

  constructor(owner: RegionOwner, info: RegionInfo, offset: number, length: number) {
    this.owner = owner;
    this.#info = info;
    this.offset = BigInt(offset);
    this.length = BigInt(length);
    this.size = length;
  }

  /** Such as `bar0`. */
  get name(): string {
    return this.#info.name;
  }

  map(iommufd: NativeFd, ioas: number, flags: number, iova: bigint): Promise<bigint | number> {
    return run(this.#map(iommufd, ioas, flags, iova)) as Promise<bigint | number>;
  }

  mapSync(iommufd: NativeFd, ioas: number, flags: number, iova: bigint): MapAnswer {
    return runSync(this.#map(iommufd, ioas, flags, iova));
  }

  *#map(iommufd: NativeFd, ioas: number, flags: number, iova: bigint): Steps<MapAnswer> {
    const { offset, length } = this;
    const calls = new FeatureCalls(this.owner);
    const buffer = yield* Dmabuf.export(calls, this.#info.index, [{ offset, length }]);
    try {
      const target = [iommufd, ioas, flags, buffer.fd, 0n, length, iova] as const;
      const answer = yield* call('ioasMapFile', ...target);
      if (answer === ENODEV) throw this.#unreachable(answer);
      if (answer === EOPNOTSUPP) throw unsupported(this.owner, answer);
      return answer;
    } finally {
      buffer.closeSync();
    }
  }

  /** The dma-buf is revoked. */
  #unreachable(errno: number): VfioError {
    const { device } = this.owner.location;
    const named = { syscall: 'ioctl', request: this.request, device: device.address };
    const facts = { device: device.address, region: this.name };
    const cause = { reason: 'region-unreachable', certainty: 'certain', facts } as const;
    return explained(systemError({ errno, ...named }), cause);
  }
}

/**
 * The part of a region that is to be mapped. `byFile`: whether the kernel maps files.
 *
 * @throws TypeError, RangeError; VfioError `ERR_VFIO_NOT_MAPPABLE`, `ERR_VFIO_UNSUPPORTED`
 */
export function regionSource(
  region: unknown,
  part: { offset?: unknown; length?: unknown },
  byFile: () => boolean,
): RegionSource {
  const found = Region.identify(region);
  if (found === undefined) throw invalidType('region', 'a Region', region);
  const { owner, info } = found;
  const { offset = 0 } = part;
  checkRange(offset, 1, info.size);
  const rest = info.size - (offset as number);
  const { length = rest } = part;
  checkLength('length', length, 1, rest);
  requireBar(owner, info);
  checkPages('offset', offset as number);
  checkPages('length', length as number);
  if (!byFile()) throw unsupported(owner);
  return new RegionSource(owner, info, offset as number, length as number);
}

function checkPages(name: string, value: number): void {
  const page = binding().pageSize();
  if (value % page !== 0) throw outOfRange(name, `a multiple of ${page}`, value);
}

/** Only memory that programs may map is memory that the kernel exports. */
function requireBar({ location }: RegionOwner, { name, index, flags }: RegionInfo): void {
  if (index < bars && flags.includes('mmap')) return;
  const { address } = location.device;
  throw new VfioError({
    code: 'ERR_VFIO_NOT_MAPPABLE',
    message: `${name} of ${address} is no memory that other devices could reach`,
    device: address,
    region: name,
  });
}

function unsupported({ location }: RegionOwner, errno?: number): VfioError {
  const { address } = location.device;
  return new VfioError({
    code: 'ERR_VFIO_UNSUPPORTED',
    errno,
    message: `the kernel lets no device reach the memory of ${address}: Linux 6.19 and later do`,
    device: address,
  });
}
