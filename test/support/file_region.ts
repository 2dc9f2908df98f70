import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { OwnedFd } from '../../lib/core/owned_fd.ts';
import type { RegionInfo } from '../../lib/info/decode.ts';
import { OpenMappings, PeerMaps, type RegionOwner } from '../../lib/region/owner.ts';
import { Region } from '../../lib/region/region.ts';
import { tree } from './tree.ts';

/** A file in a device's place: what pread and pwrite do with it is what they do with a device. */
export function fileOwner(path: string): RegionOwner {
  const device = { bus: 'pci', address: '0000:3b:00.0', sysfsPath: '/sys/none' };
  const location = { device, name: 'vfio7', major: 511, minor: 7, path };
  const fd = OwnedFd.open(path, 'the test file');
  return { fd, location, mappings: new OpenMappings(), peers: new PeerMaps(), config: undefined };
}

/** A region that is a part of a file. */
export interface FileRegion extends Disposable {
  region: Region;
  owner: RegionOwner;
  path: string;
}

export function regionInfo(more: Partial<RegionInfo> = {}): RegionInfo {
  return {
    index: 0,
    name: 'bar0',
    size: 0x100,
    offset: 0x2000n,
    flags: ['read', 'write', 'mmap'],
    capabilities: [],
    ...more,
  };
}

/** A region over a new file that holds the region's bytes at its offset, `bytes` first. */
export function fileRegion(bytes: Uint8Array, more: Partial<RegionInfo> = {}): FileRegion {
  const path = join(tree({}), 'file');
  const info = regionInfo(more);
  const content = new Uint8Array(Number(info.offset) + info.size);
  content.set(bytes, Number(info.offset));
  writeFileSync(path, content);
  const owner = fileOwner(path);
  const close = (): void => {
    owner.fd.closeSync();
  };
  return { region: Region.of(owner, info), owner, path, [Symbol.dispose]: close };
}
