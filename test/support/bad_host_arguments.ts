import { fakeAddress } from './fake_vfio.ts';
import { named, notStrings, type Parameter, roots, spec } from './bad_arguments.ts';

/** Bad arguments of what an operator does, for test/unit/matrix.test.ts. */

/** A list of devices of which each has to be good. */
const devices: Parameter = {
  name: /"devices"|"device(?:\.bus|\.address)?"/,
  bad: [
    ...notStrings.filter((value) => !Array.isArray(value)),
    [],
    '3b:00.0',
    ...spec.bad.map((one) => [one]),
  ],
};

export const cdiDevices: Parameter = {
  ...devices,
  bad: [undefined, ...devices.bad],
  good: () => [fakeAddress],
};

const backend: Parameter = { name: named('backend'), bad: [...notStrings, '', 'vhost', 'CDEV'] };
const kind: Parameter = { name: named('kind'), bad: [...notStrings, '', 'a', 'a/', '/a', 'a/b/c'] };
const cdiName: Parameter = { name: named('name'), bad: [...notStrings, '', '-', 'a b', 'a\n'] };

export const cdi: Parameter = {
  ...roots,
  properties: { ...roots.properties, backend, kind, name: cdiName },
};

const group: Parameter = {
  name: named('group'),
  bad: [undefined, ...notStrings, '', 'a"', 'a\n', '3', 'a/b', new String('vfio')],
  good: () => 'vfio',
};
const mode: Parameter = {
  name: named('mode'),
  bad: [...notStrings, '0660', 0o600, 0o777, -1, 0.5, Infinity],
};

export const udev: Parameter = {
  ...roots,
  bad: [undefined, ...roots.bad],
  properties: { ...roots.properties, group, mode, devices },
  good: ({ roots: at }) => ({ ...at, group: 'vfio' }),
};
