import { Ioas } from '../../lib/iommu/ioas.ts';
import { Iommufd } from '../../lib/iommu/iommufd.ts';

/** A parameter of a public function, for test/unit/matrix.test.ts. */
export interface Parameter {
  /** How errors call it, or what in it is wrong. */
  name: RegExp;
  bad: readonly unknown[];
  /** Of an object: its properties. */
  properties?: Record<string, Parameter>;
}

const never = (): never => {
  throw new Error('called');
};
const notStrings = [null, 3, NaN, true, 1n, Symbol('a symbol'), {}, [], never];
const named = (name: string): RegExp => new RegExp(`"${name}"`);
const root = (name: string): Parameter => ({
  name: named(name),
  bad: [...notStrings, '', 'dev', './dev', '/dev\0', '\0', new String('/dev')],
});

const fds = [-1, -0.5, 1.5, NaN, Infinity, -Infinity, 2 ** 31, 2 ** 53, 1e300];

export const fd: Parameter = {
  name: named('fd'),
  bad: [undefined, ...notStrings.filter((value) => value !== 3), '3', ...fds],
};

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
};

/** A mistake in any of them is one. */
export const specs: Parameter = {
  name: /"specs"|"device(?:\.bus|\.address)?"/,
  bad: [undefined, ...notStrings.filter((value) => !Array.isArray(value)), '3b:00.0', ...spec.bad.map((one) => ['3b:00.0', one])], // prettier-ignore
};

export const iommufd: Parameter = {
  name: named('iommufd'),
  bad: [...notStrings, 'x', { fd: 3 }, Iommufd, Object.create(Iommufd.prototype)],
};

/** Numbers from `least` to `most`, whole ones. */
function whole(name: string, least: number, most: number): Parameter {
  const notNumbers = [null, '1', 1n, true, {}, Symbol('a symbol'), never];
  return {
    name: named(name),
    bad: [...notNumbers, least - 1, most + 1, least + 0.5, NaN, Infinity, -Infinity],
  };
}

/** Of an interrupt with one vector. */
export const vector: Parameter = whole('vector', 0, 0);
export const vectors: Parameter = {
  name: named('vectors'),
  bad: [undefined, ...whole('', 1, 1).bad],
};
const eventfds: Parameter = {
  name: /"eventfds?"|"vectors"/,
  bad: [null, 'x', 3, {}, [], [1, 2], ...whole('', 0, 2 ** 31 - 1).bad.map((one) => [one, one])],
};
export const enable: Parameter = {
  name: named('vectors'),
  bad: whole('', 1, 1).bad,
  properties: { eventfds },
};
export const eventfd: Parameter = {
  name: named('eventfd'),
  bad: [undefined, ...whole('', 0, 2 ** 31 - 1).bad.filter((one) => one !== null)],
};
export const which: Parameter = {
  name: /"which"|"vectors?"/,
  bad: [...vector.bad, [], [1], [true, true]],
};
export const irq: Parameter = {
  name: named('interrupt'),
  bad: [undefined, ...whole('', 0, 0).bad, 'msix', 'INTX', 'req'],
};

export const ioas: Parameter = {
  name: named('ioas'),
  bad: [undefined, ...notStrings, 'x', { id: 1 }, Ioas, Object.create(Ioas.prototype)],
};

const sysfsRoot = root('sysfsRoot');
const devRoot = root('devRoot');
const timeout: Parameter = {
  name: named('timeout'),
  bad: [null, '1', 1n, true, {}, [], Symbol('a symbol'), never, -1, NaN, Infinity, 2 ** 31],
};
const signal: Parameter = {
  name: named('signal'),
  bad: [...notStrings, 'x', { aborted: false }, new AbortController()],
};

/** An object of options with these properties. */
export function options(properties: Record<string, Parameter>): Parameter {
  const bad = [...notStrings.filter((value) => !isPlain(value)), 'x'];
  return { name: named('options'), bad, properties };
}

function isPlain(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export const roots: Parameter = options({ sysfsRoot, devRoot });
export const onlySysfs: Parameter = options({ sysfsRoot });
export const onlyDev: Parameter = options({ devRoot });
export const counts: Parameter = options({ signal });
export const openSync: Parameter = options({ sysfsRoot, devRoot, timeout });
export const open: Parameter = options({ sysfsRoot, devRoot, timeout, signal });
const requestEvents: Parameter = {
  name: named('requestEvents'),
  bad: notStrings.filter((value) => value !== true),
};
export const openDeviceSync: Parameter = options({
  ...openSync.properties,
  iommufd,
  requestEvents,
});
export const openDevice: Parameter = options({ ...openDeviceSync.properties, signal });
export const openDevices: Parameter = options({
  ...openDevice.properties,
  concurrency: {
    name: named('concurrency'),
    bad: whole('', 1, 64).bad,
  },
  onProgress: { name: named('onProgress'), bad: notStrings.filter((value) => value !== never) },
  settle: { name: named('settle'), bad: notStrings.filter((value) => value !== true) },
});
export const devices: Parameter = {
  name: named('devices'),
  bad: [undefined, null, 3, 'x', {}, never, [undefined], [{}], [Object.create(null)]],
};
