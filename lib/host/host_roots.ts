import type { Roots } from '../core/location.ts';
import { folderOf, type RootOptions, rootsOf } from '../locate/roots.ts';

/** Where the parts of the host are that binding looks at and writes to: elsewhere in tests. */
export interface HostRootOptions extends RootOptions {
  /** Where procfs is mounted; `/proc`. */
  procRoot?: string | undefined;
  /** What is remembered until the next start of the machine; `/run/vfio`. */
  runRoot?: string | undefined;
  /** The machine's settings, of which udev's rules are written; `/etc`. */
  etcRoot?: string | undefined;
  /** The modules of the running kernel; `/lib/modules/<release>`. */
  modulesRoot?: string | undefined;
}

/** {@link HostRootOptions} with all filled in. */
export interface HostRoots extends Roots {
  procRoot: string;
  runRoot: string;
  etcRoot: string;
  modulesRoot: string;
}

/** @throws TypeError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE` */
export function hostRootsOf(options: HostRootOptions): HostRoots {
  const { procRoot = '/proc', runRoot = '/run/vfio', etcRoot = '/etc' } = options;
  const { modulesRoot = modulesOfKernel() } = options;
  return {
    ...rootsOf(options),
    procRoot: folderOf('procRoot', procRoot),
    runRoot: folderOf('runRoot', runRoot),
    etcRoot: folderOf('etcRoot', etcRoot),
    modulesRoot: folderOf('modulesRoot', modulesRoot),
  };
}

function modulesOfKernel(): string {
  return `/lib/modules/${process.getBuiltinModule('node:os').release()}`;
}
