import { invalidType, invalidValue, outOfRange } from '../core/arguments.ts';
import type { NativeFd } from '../core/binding.ts';
import { type CallName, check } from '../core/call.ts';
import { EINVAL, ENOTTY } from '../core/errno.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { call, run, runSync, type Steps } from '../core/steps.ts';
import { makeUncloneable } from '../core/uncloneable.ts';
import type { FeatureCalls } from './call.ts';
import { Dmabuf } from './dmabuf.ts';

/** How a device shows its picture: in one of its regions, or in a dma-buf. */
export type PlaneSource = 'region' | 'dmabuf';

/** DRM_PLANE_TYPE_*, in that order. */
const planes = ['overlay', 'primary', 'cursor'] as const;

/** A picture, or a part of one, as struct vfio_device_gfx_plane_info tells it. */
export interface Plane {
  /** The pixels' DRM format, a fourcc such as `XR24`; undefined while the plane is off. */
  format: string | undefined;
  /** The format's modifier, DRM_FORMAT_MOD_*. */
  formatModifier: bigint;
  /** Pixels. */
  width: number;
  /** Pixels. */
  height: number;
  /** Bytes from a row to the next. */
  stride: number;
  /** Bytes in all. */
  size: number;
  /** Where a cursor is. */
  x: number;
  /** See `x`. */
  y: number;
  /** The point of a cursor that points; undefined where the device does not tell. */
  hotspot: { x: number; y: number } | undefined;
  /** The index of the region, or the id for {@link Display.getDmabuf}. */
  source: number;
}

const VFIO_GFX_PLANE_TYPE_PROBE = 1;
const typeFlags: Readonly<Record<PlaneSource, number>> = { dmabuf: 2, region: 4 };

const noHotspot = 0xffffffff;

/** A device that is a display, as some mediated devices are. */
export class Display {
  readonly #calls: FeatureCalls;

  static {
    defineInspect(this, 'Display', (one) => one.#calls.shown);
  }

  private constructor(calls: FeatureCalls) {
    makeUncloneable(this);
    this.#calls = calls;
  }

  /** @internal */
  static of(calls: FeatureCalls): Display {
    return new Display(calls);
  }

  /**
   * Whether the device shows its picture that way; false also for one that is no display.
   *
   * @throws TypeError; VfioError `ERR_VFIO_CLOSED`, and others of the kernel
   */
  async supports(source: PlaneSource): Promise<boolean> {
    return await run(this.#supports(source));
  }

  /** The blocking form of {@link supports}. */
  supportsSync(source: PlaneSource): boolean {
    return runSync(this.#supports(source));
  }

  /**
   * What is shown now (VFIO_DEVICE_QUERY_GFX_PLANE).
   *
   * @throws TypeError; VfioError `ENOTTY`, `EINVAL` where the device does not show it that way;
   *   `ERR_VFIO_CLOSED`
   */
  async queryPlane(
    source: PlaneSource,
    plane: 'overlay' | 'primary' | 'cursor' = 'primary',
  ): Promise<Plane> {
    return await run(this.#queryPlane(source, plane));
  }

  /** The blocking form of {@link queryPlane}. */
  queryPlaneSync(source: PlaneSource, plane: 'overlay' | 'primary' | 'cursor' = 'primary'): Plane {
    return runSync(this.#queryPlane(source, plane));
  }

  /**
   * The dma-buf of a plane that was queried, by its `source` (VFIO_DEVICE_GET_GFX_DMABUF).
   *
   * @param id - the `source` of a {@link Plane}
   * @throws TypeError, RangeError; VfioError `ENOENT` for an id that is not, or no longer, there;
   *   `ERR_VFIO_CLOSED`
   */
  async getDmabuf(id: number): Promise<Dmabuf> {
    return await run(this.#getDmabuf(id));
  }

  /** The blocking form of {@link getDmabuf}. */
  getDmabufSync(id: number): Dmabuf {
    return runSync(this.#getDmabuf(id));
  }

  *#supports(source: PlaneSource): Steps<boolean> {
    const flags = flagOf(source) | VFIO_GFX_PLANE_TYPE_PROBE;
    const answer = yield* call('queryGfxPlane', this.#calls.native, flags, 0);
    if (answer === EINVAL || answer === ENOTTY) return false;
    if (typeof answer !== 'object') check(answer, this.#queried());
    return true;
  }

  *#queryPlane(source: PlaneSource, plane: (typeof planes)[number]): Steps<Plane> {
    const type = planes.indexOf(plane);
    if (type < 0) throw invalidValue('plane', `one of ${planes.join(', ')}`, plane);
    const answer = yield* call('queryGfxPlane', this.#calls.native, flagOf(source), type);
    if (typeof answer === 'object') return decodePlane(answer);
    check(answer, this.#queried());
    throw new Error('vfio: the addon answered a number for a plane; please report this bug');
  }

  *#getDmabuf(id: number): Steps<Dmabuf> {
    checkId(id);
    const answer = yield* call('getGfxDmabuf', this.#calls.native, id);
    const named = this.#calls.named('VFIO_DEVICE_GET_GFX_DMABUF');
    return Dmabuf.adopt(check(answer, named) as NativeFd);
  }

  #queried(): CallName {
    return this.#calls.named('VFIO_DEVICE_QUERY_GFX_PLANE');
  }
}

function checkId(id: unknown): void {
  const expected = 'the source of a plane, an integer from 0 to 0xffffffff';
  if (typeof id !== 'number') throw invalidType('id', expected, id);
  if (id >>> 0 !== id) throw outOfRange('id', expected, id);
}

function flagOf(source: unknown): number {
  if (source === 'region' || source === 'dmabuf') return typeFlags[source];
  throw invalidValue('source', "'region' or 'dmabuf'", source);
}

/** struct vfio_device_gfx_plane_info */
export function decodePlane(words: Uint32Array): Plane {
  const { 3: format = 0, 6: width = 0, 7: height = 0, 8: stride = 0, 9: size = 0 } = words;
  const {
    10: x = 0,
    11: y = 0,
    12: hotX = noHotspot,
    13: hotY = noHotspot,
    14: source = 0,
  } = words;
  return {
    format: format === 0 ? undefined : fourcc(format),
    formatModifier: new BigUint64Array(words.buffer, words.byteOffset + 16, 1)[0] ?? 0n,
    width,
    height,
    stride,
    size,
    x,
    y,
    hotspot: hotX === noHotspot || hotY === noHotspot ? undefined : { x: hotX, y: hotY },
    source,
  };
}

/** Four characters, the first in the lowest byte. */
function fourcc(code: number): string {
  return String.fromCharCode(code & 255, (code >> 8) & 255, (code >> 16) & 255, code >>> 24);
}
