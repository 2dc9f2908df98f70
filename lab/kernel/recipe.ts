import type { Need } from '../packages.ts';

/** How one series of kernels is made. */
export interface Recipe {
  series: string;
  /** Changes when anything about the way of making it does. */
  hash: string;
  /** Packages wanted for making it, beyond what running wants. */
  needs: readonly Need[];
  /** Makes a kernel in `folder` and returns its release, as `uname -r` will print it. */
  build(folder: string): Promise<string>;
}
