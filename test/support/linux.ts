import { release } from 'node:os';

const [major = 0, minor = 0] = release().split('.').map(Number);

/** Whether the kernel is of this version, or newer. */
export function isLinux(since: number, sinceMinor = 0): boolean {
  return major > since || (major === since && minor >= sinceMinor);
}
