import { EINVAL, EIO } from '../core/errno.ts';
import type { FakeBar } from './bar.ts';
import type { AccessWidth } from './bar_options.ts';
import type { FakeDevice } from './fake_device.ts';
import { configIndex } from './info_calls.ts';
import { tableBytes } from './config_space.ts';

/** Where a program's pread and pwrite go: a region's start is its index in the high bits. */
export function regionIndexOf(high: number): number {
  return high >>> 8;
}

/**
 * pread(2) of a region: how many bytes, or -errno. Cut into accesses as vfio-pci does, which looks
 * whether memory is decoded, and not whether ports are (vfio_pci_core_do_io_rw): those that nobody
 * answers at are all ones.
 */
export function readRegion(
  device: FakeDevice,
  index: number,
  offset: number,
  bytes: Uint8Array,
): number {
  if (index === configIndex) return readConfig(device, offset, bytes);
  const bar = device.bars.get(index);
  const count = bar === undefined ? EINVAL : lengthIn(bar.size, offset, bytes.length);
  if (bar === undefined || count <= 0) return count;
  if (bar.isPorts && !device.answersPorts) {
    bytes.fill(0xff, 0, count);
    return count;
  }
  if (!bar.isPorts && !device.answersMemory) return EIO;
  for (const [at, width] of pieces(offset, count)) {
    const value = isInTable(device, index, offset + at) ? ones : loadAny(bar, offset + at, width);
    for (let byte = 0; byte < width; byte++) {
      bytes[at + byte] = Number((value >> BigInt(8 * byte)) & 0xffn);
    }
  }
  return count;
}

/** pwrite(2), as {@link readRegion} reads. */
export function writeRegion(
  device: FakeDevice,
  index: number,
  offset: number,
  bytes: Uint8Array,
): number {
  if (index === configIndex) return writeConfig(device, offset, bytes);
  const bar = device.bars.get(index);
  const count = bar === undefined ? EINVAL : lengthIn(bar.size, offset, bytes.length);
  if (bar === undefined || count <= 0) return count;
  if (bar.isPorts && !device.answersPorts) return count;
  if (!bar.isPorts && !device.answersMemory) return EIO;
  for (const [at, width] of pieces(offset, count)) {
    if (isInTable(device, index, offset + at)) continue;
    let value = 0n;
    for (let byte = width - 1; byte >= 0; byte--) {
      value = (value << 8n) | BigInt(bytes[at + byte] ?? 0);
    }
    storeAny(bar, offset + at, width, value);
  }
  return count;
}

const ones = 2n ** 64n - 1n;

export function loadAny(bar: FakeBar, offset: number, width: number): bigint {
  return width === 8 ? bar.load64(offset) : BigInt(bar.load(offset, width as AccessWidth));
}

export function storeAny(bar: FakeBar, offset: number, width: number, value: bigint): void {
  if (width === 8) bar.store64(offset, value);
  else bar.store(offset, width as AccessWidth, Number(value));
}

/** The kernel keeps the table of MSI-X to itself. */
function isInTable({ table, options }: FakeDevice, index: number, offset: number): boolean {
  if (table?.bar !== index) return false;
  return offset >= table.offset && offset < table.offset + tableBytes(options.msix ?? 0);
}

/** Naturally aligned accesses of 8, 4, 2 and 1 bytes. */
function* pieces(offset: number, length: number): Generator<[at: number, width: number]> {
  for (let at = 0; at < length;) {
    const left = length - at;
    const width = [8, 4, 2].find((each) => each <= left && (offset + at) % each === 0) ?? 1;
    yield [at, width];
    at += width;
  }
}

function lengthIn(size: number, offset: number, wanted: number): number {
  return offset >= size ? EINVAL : Math.min(wanted, size - offset);
}

function readConfig({ config, isPlugged }: FakeDevice, offset: number, bytes: Uint8Array): number {
  const count = lengthIn(config.bytes.length, offset, bytes.length);
  if (count <= 0) return count;
  if (isPlugged) config.read(offset, bytes.subarray(0, count));
  else bytes.fill(0xff, 0, count);
  return count;
}

function writeConfig(device: FakeDevice, offset: number, bytes: Uint8Array): number {
  const count = lengthIn(device.config.bytes.length, offset, bytes.length);
  if (count <= 0 || !device.isPlugged) return count;
  device.config.write(offset, bytes.subarray(0, count));
  device.onConfig();
  device.options.onConfigWrite?.(offset, count);
  return count;
}
