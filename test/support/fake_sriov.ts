import { chmodSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { HostRootOptions } from '../../lib/index.ts';
import { type Files, pciDevice, sysfsFiles } from './sysfs.ts';
import { put, tree } from './tree.ts';

export const pf = '0000:3b:00.0';
export const vfAddress = (index: number): string => `0000:3b:02.${index}`;

/** A machine with a physical function, and what its kernel has to be. */
export interface FakeSriov {
  roots: HostRootOptions;
  /** A file of the physical function. */
  read(name: string): string;
  /** More files, by their paths below sysfs. */
  put(files: Files): void;
  /** Gives the physical function another driver, or none. */
  setDriver(driver: string | null): void;
  /** Lets the kernel answer an error to a text that is written to sriov_numvfs. */
  refuse(text: string, error: { errno: number; code: string }): void;
  /** Lets the kernel answer no write to sriov_numvfs. */
  wait(): void;
  /** What was written to the physical function's files, in its order. */
  written(): string[];
}

/**
 * What the library's process for writing runs in its place: the same, in a Node whose writes to
 * `sriov_numvfs` do what the kernel's do (sriov_numvfs_store, drivers/pci/iov.c).
 */
function kernel(root: string): string {
  return `#!${process.execPath}
const fs = require('fs');
const [, , , program, task] = process.argv;
process.argv.splice(1, process.argv.length, task);
const root = ${JSON.stringify(root)};
const folder = root + '/sys/bus/pci/devices/${pf}/';
const { openSync, writeSync } = fs;
const paths = new Map();
fs.openSync = (path, ...more) => {
  const fd = openSync(path, ...more);
  paths.set(fd, path);
  return fd;
};
fs.writeSync = (fd, text, ...more) => {
  const path = paths.get(fd) ?? '';
  if (!path.startsWith(folder)) return writeSync(fd, text, ...more);
  fs.appendFileSync(root + '/written', path.slice(folder.length) + '=' + text + '\\n');
  if (path.endsWith('sriov_numvfs')) setCount(Number(text), text);
  fs.writeFileSync(path, text + '\\n');
};
const fail = (errno, code) => {
  throw Object.assign(new Error(code), { errno, code, syscall: 'write' });
};
function setCount(count, text) {
  // As long as the test lasts.
  while (fs.existsSync(root + '/waits')) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
  const refused = JSON.parse(fs.readFileSync(root + '/refused', 'utf8'))[text];
  if (refused) fail(refused.errno, refused.code);
  const before = Number(fs.readFileSync(folder + 'sriov_numvfs', 'utf8'));
  if (before !== 0 && count !== 0) fail(-16, 'EBUSY');
  for (let at = 0; at < before; at++) fs.rmSync(folder + 'virtfn' + at, { force: true });
  const fewer = fs.existsSync(root + '/fewer') ? count - 1 : count;
  for (let at = 0; at < fewer; at++) fs.symlinkSync('../0000:3b:02.' + at, folder + 'virtfn' + at);
}
eval(program);
`;
}

/** The machine, with so many virtual functions; the files of each are there all the time. */
export function fakeSriov(numVfs: number, total = 4): FakeSriov {
  const virtfns = Object.fromEntries(
    Array.from({ length: numVfs }, (_, at) => [`virtfn${at}`, { pointsTo: `../${vfAddress(at)}` }]),
  );
  const functions = Object.fromEntries(
    Array.from({ length: total }, (_, at) => [
      vfAddress(at),
      pciDevice(20 + at, { physfn: { pointsTo: `../${pf}` } }),
    ]),
  );
  const root = tree({ refused: '{}', written: '' });
  const sysfs = join(root, 'sys');
  put(sysfs, {
    ...sysfsFiles({
      pci: {
        [pf]: pciDevice(11, {
          driver: { pointsTo: '../../../bus/pci/drivers/nvme' },
          sriov_numvfs: `${numVfs}\n`,
          sriov_totalvfs: `${total}\n`,
          sriov_drivers_autoprobe: '1\n',
          ...virtfns,
        }),
        '0000:00:02.0': pciDevice(1),
        ...functions,
      },
    }),
    'class/net/lo': { pointsTo: '../../devices/virtual/net/lo' },
    'devices/virtual/net/lo/operstate': 'unknown\n',
  });
  put(root, { 'proc/net/route': '', 'dev/null': '' });
  const script = join(root, 'kernel.cjs');
  writeFileSync(script, kernel(root));
  chmodSync(script, 0o755);
  return {
    roots: { sysfsRoot: sysfs, devRoot: join(root, 'dev') },
    read: (name) => readFileSync(join(sysfs, 'bus/pci/devices', pf, name), 'utf8').trim(),
    put: (files) => {
      put(sysfs, files);
    },
    setDriver: (driver) => {
      const link = join(sysfs, 'bus/pci/devices', pf, 'driver');
      rmSync(link);
      if (driver !== null) symlinkSync(`../../../bus/pci/drivers/${driver}`, link);
    },
    refuse: (text, error) => {
      const refused = JSON.parse(readFileSync(join(root, 'refused'), 'utf8')) as object;
      writeFileSync(join(root, 'refused'), JSON.stringify({ ...refused, [text]: error }));
    },
    wait: () => {
      writeFileSync(join(root, 'waits'), '');
    },
    written: () => readFileSync(join(root, 'written'), 'utf8').split('\n').slice(0, -1),
  };
}

/** Runs `body` where the library's process for writing is the fake kernel's. */
export async function withKernel<T>({ roots }: FakeSriov, body: () => T | Promise<T>): Promise<T> {
  const { execPath } = process;
  process.execPath = join(roots.sysfsRoot ?? '', '../kernel.cjs');
  try {
    return await body();
  } finally {
    process.execPath = execPath;
  }
}
