import {
  boolean,
  named,
  notStrings,
  options,
  required,
  whole,
  word,
  type Parameter,
} from './bad_arguments.ts';
import { notBytes, offset, region } from './bad_region_arguments.ts';
import { regionSize } from './fake_kernel.ts';

// Parameters of features, for test/unit/matrix.test.ts.

export const probed: Parameter = required(whole('index', 0, 0xffff));
/** The generic calls refuse features whose data are pointers. */
const pointers = [2, 4, 6, 8, 11, 13];
export const plain: Parameter = {
  name: probed.name,
  bad: [...probed.bad, ...pointers],
  good: () => 0,
};
export const operation: Parameter = word('what', 'get', 'probe', 'GET');
export const length: Parameter = required(whole('length', 0, 0xffff));
export const size: Parameter = required(whole('size', 0, 0xffff));
export const bytes: Parameter = {
  name: /"bytes(?:\.length)?"/,
  bad: [...notBytes, new Uint8Array(0x10000)],
  good: () => new Uint8Array(1),
};
export const enabled: Parameter = required(boolean('enabled'));
export const on: Parameter = required(boolean('on'));

export const regionIndex: Parameter = required(whole('region', 0, 2 ** 32 - 1));

const notLongs = [undefined, null, '1', true, {}, Symbol('a symbol'), -1, 0.5, NaN, 2 ** 53];
const notUnsigned = [...notLongs, -1n, 2n ** 64n];

const notArrays: readonly unknown[] = [
  undefined,
  ...notStrings.filter((one) => !Array.isArray(one)),
  [],
  ...[undefined, null, 3, 'x', []].map((one) => [one]),
];
export const ranges: Parameter = {
  name: /"(?:ranges|offset|length)"/,
  bad: [
    ...notArrays,
    ...notUnsigned.map((one) => [{ offset: one, length: 1 }]),
    ...notUnsigned.map((one) => [{ offset: 0n, length: one }]),
  ],
  good: () => [{ offset: 0, length: 4096 }],
};

const iova: Parameter = { name: named('iova'), bad: notUnsigned };
const iovaLength: Parameter = { name: named('length'), bad: [...notUnsigned, 0n, 0] };
const iovaRanges: Parameter = {
  name: /"(?:ranges|iova|length)"/,
  bad: [
    ...notArrays,
    ...iova.bad.map((one) => [{ iova: one, length: 1 }]),
    ...iovaLength.bad.map((one) => [{ iova: 0n, length: one }]),
  ],
};
const pageSize: Parameter = {
  name: named('pageSize'),
  bad: [undefined, ...notStrings.filter((one) => one !== 3), 0, -4096, 3, 0.5, Infinity, 2 ** 53],
};
export const logging: Parameter = required(
  options({ pageSize, ranges: iovaRanges }, () => ({
    pageSize: 4096,
    ranges: [{ iova: 0n, length: 4096n }],
  })),
);
/** More pages than are reported at once. */
const reportLength: Parameter = { ...iovaLength, bad: [...iovaLength.bad, 1n << 63n] };
export const report: Parameter = required(
  options({ pageSize, iova, length: reportLength }, () => ({
    pageSize: 4096,
    iova: 0n,
    length: 4096n,
  })),
);

export const enter: Parameter = options({ wakeup: boolean('wakeup') });
export const migrationState: Parameter = word('state', 'stop', undefined, 'error', 'STOP', 1);

export const source: Parameter = word('source', 'region', undefined, 'REGION', 4);
export const plane: Parameter = word('plane', 'primary', 'PRIMARY', 1);
export const planeId: Parameter = required(whole('id', 0, 0xffff_ffff));

const written: Parameter = {
  name: named('value'),
  bad: [...notUnsigned, 256n ** 4n, 2 ** 32],
};
const ioeventfdOffset: Parameter = {
  name: named('offset'),
  bad: [...offset(1).bad, regionSize - 3],
};
const eventfd: Parameter = {
  name: named('eventfd'),
  bad: [undefined, ...whole('', 0, 2 ** 31 - 1).bad.filter((one) => one !== null)],
};
export const ioeventfd: Parameter = required(
  options(
    {
      region,
      offset: ioeventfdOffset,
      width: { name: named('width'), bad: [undefined, ...notStrings, '4', 0, 16, -4, 4.5] },
      value: written,
      eventfd,
    },
    () => ({ region: 0, offset: 0, width: 4, value: 1, eventfd: null }),
  ),
);
