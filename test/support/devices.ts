import { readFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import type { DeviceAddress } from '../../lib/core/location.ts';
import { parseAddress } from '../../lib/locate/address.ts';
import { fakeDevices, isFake } from './fake_lab.ts';

/** A device that the tests may open and reset. */
export interface TestDevice extends DeviceAddress {
  /** The lab's name for it, such as `edu`; its address on a host. */
  name: string;
  /** `edu`, `nvme`, `e1000e`, `pci-testdev`, `mtty`, …; `host` for a host's own device. */
  kind: string;
}

/** For titles of tests that do not run. */
const placeholder: TestDevice = { name: 'none', kind: 'none', bus: 'pci', address: '0000:00:00.0' };

/** The lab's devices, or the one that VFIO_TEST_DEVICE names. Empty where there is neither. */
export const devices: TestDevice[] = findDevices();

const howTo =
  'set VFIO_TEST_DEVICE=0000:bb:dd.f to a device bound to vfio-pci, or: npm run test:lab';

/** Tests that need any device; each test takes the first one. Pending where there is none. */
export function describeDevice(title: string, body: (device: TestDevice) => void): void {
  const [first = placeholder] = devices;
  const run = (): void => {
    body(first);
  };
  if (first !== placeholder) describe(title, run);
  else describe.skip(`${title} (${howTo})`, run);
}

/** Tests that need these devices of the lab by name. Pending elsewhere. */
export function describeLab<Name extends string>(
  title: string,
  names: readonly Name[],
  body: (devices: Record<Name, TestDevice>) => void,
): void {
  const found = names.map((name) => devices.find((device) => device.name === name));
  const all = names.map((name, at) => [name, found[at] ?? placeholder]);
  const run = (): void => {
    body(Object.fromEntries(all) as Record<Name, TestDevice>);
  };
  // The fake kernel side has not all of them: what needs the others is left out by its title.
  const isRunnable = isFake ? found.some(Boolean) : !found.includes(undefined);
  if (isRunnable) describe(title, run);
  else describe.skip(`${title} (the lab's ${names.join(', ')}: npm run test:lab)`, run);
}

/** A test for each device; one pending test where there is none. */
export function itEach(title: string, body: (device: TestDevice) => Promise<void>): void {
  for (const device of devices) it(`${title}: ${device.name}`, () => body(device));
  if (devices.length === 0) it.skip(`${title} (${howTo})`, () => undefined);
}

/**
 * As {@link itEach}, for the first device of each kind: what takes long need not be seen on all.
 */
export function itEachKind(
  title: string,
  body: (device: TestDevice) => Promise<void> | void,
): void {
  for (const device of devices.filter(isFirstOfKind))
    it(`${title}: ${device.name}`, () => body(device));
  if (devices.length === 0) it.skip(`${title} (${howTo})`, () => undefined);
}

export function isFirstOfKind({ kind, name }: TestDevice): boolean {
  return devices.find((each) => each.kind === kind)?.name === name;
}

function findDevices(): TestDevice[] {
  if (isFake) return fakeDevices();
  const manifest = process.env['VFIO_LAB_DEVICES'];
  if (manifest !== undefined) return JSON.parse(readFileSync(manifest, 'utf8')) as TestDevice[];
  const spec = process.env['VFIO_TEST_DEVICE'];
  return spec === undefined ? [] : [{ name: spec, kind: 'host', ...parseAddress(spec) }];
}
