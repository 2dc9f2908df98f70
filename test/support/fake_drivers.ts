import {
  chmodSync,
  existsSync,
  mkdirSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { pciDevice, type Files } from './sysfs.ts';
import { put, tree, type Entry } from './tree.ts';

/** A machine in folders: sysfs, procfs, /run, /etc and modules. */
export interface FakeHost {
  sysfsRoot: string;
  procRoot: string;
  runRoot: string;
  etcRoot: string;
  modulesRoot: string;
  /** A file of its sysfs. */
  sysfs: (path: string) => string;
  /** The driver of a device, as sysfs shows it. */
  driverOf: (address: string) => string | undefined;
  /** Ends standing in for the kernel. */
  restore: () => void;
}

export interface FakePciDevice {
  /** null: none. */
  group?: number | null;
  driver?: string;
  files?: Files;
}

/**
 * A machine with these PCI devices and drivers, in which writes to sysfs do what the kernel's
 * driver core does: `bind`, `unbind`, `drivers_probe`. A driver with a file `refuses` answers the
 * error that is in it, where an address follows for that device only, one with a file `waits` does not let go of its devices, one with `waits.left` neither, and its link is gone meanwhile, as with VFIO's; and one with a file
 * `ignores` takes a device and has it not.
 */
export function fakeHost(
  devices: Record<string, FakePciDevice>,
  drivers: readonly string[] = ['nvme', 'vfio-pci'],
): FakeHost {
  const files: Record<string, Entry> = {
    'sys/class/net/bonding_masters': 'bond0\n',
    'sys/bus/pci/drivers_probe': '',
    'proc/net/route': 'Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n',
    'proc/self/mountinfo': '1 0 0:1 / / rw - overlay overlay rw\n',
    'proc/swaps': 'Filename\n',
    'proc/sys/kernel/random/boot_id': 'one\n',
    'modules/modules.alias': 'alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci\n',
    'modules/modules.dep': 'kernel/drivers/vfio/pci/vfio-pci.ko.xz:\n',
    'modules/modules.builtin.modinfo': 'x.alias=y\0',
    'run/.keep': '',
    'etc/.keep': '',
  };
  for (const driver of drivers) {
    files[`sys/bus/pci/drivers/${driver}/bind`] = '';
    files[`sys/bus/pci/drivers/${driver}/unbind`] = '';
  }
  const root = tree(files);
  for (const [address, device] of Object.entries(devices)) putDevice(root, address, device);
  const { execPath } = process;
  process.execPath = kernelIn(root, execPath);
  const sysfs = (path: string): string => join(root, 'sys', path);
  return {
    ...{ sysfsRoot: join(root, 'sys'), procRoot: join(root, 'proc'), runRoot: join(root, 'run') },
    ...{ etcRoot: join(root, 'etc'), modulesRoot: join(root, 'modules') },
    sysfs,
    driverOf: (address) => {
      const link = sysfs(`bus/pci/devices/${address}/driver`);
      return existsSync(link) ? basename(readlinkSync(link)) : undefined;
    },
    restore: () => {
      process.execPath = execPath;
    },
  };
}

function putDevice(
  root: string,
  address: string,
  { group = 1, driver, files = {} }: FakePciDevice,
): void {
  const folder = `sys/bus/pci/devices/${address}`;
  const groupFolder = `sys/kernel/iommu_groups/${group ?? 0}`;
  const all: Files = {
    ...pciDevice(group ?? 0),
    modalias: 'pci:v00001B36d00000010sv00001AF4sd00001100bc01sc08i02\n',
    iommu_group: { pointsTo: join(root, groupFolder) },
    ...(driver !== undefined && {
      driver: { pointsTo: join(root, 'sys/bus/pci/drivers', driver) },
    }),
    ...(driver?.startsWith('vfio') && { 'vfio-dev/vfio7/uevent': '' }),
    ...files,
  };
  if (group === null) delete all['iommu_group'];
  for (const [name, entry] of Object.entries(all)) put(root, { [`${folder}/${name}`]: entry });
  if (group === null) return;
  mkdirSync(join(root, groupFolder, 'devices'), { recursive: true });
  symlinkSync(join(root, folder), join(root, groupFolder, 'devices', address));
}

/** What stands in for Node where the library starts it to write to sysfs. */
function kernelIn(root: string, node: string): string {
  const preload = join(root, 'kernel.cjs');
  writeFileSync(preload, kernel);
  const path = join(root, 'node');
  writeFileSync(path, `#!/bin/sh\nexec '${node}' -r '${preload}' "$@"\n`);
  chmodSync(path, 0o755);
  return path;
}

/** The driver core, as far as a write to sysfs reaches it. */
const kernel = `
const fs = require('fs');
const { basename, dirname, join } = require('path');
const { openSync, writeSync } = fs;
const open = new Map();
fs.openSync = (path, ...rest) => {
  const fd = openSync(path, ...rest);
  open.set(fd, path);
  return fd;
};
fs.writeSync = (fd, text, ...rest) => {
  const path = open.get(fd);
  const answer = writeSync(fd, text, ...rest);
  if (fd > 2 && path) act(path, String(text));
  return answer;
};
const has = (driver, name) => fs.existsSync(join(driver, name));
function act(path, text) {
  const name = basename(path);
  if (name === 'driver_override') return fs.writeFileSync(path, text.trim() === '' ? '(null)\\n' : text);
  const driver = dirname(path);
  const bus = name === 'drivers_probe' ? dirname(path) : dirname(dirname(driver));
  const device = join(bus, 'devices', text);
  const link = join(device, 'driver');
  if (name === 'unbind') {
    if (has(driver, 'waits') || has(driver, 'waits.left')) {
      if (has(driver, 'waits.left')) {
        fs.rmSync(link, { force: true });
        fs.rmSync(join(device, 'vfio-dev'), { recursive: true, force: true });
        fs.writeFileSync(join(device, 'uevent'), 'DRIVER=' + basename(driver) + '\\n');
      }
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    }
    fs.rmSync(link, { force: true });
    fs.rmSync(join(device, 'vfio-dev'), { recursive: true, force: true });
  } else if (name === 'bind') {
    bind(driver, device, link);
  } else if (name === 'drivers_probe' && !fs.existsSync(link)) {
    const override = fs.readFileSync(join(device, 'driver_override'), 'utf8').trim();
    bind(join(bus, 'drivers', override === '(null)' ? 'nvme' : override), device, link);
  }
}
function bind(driver, device, link) {
  if (has(driver, 'refuses')) {
    const [number, only = basename(device)] = fs.readFileSync(join(driver, 'refuses'), 'utf8').split(' ');
    const errno = -Number(number);
    if (only === basename(device)) throw Object.assign(new Error('refused'), { errno, syscall: 'write' });
  }
  if (has(driver, 'ignores')) return;
  fs.symlinkSync(driver, link);
  if (basename(driver).startsWith('vfio')) fs.mkdirSync(join(device, 'vfio-dev/vfio7'), { recursive: true });
}
`;
