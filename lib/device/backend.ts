import { invalidType, invalidValue } from '../arguments.ts';

/**
 * A way to open a device: by its cdev and an iommufd; by its legacy group and a type1 container; by its
 * group with an iommufd as container; or without an IOMMU.
 */
export type BackendKind = 'cdev' | 'group' | 'compat' | 'noiommu';

/** How a device was opened. */
export interface Backend {
  kind: BackendKind;
  /** Whether an IOMMU confines the device's DMA to what is mapped for it. */
  isolated: boolean;
  /** Why this one: `asked for`, or what the others lack. */
  why: string;
}

/** How a device was opened: every kind but `noiommu` is confined by an IOMMU. */
export function backendOf(kind: BackendKind, why: string): Backend {
  return { kind, isolated: kind !== 'noiommu', why };
}

const kinds: unknown[] = ['auto', 'cdev', 'group', 'compat', 'noiommu'];

/** @throws TypeError */
export function checkBackend(backend: unknown): void {
  if (backend === undefined || kinds.includes(backend)) return;
  const expected = "'auto', 'cdev', 'group', 'compat' or 'noiommu'";
  if (typeof backend !== 'string') throw invalidType('backend', expected, backend);
  throw invalidValue('backend', expected, backend);
}
