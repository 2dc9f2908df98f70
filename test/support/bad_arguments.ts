import { Container } from '../../lib/backend/container.ts';
import { KvmVfio } from '../../lib/backend/kvm_vfio.ts';
import type { Roots } from '../../lib/core/location.ts';
import { Ioas } from '../../lib/iommu/ioas.ts';
import { Iommufd } from '../../lib/iommu/iommufd.ts';
import { fakeAddress } from './fake_vfio.ts';
import type { Handles } from './matrix_handles.ts';

/** A parameter of a public function, for test/unit/matrix.test.ts. */
export interface Parameter {
  /** How errors call it, or what in it is wrong. */
  name: RegExp;
  bad: readonly unknown[];
  /** The code that each of them gets; without this, any of Node's. */
  codeOf?: (bad: unknown) => string;
  /** Of an object: its properties. */
  properties?: Record<string, Parameter>;
  /** An argument with which the function would do something; without this, undefined is one. */
  good?: (world: World) => unknown;
}

/** Where the functions are called. */
export interface World {
  roots: Roots;
  handles: Handles;
}

export const never = (): never => {
  throw new Error('called');
};
export const notStrings: readonly unknown[] = [
  null,
  3,
  NaN,
  true,
  1n,
  Symbol('a symbol'),
  {},
  [],
  never,
];
export const named = (name: string): RegExp => new RegExp(`"${name}"`);
const root = (name: string): Parameter => ({
  name: named(name),
  bad: [...notStrings, '', 'dev', './dev', '/dev\0', '\0', new String('/dev')],
});

const fds = [-1, -0.5, 1.5, NaN, Infinity, -Infinity, 2 ** 31, 2 ** 53, 1e300];

export const fd: Parameter = {
  name: named('fd'),
  bad: [undefined, ...notStrings.filter((value) => value !== 3), '3', ...fds],
  good: () => 0,
};

export const text: Parameter = { name: named('text'), bad: [undefined, ...notStrings] };

export const spec: Parameter = {
  name: /"device(?:\.bus|\.address)?"/,
  bad: [
    undefined,
    ...notStrings.filter((value) => value !== 3),
    ...fds,
    '',
    '3b:00',
    '3b:00.0\0',
    '0000:3b:00.0\n',
    '/',
    '/etc/passwd',
    '/sys/bus/pci/devices/../../../etc',
    '/sys/bus/pci/devices/0000:3b:00.0\0',
    'x'.repeat(100_000),
    new String('0000:3b:00.0'),
    new Date(0),
    Object.create(null),
    { bus: 'pci' },
    { address: '0000:3b:00.0' },
    { bus: 'pci', address: 3 },
    { bus: 3, address: '0000:3b:00.0' },
    { bus: Symbol('bus'), address: '0000:3b:00.0' },
    { bus: 'pci', address: '..' },
    { bus: 'platform', address: 'a\0' },
    { bus: 'platform', address: 'x'.repeat(100_000) },
    { bus: '..', address: 'a' },
    { bus: 'a/b', address: 'a' },
    { bus: '', address: 'a' },
  ],
  good: () => fakeAddress,
};

/** Of functions that do without a device. */
export const optionalSpec: Parameter = {
  ...spec,
  bad: spec.bad.filter((value) => value !== undefined),
};

/** A mistake in any of them is one. */
export const specs: Parameter = {
  name: /"specs"|"device(?:\.bus|\.address)?"/,
  bad: [
    undefined,
    ...notStrings.filter((value) => !Array.isArray(value)),
    '3b:00.0',
    ...spec.bad.map((one) => ['3b:00.0', one]),
  ],
  good: () => [fakeAddress],
};

export const iommufd: Parameter = {
  name: named('iommufd'),
  bad: [...notStrings, 'x', { fd: 3 }, Iommufd, Object.create(Iommufd.prototype)],
  good: ({ handles }) => handles.Iommufd,
};

/** Numbers from `least` to `most`, whole ones. */
export function whole(name: string, least: number, most: number): Parameter {
  const notNumbers = [null, '1', 1n, true, {}, Symbol('a symbol'), never];
  return {
    name: named(name),
    bad: [...notNumbers, least - 1, most + 1, least + 0.5, NaN, Infinity, -Infinity],
    codeOf: (bad) => codeOf('number', bad),
    good: () => least,
  };
}

/** A value of another type, or one that is out of range. */
export function codeOf(type: 'number' | 'bigint', bad: unknown): string {
  return typeof bad === type ? 'ERR_OUT_OF_RANGE' : 'ERR_INVALID_ARG_TYPE';
}

/** Of an interrupt with one vector. */
export const vector: Parameter = whole('vector', 0, 0);
export const vectors: Parameter = required(whole('vectors', 1, 1));
const eventfds: Parameter = {
  name: /"eventfds?"|"vectors"/,
  bad: [null, 'x', 3, {}, [], [1, 2], ...whole('', 0, 2 ** 31 - 1).bad.map((one) => [one, one])],
};
export const enable: Parameter = {
  name: named('vectors'),
  bad: whole('', 1, 1).bad,
  properties: { eventfds },
  good: () => ({ eventfds: [null] }),
};
export const eventfd: Parameter = {
  name: named('eventfd'),
  bad: [undefined, ...whole('', 0, 2 ** 31 - 1).bad.filter((one) => one !== null)],
  good: () => null,
};
export const which: Parameter = {
  name: /"which"|"vectors?"/,
  bad: [...vector.bad, [], [1], [true, true]],
};
export const irq: Parameter = {
  name: named('interrupt'),
  bad: [undefined, ...notStrings.filter((value) => value !== 3), -1, 0.5, Infinity],
  good: () => 0,
};

export const ioas: Parameter = {
  name: named('ioas'),
  bad: [undefined, ...notStrings, 'x', { id: 1 }, Ioas, Object.create(Ioas.prototype)],
  good: ({ handles }) => handles.Ioas,
};

const sysfsRoot = root('sysfsRoot');
const devRoot = root('devRoot');
export const timeout: Parameter = {
  name: named('timeout'),
  bad: [null, '1', 1n, true, {}, [], Symbol('a symbol'), never, -1, NaN, Infinity, 2 ** 31],
};
export const signal: Parameter = {
  name: named('signal'),
  bad: [...notStrings, 'x', { aborted: false }, new AbortController()],
};

/** An object of options with these properties, and others that do no harm. */
export function options(
  properties: Record<string, Parameter>,
  good: (world: World) => object = () => ({}),
): Parameter {
  const bad = [...notStrings.filter((value) => !isPlain(value)), 'x'];
  return { name: named('options'), bad, properties, good };
}

/** As `options`, of functions that look into sysfs. */
function located(properties: Record<string, Parameter>): Parameter {
  return options(properties, ({ roots }) => roots);
}

/** A parameter that may not be left out. */
export function required(parameter: Parameter): Parameter {
  return { ...parameter, bad: [undefined, ...parameter.bad] };
}

/** Neither true nor false. */
export function boolean(name: string): Parameter {
  const bad = [...notStrings.filter((value) => value !== true), 'true'];
  return { name: named(name), bad, good: () => true };
}

/** None of some words. */
export function word(name: string, good: string, ...others: unknown[]): Parameter {
  return { name: named(name), bad: [...notStrings, '', 'x', ...others], good: () => good };
}

function isPlain(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export const roots: Parameter = located({ sysfsRoot, devRoot });
export const onlySysfs: Parameter = located({ sysfsRoot });
export const onlyDev: Parameter = located({ devRoot });
export const counts: Parameter = options({ signal });
export const wait: Parameter = options({ timeout, signal });
export const watch: Parameter = located({
  sysfsRoot,
  devRoot,
  signal,
  receiveBuffer: whole('receiveBuffer', 1, 2 ** 30),
});
export const openSync: Parameter = located({ sysfsRoot, devRoot, timeout });
export const open: Parameter = located({ sysfsRoot, devRoot, timeout, signal });

const uuids = [
  '',
  'x',
  '8699b0f6-5c57-4d4e-a371-4f0e0d3b5f1',
  '8699b0f6-5c57-4d4e-a371-4f0e0d3b5f1cc',
  '8699b0f6-5c57-4d4e-a371-4f0e0d3b5f1g',
  '8699b0f65c574d4ea3714f0e0d3b5f1c',
  '8699b0f6-5c57-4d4e-a371-4f0e0d3b5f1c\n',
  'x'.repeat(100_000),
  new String('8699b0f6-5c57-4d4e-a371-4f0e0d3b5f1c'),
];
const vfToken: Parameter = { name: named('vfToken'), bad: [...notStrings, ...uuids] };
export const uuid: Parameter = {
  name: named('uuid'),
  bad: [undefined, ...notStrings, ...uuids],
};
const kvm: Parameter = {
  name: named('kvm'),
  bad: [...notStrings, 'x', { fd: 3 }, KvmVfio, Object.create(KvmVfio.prototype)],
};
const binding = { requestEvents: boolean('requestEvents'), vfToken, kvm };
export const bind: Parameter = options(binding);
const beforeBind: Parameter = {
  name: named('beforeBind'),
  bad: notStrings.filter((value) => value !== never),
};
export const openDeviceSync: Parameter = located({
  ...openSync.properties,
  ...binding,
  beforeBind,
  busMaster: boolean('busMaster'),
  backend: { name: named('backend'), bad: [...notStrings, '', 'Cdev', 'type1'] },
  container: {
    name: named('container'),
    bad: [...notStrings, 'x', { fd: 1 }, Container, Object.create(Container.prototype)],
  },
  iommufd,
});
export const openDevice: Parameter = located({ ...openDeviceSync.properties, signal });
export const openDevices: Parameter = located({
  ...openDevice.properties,
  concurrency: whole('concurrency', 1, 64),
  onProgress: { name: named('onProgress'), bad: notStrings.filter((value) => value !== never) },
  settle: boolean('settle'),
});
export const devices: Parameter = {
  name: named('devices'),
  bad: [undefined, null, 3, 'x', {}, never, [undefined], [{}], [Object.create(null)]],
  good: ({ handles }) => [handles.VfioDevice],
};

/** One device or several; a mistake in any of them is one. */
export const oneOrMore: Parameter = {
  name: /"device(?:\.bus|\.address)?"/,
  bad: [...spec.bad, ...spec.bad.map((one) => ['3b:00.0', one])],
  good: () => fakeAddress,
};
const hostRoots = {
  sysfsRoot,
  devRoot,
  procRoot: root('procRoot'),
  runRoot: root('runRoot'),
  etcRoot: root('etcRoot'),
  modulesRoot: root('modulesRoot'),
};
export const host: Parameter = located(hostRoots);
export const vfCount: Parameter = required(whole('count', 0, 0xffff));
export const setVfs: Parameter = located({ ...hostRoots, timeout, probe: boolean('probe') });
export const restoreDriver: Parameter = located({
  ...hostRoots,
  group: boolean('group'),
  dryRun: boolean('dryRun'),
  persist: boolean('persist'),
  force: boolean('force'),
  timeout,
});
export const bindDriver: Parameter = located({
  ...restoreDriver.properties,
  driver: { name: named('driver'), bad: [...notStrings, '', '..', '-x', 'a/b', 'a\0'] },
});
