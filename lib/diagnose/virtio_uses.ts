import type { Roots, SysfsDevice } from '../core/location.ts';
import type { Holding, HostUse } from '../core/reasons.ts';
import { listNames, readAttribute, readLinkName, readLinkText } from '../locate/sysfs.ts';
import { findHoldersSync } from './holders.ts';
import { linesOf, type Mount, mountsIn, mountsOfInit, type ProcRoot } from './mounts.ts';

// In a virtual machine the root file system and the console may come by virtio devices, which are in
// no class of disks: below a PCI device, or one of another bus, there is then a folder `virtio<N>`.

type Place = Pick<Roots, 'sysfsRoot'> & ProcRoot;

/** So many milliseconds are given to looking at all processes. */
const mostMilliseconds = 250;

/** What the host has of a device by virtio and is in no class: shared file systems, and channels. */
export function virtioUses({ sysfsPath }: Pick<SysfsDevice, 'sysfsPath'>, place: Place): HostUse[] {
  const names = (listNames(sysfsPath) ?? []).filter((name) => /^virtio\d+$/.test(name));
  return names.flatMap((name): HostUse[] => {
    const folder = `${sysfsPath}/${name}`;
    switch (readLinkName(`${folder}/driver`)) {
      case '9pnet_virtio':
        return [sharedFiles('9p', readAttribute(`${folder}/mount_tag`)?.replace(/\0.*$/s, ''), name, place)]; // prettier-ignore
      case 'virtiofs':
        return [sharedFiles('virtiofs', tagOf(name, place), name, place)];
      case 'virtio_console':
        return [...virtualConsoles(place), ...portUses(`${folder}/virtio-ports`)];
      default:
        return [];
    }
  });
}

/** Its tag is in sysfs since Linux 6.9: /sys/fs/virtiofs/<n>/tag, beside a link to the device. */
function tagOf(name: string, { sysfsRoot }: Place): string | undefined {
  const all = `${sysfsRoot}/fs/virtiofs`;
  const own = (listNames(all) ?? []).find((each) => readLinkName(`${all}/${each}/device`) === name);
  return own === undefined ? undefined : readAttribute(`${all}/${own}/tag`);
}

/**
 * Whether nobody has it mounted cannot be told: the root may be a layer over it that hides it, and
 * other mount namespaces are not seen.
 */
function sharedFiles(type: string, tag: string | undefined, device: string, place: Place): HostUse {
  const isIts = (mount: Mount): boolean =>
    mount.type === type && (tag === undefined || mount.source === tag);
  const found = [...mountsIn(place), ...mountsOfInit(place)].find(isIts);
  const now =
    found === undefined
      ? 'perhaps mounted, where /proc does not show it: as the root below an overlay'
      : `mounted at ${found.place}`;
  return { kind: 'files', name: `${tag ?? device} (${type})`, now };
}

/** `hvc<N>`, which have no link to their device. */
function virtualConsoles(place: Place): HostUse[] {
  return consolesIn(place)
    .filter((name) => name.startsWith('hvc'))
    .map((name) => ({ kind: 'console', name, now: 'a console of the kernel' }));
}

/** Channels to the hypervisor, which agents have open. */
function portUses(folder: string): HostUse[] {
  return (listNames(folder) ?? []).map((name): HostUse => {
    const numbers = readAttribute(`${folder}/${name}/dev`);
    const deadline = performance.now() + mostMilliseconds;
    const search = { numbers: numbers === undefined ? [] : [numbers], targets: [] };
    const now = openIn(findHoldersSync(search, undefined, deadline));
    return { kind: 'console', name, now };
  });
}

/** Who cannot look at all processes cannot say that none has it. */
function openIn({ holders: [holder], hidden, searched }: Holding): string | null {
  if (holder) return `open in process ${holder.pid} (${holder.command})`;
  return hidden > 0 || !searched ? 'perhaps open in a process' : null;
}

/** Terminals of a device, such as a serial card, on which the kernel has its console. */
export function consoleUses(address: string, place: Place): HostUse[] {
  const isIts = (name: string): boolean =>
    readLinkText(`${place.sysfsRoot}/class/tty/${name}`)?.split('/').includes(address) === true;
  return consolesIn(place)
    .filter(isIts)
    .map((name) => ({ kind: 'console', name, now: 'a console of the kernel' }));
}

/** /proc/consoles: a line for each, which begins with its name. */
function consolesIn({ procRoot = '/proc' }: Place): string[] {
  return linesOf(`${procRoot}/consoles`).map((line) => line.split(/\s/)[0] ?? '');
}
