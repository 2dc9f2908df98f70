import { binding, type NativeFd } from '../core/binding.ts';
import { type CallName, check } from '../core/call.ts';
import { EINVAL } from '../core/errno.ts';
import { badAnswer } from '../core/structs.ts';
import {
  decodeDeviceFlags,
  decodeDeviceInfo,
  decodeIrqInfo,
  decodeRegionInfo,
  type DeviceInfo,
  deviceInfoSize,
  type IrqInfo,
  irqInfoSize,
  irqNames,
  regionInfoSize,
  regionNames,
} from './decode.ts';

/** What the kernel answered, in its own structs: decoded when somebody asks. */
export interface RawDeviceInfo {
  device: Struct;
  regions: Struct[];
  irqs: Struct[];
}

/** The 32-bit words of a struct and its capabilities; all in linux/vfio.h begin with argsz. */
type Struct = readonly number[];

/**
 * All that the kernel says of a bound device: GET_INFO, then GET_REGION_INFO and GET_IRQ_INFO for
 * every index. An index that the device does not have (EINVAL) is left out; the others keep theirs.
 */
export function readDeviceInfo(device: NativeFd, call: CallName): RawDeviceInfo {
  const native = binding();
  const head = askWithRoom(deviceInfoSize, (bytes) =>
    check(native.getDeviceInfo(device, bytes, room), call, 'VFIO_DEVICE_GET_INFO'),
  );
  const { 2: regionCount = 0, 3: irqCount = 0 } = head;
  const regions = readRegions(device, call, regionCount);
  const irqs = readIrqs(device, call, irqCount);
  return { device: head, regions, irqs };
}

/** The kernel's structs in words that people use. */
export function decodeInfo(answers: RawDeviceInfo): DeviceInfo {
  const { device, regions } = answers;
  const { flags, capabilities } = decodeDeviceInfo(viewOf(device));
  const ofRegions = regionNames(flags);
  return {
    flags,
    capabilities,
    regions: regions.map((struct) => decodeRegionInfo(viewOf(struct), ofRegions)),
    irqs: decodeIrqs(answers),
  };
}

/** The interrupts alone, which opening asks for. */
export function decodeIrqs({ device, irqs }: RawDeviceInfo): IrqInfo[] {
  const names = irqNames(decodeDeviceFlags(viewOf(device)));
  return irqs.map((struct) => decodeIrqInfo(viewOf(struct), names));
}

function viewOf(struct: Struct): DataView {
  return new DataView(Uint32Array.from(struct).buffer);
}

/**
 * The bare structs first, all in one native call. Each answers with the room that it wants in
 * argsz: those that want more are asked again, with that. Asking with more room at once is no
 * shorter way: mbochs answers EINVAL to an argsz that is larger than all it could fill.
 */
function readRegions(device: NativeFd, call: CallName, count: number): Struct[] {
  const request = 'VFIO_DEVICE_GET_REGION_INFO';
  const native = binding();
  makeRoom(count, count * regionInfoSize);
  check(native.getRegionInfos(device, count, results, room), call, request);
  return bareStructs(count, regionInfoSize, call, request).map((struct) => {
    const { 0: wanted = 0, 2: index = 0 } = struct;
    if (wanted <= regionInfoSize) return struct;
    return askWithRoom(wanted, (bytes) =>
      check(native.getRegionInfo(device, index, bytes, room), call, request),
    );
  });
}

/** This struct has no capabilities. */
function readIrqs(device: NativeFd, call: CallName, count: number): Struct[] {
  const request = 'VFIO_DEVICE_GET_IRQ_INFO';
  makeRoom(count, count * irqInfoSize);
  check(binding().getIrqInfos(device, count, results, room), call, request);
  return bareStructs(count, irqInfoSize, call, request);
}

/**
 * The struct and its capabilities. The kernel answers too little room with the room it wants in
 * argsz, and no error; what it wants may grow while we ask.
 */
function askWithRoom(size: number, ask: (bytes: number) => void): Struct {
  for (let bytes = size; ;) {
    makeRoom(0, bytes);
    ask(bytes);
    const { 0: wanted = 0 } = room;
    if (wanted <= bytes) return wordsAt(0, bytes);
    bytes = wanted;
  }
}

/** The structs of the indexes that the device has, from the room. */
function bareStructs(count: number, size: number, call: CallName, request: string): Struct[] {
  const structs: Struct[] = [];
  for (let index = 0; index < count; index++) {
    const result = results[index];
    if (result === EINVAL) continue;
    check(result, call, request);
    structs.push(wordsAt(index * size, size));
  }
  return structs;
}

function wordsAt(start: number, size: number): Struct {
  const words: number[] = [];
  for (let at = start / 4; at < (start + size) / 4; at++) words.push(room[at] ?? 0);
  return words;
}

// Where the kernel's answers go, until they are copied out in the same turn. Kept, since making a
// typed array costs more than the ioctl that fills it.
let room = new Uint32Array(128);
let results = new Int32Array(16);

/** No answer comes near it; one that asks for more is not believed. */
const mostBytes = 1 << 20;

function makeRoom(count: number, bytes: number): void {
  if (bytes > mostBytes) {
    throw badAnswer(`the kernel's answers to VFIO_DEVICE_GET_*_INFO would fill ${bytes} bytes`);
  }
  if (bytes > room.byteLength) room = new Uint32Array(Math.ceil(bytes / 4));
  if (count > results.length) results = new Int32Array(count);
}
