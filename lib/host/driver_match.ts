import { explained, VfioError } from '../core/errors.ts';
import type { SysfsDevice } from '../core/location.ts';
import { vfioDrivers } from '../core/messages.ts';
import { linesOf } from '../diagnose/mounts.ts';
import { listNames, readAttribute, readLinkName } from '../locate/sysfs.ts';
import { loadedDriver, matchesAlias, moduleName } from './driver_choice.ts';
import { readRecord } from './driver_record.ts';
import type { HostRoots } from './host_roots.ts';

// `driver_override` has the kernel skip the driver's own table of devices (pci_match_device,
// drivers/pci/pci-driver.c): a driver that is given another kind of device probes it all the same,
// and may bring the kernel down with it. So the table is looked at here: depmod writes it down as
// aliases of the driver's module.

/** What a driver's module says of a device. */
export interface DriverMatch {
  module: string;
  isMatch: boolean;
  /** The device as aliases describe it; null where sysfs does not say. */
  modalias: string | null;
  /** What kept from looking; absent where it was looked at. */
  unread?: string;
  /** Neither is the driver loaded nor is there a module of its name. */
  isAbsent?: true;
}

/** Made to hold any device, of which they drive none: their tables are empty, or say nothing. */
const holders = new Set(['pci_stub', 'pci_pf_stub', 'uio_pci_generic', 'pciback', 'xen_pciback']);

/**
 * Whether a driver is made for a device: one of VFIO's for its bus, one that only holds devices, the
 * one that is remembered of it, or one whose module has an alias that matches.
 */
export function matchOf(device: SysfsDevice, driver: string, roots: HostRoots): DriverMatch {
  const { bus, sysfsPath } = device;
  const loaded = loadedDriver(bus, driver, roots.sysfsRoot);
  const folder = `${roots.sysfsRoot}/bus/${bus}/drivers/${loaded ?? driver}`;
  const module = moduleName(readLinkName(`${folder}/module`) ?? loaded ?? driver);
  const modalias = readAttribute(`${sysfsPath}/modalias`) ?? null;
  const found = { module, modalias };
  const names = [driver, loaded ?? driver].map(moduleName);
  const isVfios = names.includes(moduleName(vfioDrivers[bus] ?? ''));
  const isHolder = [module, ...names].some((name) => holders.has(name));
  const before = readRecord(device, roots)?.driver;
  if (isVfios || isHolder || (before != null && names.includes(moduleName(before))))
    return { ...found, isMatch: true };
  const table = tableOf(module, roots);
  if (modalias !== null && table.aliases.some((alias) => isOf(alias, modalias)))
    return { ...found, isMatch: true };
  const unread = modalias === null ? `${sysfsPath}/modalias is not there` : table.unread;
  const isAbsent = loaded === undefined && table.isAbsent;
  return {
    ...{ ...found, isMatch: false },
    ...(unread !== undefined && { unread }),
    ...(isAbsent && { isAbsent }),
  };
}

/** A variant of vfio-pci has its models by aliases of its own bus name. */
function isOf(alias: string, modalias: string): boolean {
  return matchesAlias(alias.replace(/^vfio_pci:/, 'pci:'), modalias);
}

/** What is known of a module's table. */
interface Table {
  aliases: string[];
  unread?: string;
  isAbsent?: boolean;
}

function tableOf(module: string, { modulesRoot }: HostRoots): Table {
  const unread: string[] = [];
  const read = (name: string): string[] | undefined => {
    const path = `${modulesRoot}/${name}`;
    try {
      const lines = linesOf(path);
      if (lines.length === 0) unread.push(`${path} is not there, or is empty`);
      return lines.length === 0 ? undefined : lines;
    } catch (error) {
      if (!(error instanceof VfioError)) throw error;
      unread.push(`${path} answers ${error.code}`);
      return undefined;
    }
  };
  const isOwn = ([, , name = '']: string[]): boolean => moduleName(name) === module;
  const lines = read('modules.alias');
  const aliases = (lines ?? [])
    .map((line) => line.split(' '))
    .filter(isOwn)
    .map(([, alias = '']) => alias);
  if (aliases.length > 0) return { aliases };
  // Of what is no module there is `<module>.alias=<alias>`, and a 0 byte after each.
  const entries = read('modules.builtin.modinfo')?.join('\n').split('\0') ?? [];
  const own = entries.filter((entry) => moduleName(entry.slice(0, entry.indexOf('.'))) === module);
  const start = module.length + '.alias='.length;
  const builtin = own.filter((entry) => entry.startsWith('.alias=', module.length));
  if (own.length > 0) return { aliases: builtin.map((entry) => entry.slice(start)) };
  const isListed = read('modules.dep')?.some((line) => moduleName(fileOf(line)) === module);
  // A module without aliases has an empty table: it drives nothing of its own accord.
  if (lines !== undefined && isListed === true) return { aliases: [] };
  const [first] = unread;
  if (first !== undefined) return { aliases: [], unread: first };
  const nowhere = `${modulesRoot} lists no module ${module}`;
  return { aliases: [], unread: nowhere, isAbsent: true };
}

/** `e1000e` of the line `kernel/drivers/net/e1000e.ko.xz: kernel/…`. */
function fileOf(line: string): string {
  return /([^/]+?)\.ko(?:\.\w+)?:/.exec(line)?.[1] ?? '';
}

/** Why no driver of the host took a device that was offered to all that are loaded; for notes. */
export function driverless({ sysfsPath }: SysfsDevice, roots: HostRoots): string {
  const path = `${roots.modulesRoot}/modules.alias`;
  const modalias = readAttribute(`${sysfsPath}/modalias`) ?? '';
  const lines = linesOf(path);
  if (lines.length === 0)
    return `no driver that is loaded takes it; ${path}, which would name the module of its driver, is not there`;
  const modules = lines
    .map((line) => line.split(' '))
    .filter(([, alias = '']) => matchesAlias(alias, modalias))
    .map(([, , module = '']) => module);
  const names = [...new Set(modules)];
  const missing = names.filter((name) => !isLoaded(name, roots));
  if (names.length === 0) return 'neither a loaded driver of the host nor a module is made for it';
  if (missing.length === 0)
    return `${names.join(' and ')}, which is made for it, is loaded and did not take it; the kernel's log may say why`;
  const commands = missing.map((name) => `sudo modprobe ${name}`);
  return `the module of its driver is not loaded; load it, and the device gets it: ${commands.join(' or ')}`;
}

function isLoaded(module: string, { sysfsRoot }: HostRoots): boolean {
  return listNames(`${sysfsRoot}/module/${moduleName(module)}`) !== undefined;
}

/** @throws VfioError `ERR_VFIO_DRIVER_NOT_BOUND` with the reason `driver-mismatch` */
export function mismatchError(
  { bus, address }: SysfsDevice,
  driver: string,
  { module, modalias, unread }: DriverMatch,
): VfioError {
  const error = new VfioError({
    code: 'ERR_VFIO_DRIVER_NOT_BOUND',
    message: `${address} was not given to ${driver}, and nothing was changed`,
    device: address,
  });
  const facts = { bus, address, driver, module, modalias, unread: unread ?? null };
  return explained(error, { reason: 'driver-mismatch', certainty: 'certain', facts });
}
