import { readFileSync } from 'node:fs';

/** Whether the lab's kernel was booted without an IOMMU, as the lane noiommu of `npm test` does. */
export const withoutIommu: boolean = readFileSync('/proc/cmdline', 'utf8').includes(
  'intel_iommu=off',
);
