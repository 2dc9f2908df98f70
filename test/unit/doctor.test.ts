import assert from 'node:assert/strict';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { doctorText } from '../../lib/cli/doctor.ts';
import type { DeviceSpec } from '../../lib/core/location.ts';
import {
  diagnose,
  diagnoseSync,
  type Finding,
  type FindingId,
  type HostRootOptions,
} from '../../lib/index.ts';
import { boundToVfio, pciDevice } from '../support/sysfs.ts';
import { type Entry, put, tree } from '../support/tree.ts';

const address = '0000:3b:00.0';
const sibling = '0000:3b:00.1';

type Files = Record<string, Entry>;

/** A device's folder as the kernel has it, its link on the bus, and its place in its group. */
function device(name: string, group: number | undefined, files: Files): Files {
  const folder = `sys/bus/pci/devices/${name}`;
  const link = { pointsTo: `../../../../kernel/iommu_groups/${group ?? ''}` };
  const own = group === undefined ? files : { ...files, iommu_group: link };
  return {
    ...Object.fromEntries(Object.entries(own).map(([key, entry]) => [`${folder}/${key}`, entry])),
    ...(group !== undefined && {
      [`sys/kernel/iommu_groups/${group}/devices/${name}`]: {
        pointsTo: `../../../../bus/pci/devices/${name}`,
      },
    }),
  };
}

/** The numbers of /dev/null, /dev/zero and /dev/full, which stand in for nodes. */
const [cdev, group, shared] = ['1:3', '1:5', '1:7'];

const unlimited = 'Max locked memory         unlimited            unlimited            bytes\n';
const limited = (bytes: number): string =>
  `Max locked memory         ${bytes}              ${bytes}              bytes\n`;

/** A machine on which all is well. */
function machine(): Files {
  return {
    'sys/class/iommu/dmar0/uevent': '',
    'sys/class/misc/iommu/dev': `${shared}\n`,
    'sys/class/misc/vfio/dev': `${shared}\n`,
    'sys/class/vfio/11/dev': `${group}\n`,
    'sys/class/vfio-dev/vfio3/dev': `${cdev}\n`,
    'sys/class/net/lo': { pointsTo: '../../devices/virtual/net/lo' },
    'sys/module/vfio/parameters/enable_unsafe_noiommu_mode': 'N\n',
    'sys/module/vfio_pci/parameters/disable_idle_d3': 'N\n',
    'sys/module/vfio_pci/parameters/nointxmask': 'N\n',
    'sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts': 'N\n',
    'sys/module/iommufd/parameters/allow_unsafe_interrupts': 'N\n',
    'sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages': '8\n',
    'sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages': '5\n',
    'sys/kernel/security/lockdown': '[none] integrity confidentiality\n',
    'sys/dev/char/1:3/dev': '1:3\n',
    ...device(address, 11, pciDevice(11, boundToVfio('vfio3', `${cdev}\n`))),
    'dev/iommu': { pointsTo: '/dev/full' },
    'dev/vfio/vfio': { pointsTo: '/dev/full' },
    'dev/vfio/11': { pointsTo: '/dev/zero' },
    'dev/vfio/devices/vfio3': { pointsTo: '/dev/null' },
    'proc/cmdline': 'quiet\n',
    'proc/cpuinfo': 'vendor_id\t: GenuineIntel\n',
    'proc/interrupts': '  24:  0  IR-PCI-MSI-0000:3b:00.0  0-edge  nvme0q0\n',
    'proc/self/limits': unlimited,
    'proc/self/status': 'CapEff:\t0000000000000000\n',
    'proc/self/cgroup': '0::/\n',
    'proc/self/ns/pid': { pointsTo: 'pid:[4026531836]' },
    'proc/self/ns/user': { pointsTo: 'user:[4026531837]' },
    'proc/self/ns/cgroup': { pointsTo: 'cgroup:[4026531835]' },
    'proc/self/ns/mnt': { pointsTo: 'mnt:[1]' },
    'proc/1/ns/mnt': { pointsTo: 'mnt:[1]' },
    'proc/self/ns/net': { pointsTo: 'net:[1]' },
    'proc/1/ns/net': { pointsTo: 'net:[1]' },
  };
}

/** What of the machine is another: a file, none (null), or a folder that is gone. */
type Change = Record<string, Entry | null>;

function changed(change: Change): string {
  const root = tree(machine());
  for (const path of Object.keys(change))
    rmSync(join(root, path), { recursive: true, force: true });
  const files = Object.entries(change).filter((each): each is [string, Entry] => each[1] !== null);
  put(root, Object.fromEntries(files));
  return root;
}

function rootsIn(root: string): HostRootOptions {
  const names = { sysfsRoot: 'sys', devRoot: 'dev', procRoot: 'proc', runRoot: 'run' };
  return Object.fromEntries(Object.entries(names).map(([key, name]) => [key, join(root, name)]));
}

function findingsWith(root: string, spec: DeviceSpec | undefined): Finding[] {
  return diagnoseSync(spec, rootsIn(root)).findings;
}

function statusesOf(findings: readonly Finding[]): Partial<Record<FindingId, string>> {
  return Object.fromEntries(findings.map(({ id, status }) => [id, status]));
}

const sys = 'sys/bus/pci/devices';
const modules = 'sys/module';
const nodes = 'dev/vfio';
const isX86 = process.arch === 'x64';

/** What `vfio bind` remembers of the device. */
function rememberedBy(target: string): Files {
  const ids = '0x1b36 0x0010 ';
  const record = { version: 1, driver: 'nvme', driverOverride: null, target, ids, boot: '' };
  return { [`run/bind/pci-${address}.json`]: JSON.stringify(record) };
}

interface Case {
  id: FindingId;
  status: Finding['status'];
  why: string;
  change: Change;
  what: RegExp;
  mend?: RegExp;
  spec?: DeviceSpec | null;
}

const iommuOff = { 'sys/class/iommu': null, 'sys/kernel/iommu_groups': null };
const hostDriver = { pointsTo: '../../../bus/pci/drivers/nvme' };

/** Each status that each finding can have, but for those of the machine on which all is well. */
const cases: Case[] = [
  { id: 'iommu', status: 'ok', why: 'groups alone', change: { 'sys/class/iommu': null }, what: /one IOMMU group/ }, // prettier-ignore
  { id: 'iommu', status: 'bad', why: 'off', change: iommuOff, what: /uses no IOMMU/, ...(isX86 && { mend: /VT-d.*intel_iommu=on$/ }) }, // prettier-ignore
  { id: 'iommu', status: 'bad', why: 'off by the command line', change: { ...iommuOff, 'proc/cmdline': 'a amd_iommu=off b\n' }, what: /no IOMMU/, mend: /^boot without amd_iommu=off, which is on/ }, // prettier-ignore
  { id: 'iommu', status: 'bad', why: 'off by the command line, twice', change: { ...iommuOff, 'proc/cmdline': 'intel_iommu=off a iommu=off\n' }, what: /no IOMMU/, mend: /^boot without intel_iommu=off and iommu=off, which are on/ }, // prettier-ignore
  { id: 'iommu', status: 'warning', why: 'without groups', change: { 'sys/kernel/iommu_groups/11': null, [`${sys}/${address}/iommu_group`]: null }, what: /uses dmar0, and no device has an IOMMU group/, mend: /journalctl/ }, // prettier-ignore
  { id: 'iommu', status: 'unknown', why: 'with groups that are hidden, and seen by devices', change: { 'sys/kernel/iommu_groups/11': null }, what: /iommu_groups is empty, and devices have IOMMU groups all the same: it is hidden here/, mend: /on the host/ }, // prettier-ignore
  { id: 'iommu', status: 'ok', why: 'with hidden groups', change: { 'sys/kernel/iommu_groups': null }, what: /uses dmar0; its groups are not to be seen here/ }, // prettier-ignore
  { id: 'iommu', status: 'bad', why: 'on in the command line, and off in the firmware', change: { ...iommuOff, 'proc/cmdline': 'intel_iommu=on\n' }, what: /no IOMMU/, ...(isX86 && { mend: /VT-d.*has intel_iommu=on already/ }) }, // prettier-ignore
  { id: 'iommu', status: 'bad', why: 'off, of AMD', change: { ...iommuOff, 'proc/cpuinfo': 'vendor_id : AuthenticAMD\n' }, what: /no IOMMU/, ...(isX86 && { mend: /AMD-Vi/ }) }, // prettier-ignore
  { id: 'iommu', status: 'bad', why: 'of a virtual machine', change: { ...iommuOff, 'proc/cpuinfo': 'vendor_id : GenuineIntel\nflags\t: fpu hypervisor\n' }, what: /no IOMMU/, ...(isX86 && { mend: /virtual machine/ }) }, // prettier-ignore
  { id: 'iommu', status: 'warning', why: 'off, and that is meant', change: { ...iommuOff, [`${modules}/vfio/parameters/enable_unsafe_noiommu_mode`]: 'Y\n' }, what: /reach all memory/ }, // prettier-ignore
  { id: 'iommu', status: 'unknown', why: 'hidden', change: { 'sys/class': null }, what: /class/ }, // prettier-ignore
  ...(isX86
    ? ([
        { id: 'interrupt-remapping', status: 'warning', why: 'not seen', change: { 'proc/interrupts': ' 24: 0 PCI-MSI\n' }, what: /may refuse/, mend: /firmware/ }, // prettier-ignore
        { id: 'interrupt-remapping', status: 'unknown', why: 'without proc', change: { 'proc/interrupts': null }, what: /interrupts is not there/ }, // prettier-ignore
      ] as const)
    : []),
  { id: 'unsafe-interrupts', status: 'warning', why: 'accepted', change: { [`${modules}/iommufd/parameters/allow_unsafe_interrupts`]: 'Y\n' }, what: /^iommufd accepts devices/, mend: /without allow/ }, // prettier-ignore
  { id: 'unsafe-interrupts', status: 'unknown', why: 'without modules', change: { [`${modules}/iommufd`]: null, [`${modules}/vfio_iommu_type1`]: null }, what: /is loaded, or/ }, // prettier-ignore
  { id: 'noiommu-mode', status: 'warning', why: 'on', change: { [`${modules}/vfio/parameters/enable_unsafe_noiommu_mode`]: 'Y\n' }, what: /all memory/, mend: /echo N/ }, // prettier-ignore
  { id: 'noiommu-mode', status: 'ok', why: 'not built', change: { [`${modules}/vfio/parameters/enable_unsafe_noiommu_mode`]: null, [`${modules}/vfio/uevent`]: '' }, what: /no such mode/ }, // prettier-ignore
  { id: 'noiommu-mode', status: 'unknown', why: 'without vfio', change: { [`${modules}/vfio`]: null }, what: /not loaded/ }, // prettier-ignore
  { id: 'modules', status: 'warning', why: 'without vfio-pci', change: { [`${modules}/vfio_pci`]: null }, what: /vfio-pci is not/, mend: /modprobe vfio-pci/ }, // prettier-ignore
  { id: 'modules', status: 'unknown', why: 'hidden', change: { [modules]: null }, what: /module/ }, // prettier-ignore
  { id: 'module-parameters', status: 'warning', why: 'surprising', change: { [`${modules}/vfio_pci/parameters/nointxmask`]: 'Y\n' }, what: /nointxmask=Y; INTx/, mend: /modprobe\.d/ }, // prettier-ignore
  { id: 'module-parameters', status: 'unknown', why: 'not loaded', change: { [`${modules}/vfio_pci`]: null }, what: /not loaded/ }, // prettier-ignore
  { id: 'cdevs', status: 'warning', why: 'none made', change: { 'sys/class/vfio-dev/vfio3/dev': null, 'sys/class/vfio-dev/vfio3/uevent': '' }, what: /CONFIG_VFIO_DEVICE_CDEV/ }, // prettier-ignore
  { id: 'cdevs', status: 'warning', why: 'none made without an IOMMU', change: { 'sys/class/vfio-dev/vfio3/dev': null, 'sys/class/vfio-dev/vfio3/uevent': '', 'sys/class/vfio/11': null, 'sys/class/vfio/noiommu-11/dev': '1:5\n' }, what: /since Linux 7\.3; they are opened by their group$/ }, // prettier-ignore
  { id: 'cdevs', status: 'unknown', why: 'nothing bound', change: { 'sys/class/vfio-dev': null }, what: /once a device/ }, // prettier-ignore
  { id: 'groups', status: 'unknown', why: 'nothing bound', change: { 'sys/class/vfio': null }, what: /once a device/ }, // prettier-ignore
  { id: 'iommufd', status: 'warning', why: 'without its node, where there are containers', change: { 'dev/iommu': null }, what: /is not there/, mend: /udevadm trigger/ }, // prettier-ignore
  { id: 'iommufd', status: 'bad', why: "another's node, without containers", change: { 'dev/iommu': { pointsTo: '/dev/null' }, [`${nodes}/vfio`]: null }, what: /is 1:3, and should be 1:7/ }, // prettier-ignore
  { id: 'iommufd', status: 'warning', why: 'node without module', change: { 'sys/class/misc/iommu': null }, what: /not loaded/, mend: /modprobe iommufd/ }, // prettier-ignore
  { id: 'iommufd', status: 'warning', why: 'absent', change: { 'sys/class/misc/iommu': null, 'dev/iommu': null }, what: /there is no .*iommufd/, mend: /iommufd/i }, // prettier-ignore
  { id: 'iommufd', status: 'unknown', why: 'hidden', change: { 'sys/class/misc': null }, what: /not to be seen/ }, // prettier-ignore
  { id: 'container', status: 'warning', why: 'absent', change: { 'sys/class/misc/vfio': null, [`${nodes}/vfio`]: null }, what: /there is no/, mend: /modprobe vfio/ }, // prettier-ignore
  { id: 'container', status: 'bad', why: 'without its node, and without iommufd', change: { [`${nodes}/vfio`]: null, 'dev/iommu': null }, what: /is not there/ }, // prettier-ignore
  { id: 'container', status: 'unknown', why: 'hidden', change: { 'sys/class/misc': null }, what: /not to be seen/ }, // prettier-ignore
  { id: 'devices', status: 'warning', why: 'none bound', change: { [`${sys}/${address}/vfio-dev`]: null }, what: /^the one device with an IOMMU group has no VFIO driver$/, mend: /vfio list --all/, spec: null }, // prettier-ignore
  { id: 'devices', status: 'warning', why: 'none there', change: { ...iommuOff, [`${sys}/${address}/iommu_group`]: null, [`${sys}/${address}/vfio-dev`]: null }, what: /^no device has an IOMMU group$/, mend: /^see the finding iommu of the host$/, spec: null }, // prettier-ignore
  { id: 'devices', status: 'unknown', why: 'no bus', change: { 'sys/bus': null }, what: /could not be looked at: ENOENT/, spec: null }, // prettier-ignore
  { id: 'memlock', status: 'ok', why: 'large', change: { 'proc/self/limits': limited(2 ** 30) }, what: /1073741824 bytes/ }, // prettier-ignore
  { id: 'memlock', status: 'ok', why: 'lifted', change: { 'proc/self/limits': limited(65536), 'proc/self/status': 'CapEff:\t0000000000004000\n' }, what: /CAP_IPC_LOCK lifts/ }, // prettier-ignore
  { id: 'memlock', status: 'warning', why: 'small', change: { 'proc/self/limits': limited(65536) }, what: /65536 bytes/, mend: /ulimit -l/ }, // prettier-ignore
  { id: 'memlock', status: 'unknown', why: 'without proc', change: { 'proc/self/limits': null }, what: /not there/ }, // prettier-ignore
  { id: 'huge-pages', status: 'warning', why: 'all in use', change: { 'sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages': '0\n' }, what: /^0 of 8 of 2048kB free/, mend: /nr_hugepages/ }, // prettier-ignore
  { id: 'huge-pages', status: 'ok', why: 'none', change: { 'sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages': '0\n', 'sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages': '0\n' }, what: /^none of 2048kB set aside$/ }, // prettier-ignore
  { id: 'huge-pages', status: 'unknown', why: 'hidden', change: { 'sys/kernel/mm': null }, what: /hidden/ }, // prettier-ignore
  { id: 'lockdown', status: 'warning', why: 'on', change: { 'sys/kernel/security/lockdown': 'none [integrity] confidentiality\n' }, what: /\(integrity\)/ }, // prettier-ignore
  { id: 'lockdown', status: 'ok', why: 'not built', change: { 'sys/kernel/security/lockdown': null, 'sys/kernel/security/lsm': 'capability\n' }, what: /no lockdown/ }, // prettier-ignore
  { id: 'lockdown', status: 'unknown', why: 'without securityfs', change: { 'sys/kernel/security': null }, what: /securityfs/ }, // prettier-ignore
  { id: 'namespaces', status: 'warning', why: 'pid', change: { 'proc/self/ns/pid': { pointsTo: 'pid:[4026532999]' } }, what: /another pid namespace/, mend: /on the host/ }, // prettier-ignore
  { id: 'namespaces', status: 'warning', why: 'user', change: { 'proc/self/ns/user': { pointsTo: 'user:[4026532999]' } }, what: /another user namespace/ }, // prettier-ignore
  { id: 'namespaces', status: 'warning', why: 'mounts', change: { 'proc/self/ns/mnt': { pointsTo: 'mnt:[2]' } }, what: /another mount namespace/ }, // prettier-ignore
  { id: 'device-cgroup', status: 'unknown', why: 'version 2', change: { 'proc/self/cgroup': '0::/user.slice/a\n' }, what: /cgroup version 2/, mend: /DeviceAllow/ }, // prettier-ignore
  { id: 'device-cgroup', status: 'unknown', why: 'version 1, hidden', change: { 'proc/self/cgroup': '4:devices:/box\n0::/\n' }, what: /not to be seen/ }, // prettier-ignore
  { id: 'device-cgroup', status: 'ok', why: 'version 1, all allowed', change: { 'proc/self/cgroup': '4:devices:/box\n', 'sys/fs/cgroup/devices/box/devices.list': 'a *:* rwm\n' }, what: /refuses no device/ }, // prettier-ignore
  { id: 'device-cgroup', status: 'warning', why: 'version 1, some allowed', change: { 'proc/self/cgroup': '4:devices:/box\n', 'sys/fs/cgroup/devices/box/devices.list': 'c 1:3 rwm\nc 1:5 rwm\n' }, what: /only: c 1:3 rwm, c 1:5 rwm/, mend: /--device/ }, // prettier-ignore
  { id: 'device-cgroup', status: 'ok', why: 'none in the kernel', change: { 'proc/self/cgroup': null }, what: /no cgroups/ }, // prettier-ignore
  { id: 'device', status: 'bad', why: 'absent', change: {}, what: /there is no device 0000:3b:00\.7/, mend: /^ls \/sys\/bus\/pci\/devices shows what is on the bus/, spec: '3b:00.7' }, // prettier-ignore
  { id: 'device', status: 'bad', why: 'a node of nobody', change: { 'dev/char/1:3': 'x' }, what: /not a character device/, spec: '/dev/char/1:3' }, // prettier-ignore
  { id: 'device', status: 'unknown', why: 'a node whose numbers are hidden', change: { 'sys/dev': null }, what: /no device is to be seen that has these numbers/, spec: '/dev/vfio/devices/vfio3' }, // prettier-ignore
  { id: 'device', status: 'unknown', why: 'a node that cannot be looked at', change: { 'dev/vfio/devices': { pointsTo: 'devices' } }, what: /ELOOP/, spec: '/dev/vfio/devices/vfio3' }, // prettier-ignore
  { id: 'iommu', status: 'warning', why: 'none, for a mediated device', change: { 'sys/class/iommu': null, 'sys/kernel/iommu_groups': null, 'sys/bus/mdev/devices/6d747479-0000-4000-8000-000000000001/subsystem': { pointsTo: '../../../mdev' } }, what: /mediated devices apart/, spec: '6d747479-0000-4000-8000-000000000001' }, // prettier-ignore
  { id: 'interrupt-remapping', status: 'unknown', why: 'hidden with all of sysfs', change: { sys: null }, what: /of sysfs/ }, // prettier-ignore
  { id: 'namespaces', status: 'warning', why: 'net', change: { 'proc/self/ns/net': { pointsTo: 'net:[2]' } }, what: /another net namespace/ }, // prettier-ignore
  { id: 'device', status: 'unknown', why: 'hidden', change: { 'sys/bus': null }, what: /is to be seen/, mend: /sysfs/ }, // prettier-ignore
  { id: 'driver', status: 'bad', why: 'none', change: { [`${sys}/${address}/driver`]: null, [`${sys}/${address}/vfio-dev`]: null }, what: /has no driver/, mend: /^sudo npx vfio bind 0000:3b:00\.0$/ }, // prettier-ignore
  { id: 'driver', status: 'bad', why: "the host's", change: { [`${sys}/${address}/driver`]: hostDriver, [`${sys}/${address}/vfio-dev`]: null, 'sys/class/block/nvme9n1': { pointsTo: `../../devices/pci0000:3a/${address}/nvme/nvme9/nvme9n1` } }, what: /driver nvme/, mend: /takes the disk nvme9n1.* from the host/ }, // prettier-ignore
  { id: 'driver', status: 'bad', why: 'without an IOMMU, of which one mend is enough', change: { ...iommuOff, [`${sys}/${address}/iommu_group`]: null, [`${sys}/${address}/driver`]: null, [`${sys}/${address}/vfio-dev`]: null, 'proc/cmdline': 'intel_iommu=off\n' }, what: /no IOMMU group/, mend: /^see the finding iommu of the host, which says what switches it on$/ }, // prettier-ignore
  { id: 'driver', status: 'bad', why: 'a bridge', change: { [`${sys}/${address}/class`]: '0x060400\n', [`${sys}/${address}/vfio-dev`]: null }, what: /is a bridge/, mend: /leave it to the host/ }, // prettier-ignore
  { id: 'driver-override', status: 'warning', why: 'another', change: { [`${sys}/${address}/driver_override`]: 'nvme\n' }, what: /has vfio-pci, and only nvme/, mend: /lift it \(the driver of now stays\)/ }, // prettier-ignore
  { id: 'driver-override', status: 'warning', why: 'of a device without a driver', change: { [`${sys}/${address}/driver`]: null, [`${sys}/${address}/vfio-dev`]: null }, what: /^it has no driver, and only vfio-pci may have it, which is not loaded$/, mend: /^to have vfio-pci take it: sudo npx vfio bind --driver vfio-pci 0000:3b:00\.0; .* again: echo \| sudo tee \S+driver_override$/ }, // prettier-ignore
  { id: 'driver-override', status: 'warning', why: 'of a device without a driver, which is loaded', change: { [`${sys}/${address}/driver`]: null, [`${sys}/${address}/vfio-dev`]: null, 'sys/bus/pci/drivers/vfio-pci/bind': '' }, what: /^it has no driver, and only vfio-pci may have it$/ }, // prettier-ignore
  { id: 'driver-override', status: 'ok', why: 'none', change: { [`${sys}/${address}/driver_override`]: '(null)\n' }, what: /no driver is laid down/ }, // prettier-ignore
  { id: 'driver', status: 'bad', why: 'while it is taken from its driver, and has its cdev still', change: { [`${sys}/${address}/driver`]: null, [`${sys}/${address}/uevent`]: 'DRIVER=vfio-pci\n' }, what: /it is being removed: vfio-pci lets go of it when/, mend: /lsof/ }, // prettier-ignore
  { id: 'driver-override', status: 'unknown', why: 'while it is taken from its driver', change: { [`${sys}/${address}/driver`]: null, [`${sys}/${address}/uevent`]: 'DRIVER=vfio-pci\n' }, what: /is not read while the device is being taken from its driver/, mend: /finding driver/ }, // prettier-ignore
  { id: 'driver-before', status: 'ok', why: 'bound', change: rememberedBy('vfio-pci'), what: /^vfio bind remembers that it had nvme; vfio unbind gives it that back$/ }, // prettier-ignore
  { id: 'driver-before', status: 'warning', why: 'half bound', change: { ...rememberedBy('vfio-pci'), [`${sys}/${address}/driver`]: null }, what: /had nvme; its change to vfio-pci is not finished.*: it has no driver$/, mend: /^sudo npx vfio unbind 0000:3b:00\.0 / }, // prettier-ignore
  { id: 'driver-before', status: 'ok', why: 'plugged in anew, with what it had', change: { ...rememberedBy('vfio-pci'), [`${sys}/${address}/driver`]: hostDriver, [`${sys}/${address}/vfio-dev`]: null, [`${sys}/${address}/driver_override`]: '(null)\n' }, what: /had nvme, and it has that: its change to vfio-pci was not begun, or was undone/ }, // prettier-ignore
  { id: 'driver-before', status: 'warning', why: 'killed before its driver was changed', change: { ...rememberedBy('vfio-pci'), [`${sys}/${address}/driver`]: hostDriver, [`${sys}/${address}/vfio-dev`]: null }, what: /had nvme; its change to vfio-pci is not finished/, mend: /^sudo npx vfio unbind/ }, // prettier-ignore
  { id: 'driver-before', status: 'warning', why: 'plugged in anew, with another', change: { ...rememberedBy('vfio-pci'), [`${sys}/${address}/driver`]: { pointsTo: '../../../bus/pci/drivers/other' }, [`${sys}/${address}/vfio-dev`]: null }, what: /gave it to other: vfio unbind leaves it there$/ }, // prettier-ignore
  { id: 'driver-before', status: 'unknown', why: "another's file", change: { [`run/bind/pci-${address}.json`]: '{}' }, what: /is damaged\. Remove it: sudo rm / }, // prettier-ignore
  { id: 'group', status: 'bad', why: 'not viable', change: device(sibling, 11, pciDevice(11, { driver: hostDriver })), what: /3b:00\.1 \(nvme: the host's driver\)/, mend: /3b:00\.1/ }, // prettier-ignore
  { id: 'group', status: 'ok', why: 'with a free sibling', change: device(sibling, 11, pciDevice(11)), what: /3b:00\.1 \(no driver: ok\)/ }, // prettier-ignore
  { id: 'group', status: 'warning', why: 'without an IOMMU', change: { 'sys/class/vfio/noiommu-11/dev': `${group}\n` }, what: /no IOMMU confines/, mend: /noiommu/ }, // prettier-ignore
  { id: 'group', status: 'bad', why: 'none', change: { [`${sys}/${address}/iommu_group`]: null }, what: /no IOMMU group/, mend: /another slot or machine/ }, // prettier-ignore
  { id: 'group', status: 'bad', why: 'none, where the kernel uses no IOMMU', change: { ...iommuOff, [`${sys}/${address}/iommu_group`]: null, 'proc/cmdline': 'intel_iommu=off\n' }, what: /no IOMMU group/, mend: /^see the finding iommu of the host, which says what switches it on$/ }, // prettier-ignore
  { id: 'group', status: 'warning', why: 'none, where that is meant', change: { [`${sys}/${address}/iommu_group`]: null, [`${modules}/vfio/parameters/enable_unsafe_noiommu_mode`]: 'Y\n' }, what: /without an IOMMU/ }, // prettier-ignore
  { id: 'group', status: 'unknown', why: 'hidden', change: { 'sys/kernel/iommu_groups/11/devices': null }, what: /iommu_group\/devices/ }, // prettier-ignore
  { id: 'sriov', status: 'ok', why: 'a virtual function', change: { [`${sys}/${address}/physfn`]: { pointsTo: `../${sibling}` } }, what: /of 0000:3b:00\.1, whose driver is none/ }, // prettier-ignore
  { id: 'sriov', status: 'warning', why: "a virtual function of vfio-pci's", change: { ...device(sibling, 12, { driver: { pointsTo: '../../drivers/vfio-pci' } }), [`${sys}/${address}/physfn`]: { pointsTo: `../${sibling}` } }, what: /VF token/, mend: /vfToken/ }, // prettier-ignore
  { id: 'sriov', status: 'ok', why: 'a physical function', change: { [`${sys}/${address}/sriov_totalvfs`]: '4\n' }, what: /0 of 4 virtual/ }, // prettier-ignore
  { id: 'sriov', status: 'warning', why: 'a physical function with some', change: { [`${sys}/${address}/sriov_totalvfs`]: '4\n', [`${sys}/${address}/virtfn0`]: { pointsTo: `../${sibling}` }, [`${sys}/${address}/virtfn1`]: { pointsTo: `../${sibling}` } }, what: /2 of 4.*VF token/ }, // prettier-ignore
  { id: 'cdev-node', status: 'warning', why: 'absent, where that of the group is there', change: { [`${nodes}/devices`]: null }, what: /is not there, and should be 1:3/, mend: /udevadm/ }, // prettier-ignore
  { id: 'cdev-node', status: 'bad', why: 'absent, as is that of the group', change: { [`${nodes}/devices`]: null, [`${nodes}/11`]: null }, what: /is not there, and should be 1:3/ }, // prettier-ignore
  { id: 'cdev-node', status: 'bad', why: 'stale', change: { [`${nodes}/devices/vfio3`]: { pointsTo: '/dev/full' } }, what: /is 1:7, and should be 1:3/, mend: /udevadm/ }, // prettier-ignore
  { id: 'cdev-node', status: 'bad', why: 'no device', change: { [`${nodes}/devices/vfio3`]: 'text' }, what: /is no character device/ }, // prettier-ignore
  { id: 'cdev-node', status: 'warning', why: 'none made', change: { [`${sys}/${address}/vfio-dev/vfio3/dev`]: null }, what: /makes no node of its cdev/ }, // prettier-ignore
  { id: 'cdev-node', status: 'unknown', why: 'not to be looked at', change: { [`${nodes}/devices`]: { pointsTo: 'devices' } }, what: /could not be looked at: ELOOP/ }, // prettier-ignore
  { id: 'group-node', status: 'warning', why: 'absent', change: { [`${nodes}/11`]: null }, what: /is not there, and should be 1:5/ }, // prettier-ignore
  { id: 'group-node', status: 'bad', why: 'stale', change: { [`${nodes}/11`]: { pointsTo: '/dev/full' } }, what: /is 1:7, and should be 1:5/ }, // prettier-ignore
  { id: 'group-node', status: 'warning', why: 'none made', change: { 'sys/class/vfio': null }, what: /makes no node of its group/ }, // prettier-ignore
  { id: 'group-node', status: 'bad', why: 'none made, nor a cdev', change: { 'sys/class/vfio': null, [`${sys}/${address}/vfio-dev/vfio3/dev`]: null }, what: /makes no node of its group/ }, // prettier-ignore
  { id: 'group-node', status: 'unknown', why: 'hidden', change: { 'sys/class': null }, what: /could not be looked at: the group node/ }, // prettier-ignore
  { id: 'holders', status: 'unknown', why: 'in the blocking form', change: {}, what: /does not search/, mend: /lsof/ }, // prettier-ignore
];

describe('diagnose', () => {
  it('says of a machine on which all is well that it is, of each thing', () => {
    const findings = findingsWith(tree(machine()), address);
    // Where the tests run, and whether that search was made, is not the fake's to say.
    const told = findings.filter(({ id }) => id !== 'namespaces' && id !== 'holders');
    const statuses = statusesOf(told.filter(({ id }) => isX86 || id !== 'interrupt-remapping'));
    const ids = [
      ...['iommu', 'unsafe-interrupts', 'noiommu-mode', 'modules', 'module-parameters', 'cdevs'],
      ...['groups', 'memlock', 'huge-pages', 'lockdown', 'device-cgroup', 'iommufd', 'access'],
      ...['container', 'device', 'driver', 'driver-override', 'group', 'cdev-node', 'group-node'],
      ...(isX86 ? ['interrupt-remapping'] : []),
    ];
    assert.deepEqual(statuses, Object.fromEntries(ids.map((id) => [id, 'ok'])));
    const asked = findings.filter(({ id }) => id === 'access').map(({ subject }) => subject);
    assert.deepEqual(asked.map((path) => path.replace(/^.*\/dev\//, '')), ['iommu', 'vfio/vfio', 'vfio/devices/vfio3', 'vfio/11']); // prettier-ignore
  });

  for (const { id, status, why, change, what, mend, spec = address } of cases) {
    it(`tells ${id}, ${status}: ${why}`, () => {
      const root = changed(change);
      const place = (given: DeviceSpec | null): DeviceSpec | undefined => {
        if (given === null) return undefined;
        return typeof given === 'string' && given.startsWith('/') ? join(root, given) : given;
      };
      const found = findingsWith(root, place(spec)).find((each) => each.id === id);
      assert.ok(found, 'there is no such finding');
      assert.equal(found.status, status, found.what);
      assert.match(found.what, what);
      if (mend) assert.match(found.mend ?? '', mend);
    });
  }

  it('says of the host alone where no device is named', () => {
    const statuses = statusesOf(findingsWith(tree(machine()), undefined));
    assert.equal(statuses.devices, 'ok');
    for (const id of ['device', 'driver', 'group', 'holders'] as const)
      assert.ok(!(id in statuses));
  });

  it('says nothing but unknown, and no more than it saw, where there is nothing at all', () => {
    const root = tree({});
    for (const path of ['sys', 'dev', 'proc']) mkdirSync(join(root, path));
    for (const spec of [address, undefined]) {
      const ok = findingsWith(root, spec).filter(({ status }) => status !== 'unknown');
      assert.deepEqual(ok.map(({ id, what }) => `${id}: ${what}`).filter((text) => !text.startsWith('namespaces')), []); // prettier-ignore
    }
  });

  it('has modules loaded on the host, where the running kernel has none here', () => {
    const change = {
      [`${modules}/vfio_pci`]: null,
      'sys/class/misc/vfio': null,
      [`${nodes}/vfio`]: null,
    };
    const findings = findingsWith(changed(change), address);
    const isHere = existsSync(`/lib/modules/${release()}/modules.dep`);
    for (const id of ['modules', 'container'] as const) {
      const { mend = '' } = findings.find((each) => each.id === id) ?? {};
      assert.match(mend, /sudo modprobe vfio/);
      assert.equal(mend.startsWith('on the host'), !isHere, mend);
    }
  });

  it('softens what one of two nodes refuses where the other is enough', () => {
    const findings = findingsWith(changed({ [`${nodes}/vfio`]: null }), address);
    const { status } = findings.find(({ id }) => id === 'container') ?? {};
    assert.equal(status, 'warning');
  });

  it('escapes the text of others', () => {
    const evil = 'a\u001b[2J';
    const root = changed({ [`${sys}/${address}/driver`]: { pointsTo: `x/${evil}` }, [`${sys}/${address}/vfio-dev`]: null }); // prettier-ignore
    const found = findingsWith(root, address).filter(({ id }) => id === 'driver' || id === 'group');
    assert.equal(found.length, 2);
    for (const { what, mend = '' } of found) assert.doesNotMatch(what + mend, /\p{Cc}/u);
    assert.match(found[0]?.what ?? '', /x1b/);
  });

  it('does not say that nobody has the nodes open, where others are not seen', async () => {
    const root = changed({
      'proc/self/ns/pid': { pointsTo: 'pid:[4026532999]' },
      'sys/class/vfio/11/dev': '511:77777\n',
      [`sys/bus/pci/devices/${address}/vfio-dev/vfio3/dev`]: '511:77778\n',
    });
    const options = rootsIn(root);
    const { findings } = await diagnose(address, options);
    assert.equal(findings.find(({ id }) => id === 'holders')?.status, 'unknown');
  });

  it('searches who has the nodes open, but in the blocking form', async () => {
    const root = tree(machine());
    const options = rootsIn(root);
    const searched = await diagnose(address, options);
    const { what } = searched.findings.find(({ id }) => id === 'holders') ?? {};
    assert.doesNotMatch(what ?? '', /blocking form/);
    const both = [await diagnose(address, options), diagnoseSync(address, options)];
    const [ids, idsSync] = both.map(({ findings }) => findings.map(({ id }) => id));
    assert.deepEqual(ids, idsSync);
  });
});

describe('vfio doctor', () => {
  const report = {
    ...{ vfio: '1.2.3', node: 'v22.0.0', kernel: 'Linux 6.12.1', arch: 'x64' },
    findings: [
      { id: 'iommu', subject: 'host', status: 'ok', what: 'the kernel uses dmar0' },
      { id: 'memlock', subject: 'host', status: 'warning', what: 'small', mend: 'raise it' },
      { id: 'driver', subject: address, status: 'bad', what: 'none', mend: 'bind it' },
      { id: 'holders', subject: address, status: 'unknown', what: 'not searched' },
    ] satisfies Finding[],
  };

  const plain = `vfio 1.2.3, Node v22.0.0, Linux 6.12.1 x64

host
  ok       iommu    the kernel uses dmar0
  WARNING  memlock  small
                    mend: raise it

${address}
  BAD      driver   none
                    mend: bind it
  unknown  holders  not searched

1 BAD, 1 WARNING, 1 unknown, 1 ok`;

  it('prints a line for each finding, plain', () => {
    assert.equal(doctorText(report, { colour: false }), plain);
  });

  it('prints the same in colours on a terminal', () => {
    const text = doctorText(report, { colour: true });
    for (const coloured of ['\u001b[32mok     \u001b[39m', '\u001b[33mWARNING\u001b[39m', '\u001b[31mBAD    \u001b[39m', '\u001b[1mhost\u001b[22m']) assert.ok(text.includes(coloured)); // prettier-ignore
    // eslint-disable-next-line no-control-regex
    assert.equal(text.replace(/\u001b\[\d+m/g, ''), plain);
  });
});
