import {
  codeOf,
  never,
  named,
  notStrings,
  options,
  required,
  signal,
  timeout,
  whole,
  word,
  type Parameter,
} from './bad_arguments.ts';
import { regionSize as size } from './fake_kernel.ts';

// Parameters of regions, mappings and the configuration space, for test/unit/matrix.test.ts.

export const region: Parameter = {
  name: /"region(?:\.type|\.subtype)?"/,
  bad: [
    undefined,
    ...notStrings.filter((value) => value !== 3),
    -1,
    0.5,
    Infinity,
    { type: 1 },
    { subtype: 1 },
    { type: '1', subtype: 1 },
    { type: 1, subtype: 1n },
    { type: -1, subtype: 0 },
    { type: 0, subtype: 2 ** 32 },
    { type: 0.5, subtype: 0 },
    { type: NaN, subtype: 0 },
  ],
  properties: {},
  good: () => 0,
};

type Width = 1 | 2 | 4 | 8;

/** Where an access of so many bytes begins. */
export function offset(width: Width): Parameter {
  const unaligned = width > 1 ? [1, width / 2, size - width - 1] : [];
  const { bad, ...rest } = required(whole('offset', 0, size - width));
  return { ...rest, bad: [...bad, [], size, -width, 2 ** 32, 2 ** 53, ...unaligned] };
}

/** Where two accesses of four bytes begin. */
export const halves: Parameter = {
  ...offset(4),
  bad: [...required(whole('offset', 0, size - 8)).bad, [], size, -8, 1, 2, size - 4, 2 ** 53],
};

/** What a register of so many bytes cannot hold. */
export function value(width: Width): Parameter {
  if (width < 8) return required(whole('value', 0, 256 ** width - 1));
  const bad = [undefined, null, 0, 1.5, '0', {}, [], true, Symbol('a symbol'), never];
  return {
    name: named('value'),
    bad: [...bad, -1n, 2n ** 64n],
    codeOf: (one) => codeOf('bigint', one),
    good: () => 0n,
  };
}

/** No array of unsigned elements, though some look like one. */
const notArrays: readonly unknown[] = [
  undefined,
  ...notStrings,
  'x',
  new ArrayBuffer(8),
  new DataView(new ArrayBuffer(8)),
  new Float64Array(1),
  new Int32Array(1),
  new BigInt64Array(1),
  new Uint8ClampedArray(8),
  Object.create(Uint8Array.prototype),
  Object.create(Uint32Array.prototype),
  new Proxy(new Uint32Array(1), {}),
];

/** No Uint8Array. */
export const notBytes: readonly unknown[] = [...notArrays, new Uint16Array(1), new Uint32Array(1)];

export const target: Parameter = {
  name: /"target(?:\.length)?"/,
  bad: [...notBytes.filter((one) => one !== 3), -1, 0.5, Infinity, size + 1, 2 ** 53].concat([
    new Uint8Array(size + 1),
  ]),
  good: () => 1,
};

export const bytes: Parameter = {
  name: /"bytes(?:\.length)?"/,
  bad: [...notBytes, new Uint8Array(size + 1)],
  good: () => Uint8Array.of(1),
};

function block(name: string): Parameter {
  return {
    name: new RegExp(`"${name}(?:\\.byteLength)?"`),
    bad: [...notArrays, new Uint8Array(size + 1), new Uint32Array(size / 4 + 1)],
    good: () => Uint32Array.of(1),
  };
}
export const blockTarget: Parameter = block('target');
export const blockValues: Parameter = block('values');

const notWords: readonly unknown[] = [...notBytes.slice(0, -1), new BigUint64Array(1)];
export const offsets: Parameter = {
  name: /"offsets?"|"values\.length"/,
  bad: [...notWords, Uint32Array.of(size), Uint32Array.of(0, 2), new Uint32Array(3)],
  good: () => Uint32Array.of(0, 4),
};
export const values: Parameter = {
  name: /"values(?:\.length)?"/,
  bad: [...notWords, new Uint32Array(1)],
  good: () => Uint32Array.of(1, 1),
};

export const mask: Parameter = required(whole('mask', 0, 0xffff_ffff));
/** With the mask 0. */
export const polled: Parameter = required(whole('value', 0, 0));
export const pollSync: Parameter = options({ timeout });
export const poll: Parameter = options({ timeout, signal });

export const map: Parameter = options({
  offset: whole('offset', 0, size - 1),
  size: whole('size', 1, size),
});

const onePrepared = (access: object): object[] => [{ op: 'read', offset: 0, ...access }];
export const prepared: Parameter = {
  name: /"accesses(?:\.length|\[0\](?:\.\w+)?)?"/,
  bad: [
    ...[undefined, ...notStrings.filter((one) => !Array.isArray(one)), 'x', [], new Array(1025)],
    ...[undefined, ...notStrings.filter((one) => !isObject(one)), 'x', {}].map((one) => [one]),
    ...offset(4).bad.map((one) => onePrepared({ offset: one })),
    ...[null, '32', 32n, 24, 0, NaN, {}, [32]].map((one) => onePrepared({ width: one })),
    ...[undefined, null, '', 'rw', 3, {}].map((one) => onePrepared({ op: one })),
  ],
};
/** What `prepare` answered. */
export const preparedAccesses: Parameter = {
  name: named('accesses'),
  bad: [undefined, ...notStrings, 'x', { run: never }, new Uint32Array(1)],
};

const notObjects = [undefined, ...notStrings.filter((one) => !isObject(one)), 'x'];
const notMasks = [undefined, null, '1', 1n, {}, 0, -1, 0.5, NaN, 0b101, 2 ** 32];
export const registers: Parameter = {
  name: /"map(?:\.a[.\w]*)?"/,
  bad: [
    ...notObjects,
    ...[
      ...notObjects,
      ...offset(4).bad.map((one) => ({ offset: one })),
      ...[null, '32', 32n, 24, NaN, {}, [32], Object.create(null)].map((one: unknown) => ({
        width: one,
      })),
      ...[null, '', 'x', 'wr', 3, {}, Symbol('a symbol')].map((one) => ({ access: one })),
      ...[null, 3, 'abc', [1], never].map((one) => ({ fields: one })),
      ...notMasks.map((one) => ({ fields: { part: one } })),
      { width: 8, fields: { part: 0x100 } },
      { width: 32, fields: { part: 1n } },
      ...[0n, 0b101n, 2n ** 64n, -1n, 2 ** 64, 2 ** 53 + 4, 0.5, '1', null].map((one) => {
        return { width: 64, fields: { part: one } };
      }),
      ...[null, 0, 1, 'true', {}].map((one) => ({ width: 64, split: one })),
      { width: 32, split: true },
      ...[null, 0, -1, 1.5, '1', 1n, 2 ** 53, size / 4 + 1].map((one) => ({ count: one })),
      ...[null, 0, -4, 2, 6, '4', NaN, 4n, size].map((one) => ({ stride: one, count: 2 })),
      { stride: 4 },
    ].map((spec) => ({ a: isObject(spec) ? { offset: 0, ...spec } : spec })),
    { a: {} },
    { good: { offset: 0 }, a: { offset: 1 } },
  ],
};

function isObject(spec: unknown): spec is object {
  return typeof spec === 'object' && spec !== null && !Array.isArray(spec);
}

export const space: Parameter = {
  name: /"space(?:\.length)?"/,
  bad: [...notBytes, new Uint8Array(63), []],
};

export const powerState: Parameter = word('state', 'D3hot', undefined, 'D3cold', 'd0', ' D0');
