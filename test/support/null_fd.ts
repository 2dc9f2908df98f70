import assert from 'node:assert/strict';
import { constants } from 'node:fs';
import { binding, type NativeFd } from '../../lib/core/binding.ts';

/** A descriptor of the addon's that knows no request of VFIO. */
export function openNull(): NativeFd {
  const fd = binding().open('/dev/null', constants.O_RDWR);
  assert.ok(fd !== undefined && fd > 0);
  return fd as NativeFd;
}
