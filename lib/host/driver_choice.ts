import { fs } from '../core/builtins.ts';
import { invalidType, invalidValue } from '../core/arguments.ts';
import { explained, VfioError } from '../core/errors.ts';
import type { SysfsDevice } from '../core/location.ts';
import { vfioDrivers } from '../core/messages.ts';
import { either, type Steps } from '../core/steps.ts';
import { linesOf } from '../diagnose/mounts.ts';
import { listNames, readAttribute } from '../locate/sysfs.ts';
import type { HostRoots } from './host_roots.ts';

/** @throws TypeError for what no driver can be called */
export function checkDriver(driver: unknown): void {
  const expected = 'the name of a driver, such as vfio-pci';
  if (driver === undefined) return;
  if (typeof driver !== 'string') throw invalidType('driver', expected, driver);
  if (!/^(?![-.])[^/\p{Cc}]{1,100}$/u.test(driver)) throw invalidValue('driver', expected, driver);
}

/**
 * VFIO's driver for a device: for PCI the variant that the kernel has for this model, such as
 * mlx5_vfio_pci, which can more than vfio-pci; undefined for a bus without one.
 */
export function vfioDriverFor(
  device: SysfsDevice,
  { modulesRoot }: Pick<HostRoots, 'modulesRoot'>,
): string | undefined {
  const plain = vfioDrivers[device.bus];
  if (device.bus !== 'pci') return plain;
  const modalias = readAttribute(`${device.sysfsPath}/modalias`) ?? '';
  return variantOf(modalias, linesOf(`${modulesRoot}/modules.alias`)) ?? plain;
}

/**
 * The module whose alias begins with `vfio_pci:` and matches the device, as the drivers of
 * drivers/vfio/pci have it by PCI_DRIVER_OVERRIDE_DEVICE_VFIO (Linux 5.16). Of several the one that
 * says most of the device; undefined where only vfio-pci itself matches, which matches all.
 */
export function variantOf(modalias: string, aliases: readonly string[]): string | undefined {
  const [bus, model] = /^(pci):(.+)$/.exec(modalias)?.slice(1) ?? [];
  if (bus === undefined || model === undefined) return undefined;
  const found = aliases
    .map((line) => /^alias vfio_pci:(\S+) (\S+)$/.exec(line))
    .filter((match) => match !== null)
    .map(([, pattern = '', module = '']) => ({ pattern, module }))
    .filter(({ pattern, module }) => module !== 'vfio_pci' && matchesAlias(pattern, model));
  const said = ({ pattern }: { pattern: string }): number => pattern.replaceAll('*', '').length;
  return found.toSorted((a, b) => said(b) - said(a))[0]?.module;
}

/** As fnmatch(3) has it, with `*` and `?`, which are all that modpost writes for PCI. */
export function matchesAlias(pattern: string, text: string): boolean {
  // A list has twenty thousand patterns, most of which begin otherwise: no expression is made of them.
  const [literal = ''] = pattern.split(/[*?]/, 1);
  if (!text.startsWith(literal)) return false;
  const escaped = pattern.replace(/[.+^${}()|[\]\\]/g, '\\$&');
  const source = escaped.replaceAll('*', '.*').replaceAll('?', '.');
  return new RegExp(`^${source}$`).test(text);
}

/** As modules are called in sysfs and in modprobe's lists, which have no hyphens. */
export function moduleName(name: string): string {
  return name.replaceAll('-', '_');
}

/**
 * The name under which the bus has a driver: as it was given, or with the hyphens that its module's
 * name has not; undefined where it is not loaded.
 */
export function loadedDriver(bus: string, name: string, sysfsRoot: string): string | undefined {
  const names = listNames(`${sysfsRoot}/bus/${bus}/drivers`) ?? [];
  if (names.includes(name)) return name;
  return (
    names.find((each) => moduleName(each) === moduleName(name)) ??
    driverOfModule(bus, name, sysfsRoot)
  );
}

/** A module's driver may have another name: `/sys/module/<module>/drivers/pci:<driver>`. */
function driverOfModule(bus: string, name: string, sysfsRoot: string): string | undefined {
  const drivers = listNames(`${sysfsRoot}/module/${moduleName(name)}/drivers`) ?? [];
  return drivers.find((each) => each.startsWith(`${bus}:`))?.slice(bus.length + 1);
}

/**
 * Loads a module, with those that it needs; undefined where modprobe did so, otherwise what it
 * said. It is not waited for longer than `timeout` milliseconds.
 */
export function modprobe(module: string, timeout: number): Steps<string | undefined> {
  return either(
    () => modprobeLater(module, timeout),
    () => modprobeHere(module, timeout),
  );
}

/** A service may have no PATH with it. */
function modprobePath(): string {
  const places = ['/usr/sbin/modprobe', '/sbin/modprobe', '/usr/bin/modprobe', '/bin/modprobe'];
  return places.find((place) => fs.existsSync(place)) ?? 'modprobe';
}

const modprobeEnvironment = { LC_ALL: 'C', PATH: '/usr/sbin:/usr/bin:/sbin:/bin' };

function modprobeLater(module: string, timeout: number): Promise<string | undefined> {
  const { execFile } = process.getBuiltinModule('node:child_process');
  return new Promise((resolve) => {
    const options = { env: modprobeEnvironment };
    const child = execFile(modprobePath(), [module], options, (error, _out, said) => {
      clearTimeout(ring);
      resolve(error === null ? undefined : said.trim() || error.message);
    });
    const ring = setTimeout(() => {
      child.unref();
      resolve(`modprobe ${module} did not end within ${timeout} ms`);
    }, timeout);
  });
}

function modprobeHere(module: string, timeout: number): string | undefined {
  const { spawnSync } = process.getBuiltinModule('node:child_process');
  const options = { env: modprobeEnvironment, timeout, encoding: 'utf8' } as const;
  const { status, error, stderr } = spawnSync(modprobePath(), [module], options);
  if (error) return error.message;
  return status === 0 ? undefined : stderr.trim() || `modprobe ended with ${status ?? 'a signal'}`;
}

export function noSuchDriver(bus: string, driver: string, said: string | undefined): VfioError {
  const { release } = process.getBuiltinModule('node:os');
  const error = new VfioError({
    code: 'ERR_VFIO_DRIVER_NOT_BOUND',
    message: `the driver ${driver} is not to be had${said === undefined ? '' : ` (${said})`}`,
  });
  const facts = { bus, driver, release: release() };
  return explained(error, { reason: 'no-such-driver', certainty: 'certain', facts });
}
