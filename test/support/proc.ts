import assert from 'node:assert/strict';
import { fstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { orUndefined } from '../../lib/core/errors.ts';
import { processStatus } from '../../lib/locate/process_status.ts';

/** A process's descriptors: where each points. One that goes while we look is not there. */
export function openFds(pid: number | string = 'self'): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
    } catch {
      return [];
    }
  });
}

/** The processes that one began, as each says who its parent is: not every kernel lists them. */
export function childrenOf(pid: number): number[] {
  const all = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  // One that ends meanwhile is nobody's child.
  const parentOf = (name: string): string | undefined =>
    orUndefined(() => processStatus(`/proc/${name}/status`))?.get('PPid');
  return all.filter((name) => parentOf(name) === String(pid)).map(Number);
}

/**
 * The descriptors that the library could leave behind where devices are stood in for by /dev/null
 * and its like. The loader of TypeScript opens and closes sockets and files whenever it likes.
 */
export function libraryFds(): string[] {
  const targets = /^\/dev\/(?:null|zero|full|vfio|iommu)|inotify|eventfd/;
  return openFds()
    .filter((target) => targets.test(target))
    .sort();
}

/** How many of this process's descriptors point to each target that names VFIO or an IOMMU. */
export function vfioFds(): string[] {
  return openFds().filter((target) => /vfio|iommu/.test(target));
}

/** The mappings that name VFIO, an IOMMU or a memfd; our own addon's file apart. */
export function vfioMaps(): string[] {
  return readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => /vfio|iommu|memfd/.test(line) && !line.endsWith('vfio.node'));
}

/** How many DMA buffers this process has mapped. */
export function dmaMemories(): number {
  return readFileSync('/proc/self/maps', 'utf8').split('memfd:vfio-dma').length - 1;
}

/**
 * The descriptors of memory and of eventfds, which are all that the fake kernel side has: each by
 * what tells its file from every other one, so that none that is new passes for one that went.
 */
export function fakeFds(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    const event = eventfdId(fd);
    const inode = event === undefined ? memoryInode(fd) : undefined;
    if (inode !== undefined) return [`memory ${inode}`];
    return event === undefined ? [] : [`eventfd ${event}`];
  });
}

/** Of a file of the addon's memory; undefined for all else, and for what goes while we look. */
function memoryInode(fd: string): bigint | undefined {
  try {
    const isMemory = readlinkSync(`/proc/self/fd/${fd}`).startsWith('/memfd:vfio');
    return isMemory ? fstatSync(Number(fd), { bigint: true }).ino : undefined;
  } catch {
    return undefined;
  }
}

/** What is there that was not there before. */
export function moreOf(now: readonly string[], before: readonly string[]): string[] {
  const more = [...now];
  for (const one of before) {
    const at = more.indexOf(one);
    if (at >= 0) more.splice(at, 1);
  }
  return more;
}

/**
 * Nothing is there that was not there before. What earlier tests dropped may be collected
 * meanwhile, so that there may be less.
 */
export function assertNoMore(now: readonly string[], before: readonly string[]): void {
  assert.deepEqual(moreOf(now, before), []);
}

/** The number by which the kernel tells eventfds apart. */
export function eventfdId(fd: number | string): string | undefined {
  try {
    return /^eventfd-id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1];
  } catch {
    return undefined;
  }
}

/** How many descriptors this process has of an eventfd. */
export function eventfdsOf(id: string | undefined): number {
  return readdirSync('/proc/self/fd').filter((fd) => eventfdId(fd) === (id ?? '?')).length;
}

/** How many sockets this process has open that keep the bounds of messages (SOCK_SEQPACKET). */
export function packetSockets(): number {
  const table = readFileSync('/proc/self/net/unix', 'utf8').split('\n');
  const rows = table.map((row) => row.trim().split(/\s+/));
  const inodes = rows.filter(([, , , , type]) => type === '0005').map((row) => row[6]);
  return openFds().filter((target) => inodes.includes(/^socket:\[(\d+)\]$/.exec(target)?.[1]))
    .length;
}

/** NETLINK_KOBJECT_UEVENT */
const uevents = '15';

/** How many sockets for the kernel's uevents a process has open. */
export function ueventSockets(pid: number | string = 'self'): number {
  const lines = readFileSync('/proc/net/netlink', 'utf8').trim().split('\n');
  const cells = lines.map((line) => line.trim().split(/\s+/));
  const inodes = cells.filter(([, protocol]) => protocol === uevents).map((each) => each.at(-1));
  return openFds(pid).filter((target) => inodes.some((inode) => target === `socket:[${inode}]`))
    .length;
}
