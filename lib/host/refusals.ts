import { fs } from '../core/builtins.ts';
import { counted } from '../core/counted.ts';
import { explained, systemError, VfioError } from '../core/errors.ts';
import type { SysfsDevice } from '../core/location.ts';
import { hiddenText } from '../core/messages.ts';
import type { Holding, HostNeed, HostUse } from '../core/reasons.ts';
import { either, type Steps } from '../core/steps.ts';
import { deviceUses } from '../diagnose/host_uses.ts';
import { canonicalOn } from '../locate/address.ts';
import { numbersOf } from '../locate/resolve.ts';
import { virtfnsOf, virtualFunctionsOf } from '../locate/virtual_functions.ts';
import { hiddenFolder, isSystemError, listNames, readAttribute } from '../locate/sysfs.ts';
import { nodesOf, whoHolds } from './device_holders.ts';
import type { HostRoots } from './host_roots.ts';
import { type Found, networkNeeds } from './network_needs.ts';

/**
 * What the host, and programs, need a device for, so that it is not to be taken from its driver;
 * and in sentences what could not be looked at, which is no proof that nothing is needed.
 */
export function* hostNeeds(device: SysfsDevice, roots: HostRoots): Steps<Found> {
  const found = [bridgeNeeds(device), displayNeeds(device), parentNeeds(device)];
  const hidden = hiddenFolder(`${roots.sysfsRoot}/class`);
  if (hidden) {
    const unseen = [`what the host has of ${device.address}: ${hiddenText(hidden)}`];
    found.push({ needs: [], unseen });
  } else {
    const { uses = [], unseen = [] } = deviceUses(device, roots);
    const names = (kind: HostUse['kind']): string[] =>
      uses.filter((use) => use.kind === kind).map(({ name }) => name);
    found.push({ needs: uses.flatMap(plainNeed), unseen: unseen.map(unseenText) });
    found.push(yield* claimedDisks(uses.filter(isIdleDisk), roots));
    found.push(networkNeeds(names('net'), roots));
  }
  found.push(userNeeds(device, yield* whoHolds(nodesOf(device, roots.sysfsRoot))));
  found.push(yield* functionsNeeds(device, roots));
  return together(found);
}

function together(found: readonly Found[]): Found {
  return {
    needs: found.flatMap(({ needs }) => needs),
    unseen: found.flatMap(({ unseen }) => unseen),
  };
}

/**
 * What a virtual function is needed for: what any device is, and its interface that is up, which
 * goes with it, whatever it is up for.
 */
export function* functionNeeds(device: SysfsDevice, roots: HostRoots): Steps<Found> {
  const { needs, unseen } = yield* hostNeeds(device, roots);
  const known = new Set(needs.map(({ name }) => name));
  const { uses = [] } = deviceUses(device, roots);
  const up = uses
    .filter(({ kind, name, now }) => kind === 'net' && now !== null && !known.has(name))
    .map(({ name, now }): HostNeed => ({ kind: 'network', name, text: `${name} is ${now ?? ''}` }));
  return { needs: [...needs, ...up], unseen };
}

/** What the virtual functions of a device are needed for: they go with its driver. */
export function* functionsNeeds(device: SysfsDevice, roots: HostRoots): Steps<Found> {
  const found: Found[] = [];
  for (const each of virtualFunctionsOf(device, roots.sysfsRoot)) {
    const { needs, unseen } = yield* functionNeeds(each, roots);
    const told = (text: string): string => `its virtual function ${each.address}: ${text}`;
    found.push({
      needs: needs.map((need) => ({ ...need, text: told(need.text) })),
      unseen: unseen.map(told),
    });
  }
  return together(found);
}

const nothing: Found = { needs: [], unseen: [] };

const unseenTexts: Record<HostUse['kind'], string> = {
  block: 'what is mounted: /proc does not show it here',
  net: 'network interfaces of the device in another network namespace, which sysfs does not show here',
  drm: 'displays',
  files: 'shared file systems',
  console: 'consoles',
};

function unseenText(kind: HostUse['kind']): string {
  return unseenTexts[kind];
}

/** By the PCI class, 0x06: what the others are reached through. */
export function isPciBridge(classCode: string | undefined): boolean {
  return classCode?.startsWith('0x06') === true;
}

/**
 * Bridges to the host, to PCI and to CardBus, without which what is behind them is gone, and which
 * vfio-pci does not take: by force neither.
 */
export function isKeptBridge(classCode: string | undefined): boolean {
  return /^0x060[0479]/.test(classCode ?? '');
}

function bridgeNeeds({ bus, address, sysfsPath }: SysfsDevice): Found {
  const classCode = bus === 'pci' ? readAttribute(`${sysfsPath}/class`) : undefined;
  if (!isPciBridge(classCode)) return nothing;
  const behind = (listNames(sysfsPath) ?? []).filter((name) => canonicalOn('pci', name) === name);
  const text = `it is a bridge (PCI class ${classCode?.slice(2, 6) ?? ''})${behind.length > 0 ? `, with ${behind.sort().join(' and ')} behind it` : ''}`;
  const never = isKeptBridge(classCode) ? { never: true as const } : {};
  return { needs: [{ kind: 'bridge', name: address, text, ...never }], unseen: [] };
}

/** Where the firmware showed the start, and the kernel's console may be. */
function displayNeeds({ address, sysfsPath }: SysfsDevice): Found {
  const isBoot = ['boot_vga', 'boot_display'].some(
    (name) => readAttribute(`${sysfsPath}/${name}`) === '1',
  );
  const text = 'it is the display that the machine started with';
  return isBoot ? { needs: [{ kind: 'display', name: address, text }], unseen: [] } : nothing;
}

function parentNeeds({ address, sysfsPath }: SysfsDevice): Found {
  const count = virtfnsOf({ sysfsPath }).length;
  const text = `${count} virtual function${count === 1 ? '' : 's'} of it ${count === 1 ? 'is' : 'are'} switched on, and ${count === 1 ? 'goes' : 'go'} with its driver`;
  return count > 0 ? { needs: [{ kind: 'functions', name: address, text }], unseen: [] } : nothing;
}

/** What is said by its use alone. */
function plainNeed({ kind, name, now }: HostUse): HostNeed[] {
  if (now === null) return [];
  if (kind === 'block') return [{ kind: 'disk', name, text: `${name} is ${now}` }];
  if (kind === 'files') return [{ kind, name, text: `the shared file system ${name} is ${now}` }];
  return kind === 'console' ? [{ kind, name, text: `${name} is ${now}` }] : [];
}

function isIdleDisk({ kind, now }: HostUse): boolean {
  return kind === 'block' && now === null;
}

/**
 * Disks that the kernel lets nobody have for himself: another mount namespace, ZFS, btrfs or LVM
 * has them, of which nothing else tells. O_EXCL without O_CREAT asks for a disk as they do
 * (bdev_claim, block/bdev.c); it is given back at once.
 */
function* claimedDisks(disks: readonly HostUse[], roots: HostRoots): Steps<Found> {
  const found: Found = { needs: [], unseen: [] };
  for (const { name } of disks) {
    const path = `${roots.devRoot}/${name.replaceAll('!', '/')}`;
    const numbers = readAttribute(`${roots.sysfsRoot}/class/block/${name}/dev`);
    const code = yield* either(
      () => claim(path, numbers),
      () => claimSync(path, numbers),
    );
    if (code === 'EBUSY') {
      const text = `${name} is taken by the kernel or a program (opening it for oneself answers EBUSY)`;
      found.needs.push({ kind: 'disk', name, text });
    } else if (code !== undefined) {
      found.unseen.push(`whether ${name} is in use: ${path} ${code}`);
    }
  }
  return found;
}

const exclusive = (): number =>
  fs.constants.O_RDONLY | fs.constants.O_EXCL | fs.constants.O_NONBLOCK;

/** What keeps from asking, or EBUSY; undefined where it was free. */
async function claim(path: string, numbers: string | undefined): Promise<string | undefined> {
  try {
    const stat = await fs.promises.stat(path, { bigint: true });
    if (!stat.isBlockDevice() || numbersOf(stat) !== numbers) return 'is another device';
    await (await fs.promises.open(path, exclusive())).close();
    return undefined;
  } catch (error) {
    return codeOf(error, path);
  }
}

function claimSync(path: string, numbers: string | undefined): string | undefined {
  try {
    const stat = fs.statSync(path, { bigint: true });
    if (!stat.isBlockDevice() || numbersOf(stat) !== numbers) return 'is another device';
    fs.closeSync(fs.openSync(path, exclusive()));
    return undefined;
  } catch (error) {
    return codeOf(error, path);
  }
}

/** ENOMEDIUM: a drive without a disk is in nobody's way. */
function codeOf(error: unknown, path: string): string | undefined {
  if (!isSystemError(error)) throw error;
  const { code } = systemError({ errno: error.errno, syscall: 'open', path });
  if (code === 'E123') return undefined;
  return code === 'EBUSY' ? code : `answers ${code}`;
}

export function userNeeds({ address }: SysfsDevice, { holders, hidden, searched }: Holding): Found {
  const needs = holders.map(({ pid, command }): HostNeed => ({
    kind: 'user',
    name: address,
    text: `${pid === process.pid ? 'this process' : `process ${pid} (${command})`} has it open`,
  }));
  const unseen: string[] = [];
  if (!searched) unseen.push(`who has ${address} open: not all processes were looked at`);
  if (hidden > 0)
    unseen.push(
      `who has ${address} open: ${counted(hidden, 'process is', 'processes are')} not to be looked at`,
    );
  return { needs, unseen };
}

/** The error of taking devices that are needed; undefined where none is. */
export function neededError(
  found: readonly { device: SysfsDevice; needs: HostNeed[] }[],
  force: boolean,
): VfioError | undefined {
  const devices = found
    .map(({ device: { bus, address }, needs }) => ({
      bus,
      address,
      needs: force ? needs.filter(({ never }) => never) : needs,
    }))
    .filter(({ needs }) => needs.length > 0);
  const [first] = devices;
  if (first === undefined) return undefined;
  const error = new VfioError({
    code: 'ERR_VFIO_IN_USE',
    message: 'nothing was changed, since what was to be taken is needed',
    device: first.address,
  });
  return explained(error, { reason: 'needed-by-host', certainty: 'certain', facts: { devices } });
}
