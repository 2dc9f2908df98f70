import { DmaBuffer } from '../../lib/iommu/dma_buffer.ts';
import { DmaPool } from '../../lib/iommu/dma_pool.ts';
import { FaultQueue } from '../../lib/iommu/fault_queue.ts';
import { Ioas } from '../../lib/iommu/ioas.ts';
import { Region } from '../../lib/region/region.ts';
import {
  boolean,
  codeOf,
  ioas,
  named,
  never,
  notStrings,
  options,
  required,
  whole,
  type Parameter,
} from './bad_arguments.ts';

// Parameters of address spaces and DMA memory, for test/unit/matrix.test.ts.

const notLongs = [null, 1, '1', true, {}, [], Symbol('a symbol'), never];
const most = 2n ** 64n - 1n;

/** Addresses from 0 on, unless `bad` says more. */
function long(name: string, ...bad: bigint[]): Parameter {
  return {
    name: named(name),
    bad: [...notLongs, -1n, most + 1n, ...bad],
    codeOf: (one) => codeOf('bigint', one),
    good: () => 0n,
  };
}

const powerOfTwo = (name: string): Parameter => ({
  ...long(name, 0n, 3n, most),
  good: () => 4096n,
});
const bytesFrom = (name: string, least: number): Parameter => {
  return whole(name, least, Number.MAX_SAFE_INTEGER);
};

export const iova: Parameter = required(long('iova'));
export const address: Parameter = required(long('address'));
export const range: Parameter = required(long('length'));
export const size: Parameter = required(bytesFrom('size', 1));
export const length: Parameter = required(bytesFrom('length', 1));
export const offset: Parameter = required(bytesFrom('offset', 0));
/** Of a window of a DmaBuffer of one page. */
export const windowLength: Parameter = required(whole('length', 1, 4096));

const sourceProperties = {
  fd: required(whole('source.fd', 0, 2 ** 31 - 1)),
  offset: required(bytesFrom('source.offset', 0)),
  length: required(bytesFrom('source.length', 1)),
};
export const source: Parameter = {
  name: named('source'),
  bad: [
    undefined,
    ...notStrings,
    'x',
    Buffer.alloc(4096),
    new ArrayBuffer(4096),
    DmaBuffer,
    Object.create(DmaBuffer.prototype),
  ],
  properties: sourceProperties,
  good: () => ({ fd: 0, offset: 0, length: 4096 }),
};
/** Of which a part is mapped. */
export const buffer: Parameter = {
  name: named('source'),
  bad: [],
  good: ({ handles }) => handles.DmaBuffer,
};

const mapTarget = { iova: long('iova'), read: boolean('read'), write: boolean('write') };
export const target: Parameter = options(mapTarget);
export const map: Parameter = options({
  ...mapTarget,
  offset: whole('offset', 0, 4095),
  length: whole('length', 1, 4096),
});
export const region: Parameter = {
  name: named('region'),
  bad: [undefined, ...notStrings, 'bar0', 0, Region, Object.create(Region.prototype)],
  good: ({ handles }) => handles.Region,
};
export const copy: Parameter = options({
  ...mapTarget,
  from: {
    name: named('options.from'),
    bad: [...notStrings, 'x', { id: 1 }, Ioas, Object.create(Ioas.prototype)],
  },
});

const notObjects = [undefined, ...notStrings.filter((one) => !isPlain(one))];
const badRanges = [
  ...notObjects,
  {},
  ...required(long('')).bad.map((one) => ({ start: one, last: 1n })),
  ...required(long('')).bad.map((one) => ({ start: 0n, last: one })),
  { start: 2n, last: 1n },
];
export const ranges: Parameter = {
  name: /"ranges(?:\[\d\](?:\.start|\.last)?)?"/,
  bad: [
    ...notObjects.filter((one) => !Array.isArray(one)),
    'x',
    ...badRanges.map((one) => [{ start: 0n, last: 0n }, one]),
  ],
  good: () => [{ start: 0n, last: 0xffff_ffffn }],
};
export const granule: Parameter = powerOfTwo('granule');
export const allocate: Parameter = options({
  alignment: powerOfTwo('alignment'),
  last: long('last'),
});
/** Nothing is allocated. */
export const released: Parameter = { ...iova, bad: [...iova.bad, 4096n] };

export const parts: Parameter = {
  name: /"parts(?:\[1\](?:\.iova|\.size)?)?"/,
  bad: [
    ...notObjects.filter((one) => !Array.isArray(one)),
    ...[
      ...notObjects,
      {},
      ...iova.bad.map((one) => ({ iova: one, size: 1 })),
      ...size.bad.map((one) => ({ iova: 0n, size: one })),
    ].map((one) => [{ iova: 0n, size: 1 }, one]),
  ],
  good: () => [],
};
export const scatter: Parameter = options({
  maxSize: bytesFrom('maxSize', 1),
  boundary: powerOfTwo('boundary'),
});

export const spin: Parameter = required(whole('spin', 0, 1000));
const width: Parameter = {
  name: named('width'),
  bad: [null, '32', 32n, 64, 24, 0, 8.5, NaN, {}, [32], Symbol('a symbol')],
};
/** A ring of four entries in memory of one page. */
export const entryPoll: Parameter = {
  name: named('options'),
  bad: [...notObjects, 'x'],
  properties: {
    offset: required(whole('offset', 0, 4044)),
    stride: whole('stride', 4, 1024),
    count: whole('count', 1, 2 ** 32 - 1),
    mask: required(whole('mask', 1, 2 ** 32 - 1)),
    value: required(whole('value', 0, 1)),
    step: whole('step', 0, 1),
    most: whole('most', 1, 4),
    spin: whole('spin', 0, 1000),
    width,
  },
  good: () => ({ offset: 0, stride: 16, count: 4, mask: 1, value: 1 }),
};
export const counterPoll: Parameter = {
  name: named('options'),
  bad: [...notObjects, 'x'],
  properties: {
    offset: required(whole('offset', 0, 4092)),
    mask: whole('mask', 1, 2 ** 32 - 1),
    value: whole('value', 0, 0xff),
    most: whole('most', 1, 0xff),
    spin: whole('spin', 0, 1000),
    width,
  },
  good: () => ({ offset: 0, mask: 0xff }),
};

const ofBuffers = {
  hugePages: {
    name: named('hugePages'),
    bad: [...notStrings, '', '4K', '2m', 2 ** 21],
  },
  populate: boolean('populate'),
};
export const bufferOptions: Parameter = options(ofBuffers);
export const pool: Parameter = options({ ...ofBuffers, chunkSize: bytesFrom('chunkSize', 1) });
export const poolIoas: Parameter = ioas;
export const blockSize: Parameter = required(bytesFrom('size', 1));
const alignment = powerOfTwo('alignment');
export const blockAlignment: Parameter = { ...alignment, bad: [...alignment.bad, 2n ** 53n] };
export const block: Parameter = {
  name: named('block'),
  bad: [...notObjects, 'x', {}, { iova: 4096n }, DmaPool, Object.create(DmaPool.prototype)],
};
/** Of a mapping of a page, or of a block of 64 bytes. */
export const spanOffset = (size: number): Parameter => required(whole('offset', 0, size - 1));

export const device: Parameter = {
  name: named('device'),
  bad: [undefined, ...notStrings, 'x', 7],
  properties: {
    devId: required(whole('device.devId', 0, 2 ** 32 - 1)),
    iommufd: { name: named('device.iommufd'), bad: [...notStrings, 'x'] },
  },
  good: () => ({ devId: 1 }),
};
const notTypes = [undefined, ...notStrings.filter((one) => one !== 3), 'x', '', 'constructor'];
const data: Parameter = {
  name: /"data(?:\.\w+(?:\[\d\]|\.length)?)?"/,
  bad: [
    ...notStrings,
    'vtd-s1',
    ...notTypes.map((type) => ({ type })),
    { type: 0, data: new Uint8Array(4) },
    ...[undefined, 'x', new Uint8Array(0), new Uint8Array(2 ** 17)].map((bad) => ({
      type: 7,
      data: bad,
    })),
    ...[undefined, 1n, [], [1n], [1n, 2], [1n, -1n], [1n, 2n, 3n]].map((ste) => ({
      type: 'arm-smmuv3',
      ste,
    })),
    { type: 'amd-guest', dte: [1n, 2n] },
    { type: 'vtd-s1', addrWidth: 48 },
    { type: 'vtd-s1', pgtblAddr: 0n, addrWidth: 0 },
    { type: 'vtd-s1', pgtblAddr: 0n, addrWidth: 48, sre: 1 },
  ],
};
export const nestedData: Parameter = {
  ...data,
  name: /"data(?:\.\w+(?:\[\d\]|\.length)?)?"/,
  bad: [undefined, ...data.bad],
  good: () => ({ type: 'arm-smmuv3', ste: [1n, 2n] }),
};
const faultQueue: Parameter = {
  name: named('faultQueue'),
  bad: [...notStrings, 'x', { id: 1 }, FaultQueue, Object.create(FaultQueue.prototype)],
};
export const nested: Parameter = options({ faultQueue, pasid: boolean('pasid') });
const type: Parameter = { name: named('type'), bad: [...notTypes, 0, -1, 1.5, 2 ** 32] };
export const viommu: Parameter = {
  name: /"(?:options|type|data(?:\.length)?)"/,
  bad: [
    ...notObjects,
    'x',
    ...[null, 'x', new Uint8Array(0), new Uint8Array(2 ** 17)].map((bad) => ({
      type: 7,
      data: bad,
    })),
  ],
  properties: { type },
  good: () => ({ type: 'arm-smmuv3' }),
};
export const veventQueue: Parameter = {
  name: /"(?:options|type|depth|dataLength)"/,
  bad: [...notObjects, 'x', { type: 7 }, { type: 7, dataLength: 0 }],
  properties: { type, depth: whole('depth', 1, 2 ** 32 - 1) },
  good: () => ({ type: 'arm-smmuv3' }),
};
export const hwQueue: Parameter = {
  name: named('options'),
  bad: [...notObjects, 'x'],
  properties: {
    type,
    index: required(whole('index', 0, 2 ** 32 - 1)),
    nestingParentIova: required(long('nestingParentIova')),
    length: required(long('length', 0n)),
  },
  good: () => ({ type: 1, index: 0, nestingParentIova: 4096n, length: 4096n }),
};
export const viommuMap: Parameter = {
  name: /"part(?:\.\w+)?"/,
  bad: [undefined, ...notStrings, 'x'],
  properties: {
    offset: {
      ...required(long('')),
      name: named('part.offset'),
      bad: [undefined, ...notLongs, -1n, 1n << 60n],
    },
    length: required(whole('part.length', 1, Number.MAX_SAFE_INTEGER)),
  },
  good: () => ({ offset: 0n, length: 4096 }),
};
export const virtId: Parameter = required(long('virtId'));
export const hardwareType: Parameter = {
  name: named('type'),
  bad: [...notStrings.filter((one) => one !== 3), 'x', '', -1, 1.5, 2 ** 32],
};
const entries = {
  name: /"invalidation\.entries(?:\[\d\])?(?:\[\d\]|\.\w+)*"/,
  bad: [
    undefined,
    null,
    3,
    'x',
    {},
    new Uint8Array(8),
    ...[undefined, null, 3, 'x', [], [1n], [1n, 2], [1n, -1n]].map((one) => [[0n, 0n], one]),
    Array.from({ length: 2 ** 16 + 1 }, () => [0n, 0n]),
  ],
};
export const invalidation: Parameter = {
  name: /"invalidation(?:\.entries(?:\[\d\]|\.\w+)*)?"/,
  bad: [
    ...notObjects,
    'x',
    ...[
      undefined,
      null,
      {},
      { addr: 1n, npages: 1n },
      { addr: 0n },
      { addr: 0n, npages: 1 },
      { addr: 0n, npages: 1n, leaf: 1 },
    ].map((one) => ({ type: 'vtd-s1', entries: [one] })),
    ...[undefined, 'x', new Uint8Array(0), new Uint8Array(2 ** 17), new Uint8Array(9)].map(
      (one) => ({ type: 7, entries: [new Uint8Array(8), one] }),
    ),
  ],
  properties: {
    type: { name: named('invalidation.type'), bad: [...notTypes, -1, 1.5, 2 ** 32] },
    entries,
  },
  good: () => ({ type: 'arm-smmuv3', entries: [[0n, 0n]] }),
};

export const hwpt: Parameter = options({
  pasid: boolean('pasid'),
  data,
  dirtyTracking: boolean('dirtyTracking'),
  nestParent: boolean('nestParent'),
  faultQueue,
});
export const pasid: Parameter = options({ pasid: whole('pasid', 1, 2 ** 20 - 1) });
export const dirty: Parameter = {
  name: /"(?:range|iova|length)"/,
  bad: [...notObjects, 'x', {}],
  properties: {
    iova: { ...iova, name: /"(?:iova|length)"/, bad: [...iova.bad, 1n, 4096n] },
    // No page, a part of one, more than is asked for at once, what is not mapped.
    length: { ...range, bad: [...range.bad, 0n, 1n, 1n << 60n, 8192n] },
    pageSize: { ...powerOfTwo('pageSize'), name: /"(?:pageSize|length)"/ },
    clear: boolean('clear'),
  },
  good: ({ handles: { DmaMapping } }) => ({ iova: DmaMapping.iova, length: 4096n }),
};
/** Of a container without devices, which is found out before the range is looked at. */
export const containerRange: Parameter = {
  name: /"range"/,
  bad: [...notObjects, 'x'],
};

export const extension: Parameter = required(whole('extension', 0, 2 ** 32 - 1));
export const compatIoas: Parameter = {
  ...ioas,
  bad: ioas.bad.filter((one) => one !== undefined),
};

export const cookie: Parameter = required(whole('cookie', 0, 2 ** 32 - 1));
export const mapped: Parameter = required(boolean('mapped'));
export const on: Parameter = required(boolean('on'));
export const hugePages: Parameter = required(boolean('hugePages'));
export const rlimitMode: Parameter = {
  name: named('rlimitMode'),
  bad: [undefined, ...notStrings, '', 'User', 'thread'],
};

const iommufd = { kind: 'iommufd', pid: process.pid, fd: 1, path: '/', context: '' };
export const token: Parameter = {
  name: named('token'),
  bad: [
    undefined,
    ...notStrings,
    'iommufd',
    { ...iommufd, pid: process.pid + 1 },
    ...['', 'constructor', 'x', 3, null].map((kind) => ({ ...iommufd, kind })),
    { ...iommufd, fd: '1' },
    { ...iommufd, path: undefined },
    ...['ioas', 'device', 'dma-buffer'].map((kind) => ({ kind, pid: process.pid })),
    ...[null, 'x', {}, { ...iommufd, kind: 'dma-buffer', memory: 1, size: 1 }].map((one) => {
      return { kind: 'ioas', pid: process.pid, iommufd: one, id: 1, sharedCount: 1 };
    }),
  ],
};

function isPlain(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
