import { FileDescriptor } from '../../lib/core/file_descriptor.ts';
import {
  boolean,
  iommufd,
  named,
  never,
  notStrings,
  options,
  type Parameter,
  required,
  roots,
  signal,
  spec,
  whole,
} from './bad_arguments.ts';

// Parameters of handing devices over, for test/unit/matrix.test.ts.

const mostFd = 2 ** 31 - 1;

/** A descriptor that another program opened. */
export const fd: Parameter = {
  name: named('fd'),
  bad: [
    undefined,
    ...whole('fd', 0, mostFd).bad,
    { fd: 3 },
    FileDescriptor,
    Object.create(FileDescriptor.prototype),
  ],
  good: () => 0,
};

/** A KVM VM's. */
export const vm: Parameter = { ...fd, name: named('vm') };

/** What KVM is told of. */
export const kvmFile: Parameter = {
  name: /"file(?:\.fd)?"/,
  bad: [
    undefined,
    ...whole('file', 0, mostFd).bad,
    { fd: -1 },
    { fd: '3' },
    { fd: undefined },
    FileDescriptor,
  ],
  good: () => 0,
};

const device: Parameter = { ...spec, bad: spec.bad.filter((value) => value !== undefined) };
const locations = roots.properties ?? {};
const devId = whole('devId', 0, 2 ** 32 - 1);
const requestEvents = boolean('requestEvents');
const bound = { ...iommufd, bad: [undefined, ...iommufd.bad] };

export const fromFd: Parameter = options({ ...locations, device }, (world) => world.roots);
export const deviceFromFd: Parameter = required(
  options({ ...locations, device, devId, iommufd: bound, requestEvents }, (world) => ({
    ...world.roots,
    iommufd: world.handles.Iommufd,
  })),
);
export const ioasId: Parameter = required(whole('id', 1, 2 ** 32 - 1));

export const path: Parameter = {
  name: named('path'),
  bad: [undefined, ...notStrings, '', 'socket', './socket', '/socket\0', `/${'x'.repeat(107)}`],
  good: () => '/socket',
};
const limits = { maxBytes: whole('maxBytes', 1, 1 << 20), maxFds: whole('maxFds', 0, 253) };
export const channel: Parameter = options(limits);
export const listen: Parameter = options({
  ...limits,
  mode: whole('mode', 0, 0o777),
  backlog: whole('backlog', 1, 65_535),
});
export const wait: Parameter = options({ signal });
export const data: Parameter = {
  name: named('data'),
  bad: [undefined, ...notStrings, 'x', Buffer.alloc(0), new Uint16Array(1), new ArrayBuffer(1)],
  good: () => Uint8Array.of(1),
};
export const fds: Parameter = {
  name: /"fds(?:\.length)?"/,
  bad: [
    ...notStrings.filter((value) => !Array.isArray(value)),
    'x',
    ...fd.bad.map((one) => [one]),
    Array.from({ length: 254 }, () => 0),
  ],
};

export const vfioDevice: Parameter = {
  name: named('device'),
  bad: [undefined, ...notStrings, 'x', { devId: 1 }],
  good: ({ handles }) => handles.VfioDevice,
};
export const ioases: Parameter = {
  name: named('ioases'),
  bad: [
    ...notStrings.filter((value) => !Array.isArray(value)),
    'x',
    ...[undefined, null, 3, {}].map((one) => [one]),
  ],
};

/** Comes from another program: whatever it is, it is no mistake of the caller's. */
export const description: Parameter = { name: /$./, bad: [], good: () => ({}) };
export const descriptors: Parameter = {
  name: named('fds'),
  bad: [undefined, ...notStrings.filter((value) => !Array.isArray(value)), 'x', [0], [{}], [null]],
  good: ({ handles }) => [handles.FileDescriptor],
};
export const unpack: Parameter = options(
  { ...locations, device, requestEvents },
  (world) => world.roots,
);

const cdev: Parameter = {
  name: named('devices.cdev'),
  bad: [undefined, ...notStrings, 'x', { fd: 3 }, [undefined], [3]],
};
export const vmmDevices: Parameter = required({
  ...options({ cdev, iommufd: { ...bound, name: named('devices.iommufd') } }, ({ handles }) => ({
    cdev: handles.VfioCdev,
    iommufd: handles.Iommufd,
  })),
  name: named('devices'),
});
const firstFd = whole('firstFd', 3, 1023);
const word: Parameter = {
  name: named('iommufdId'),
  bad: [...notStrings, '', '1', 'a,b', 'a=b', 'a b'],
};
const properties: Parameter = {
  name: /"properties(?:\[0\])?(?:\.\w+)?"/,
  bad: [
    ...notStrings.filter((value) => typeof value !== 'object' || Array.isArray(value)),
    null,
    [null],
    [{}, {}],
    { 'a,b': 1 },
    { '': 1 },
    ...[null, undefined, 1n, {}, never].map((value) => ({ bus: value })),
  ],
};
export const vmm: Parameter = options({ firstFd });
export const qemu: Parameter = options({ firstFd, iommufdId: word, properties });
