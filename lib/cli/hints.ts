import { VfioError, type VfioReason } from '../index.ts';

/** What helps on the command line, where the error's own hint is for programs. */
const hints: Partial<Record<VfioReason, string>> = {
  'no-iommu': 'where that is meant: --backend noiommu; otherwise enable the IOMMU',
  'group-owned': 'end the program that has the group, or have it close its devices',
  'vf-token-required':
    'vfio has no option for the token: use the program that has the physical function open, or end it',
};

/** What mends an error, in commands and options. */
export function hintOf(error: unknown): string | undefined {
  if (!(error instanceof VfioError)) return undefined;
  const { reason } = error;
  const own = reason && hints[reason];
  return own === undefined ? error.hint : `${own} (docs/errors.md#${reason ?? ''})`;
}
