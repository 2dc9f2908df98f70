import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** This process's descriptors: where each points. One that goes while we look is not there. */
export function openFds(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      return [];
    }
  });
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
