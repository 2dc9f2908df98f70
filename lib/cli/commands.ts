import { benchOpen } from './bench/open.ts';
import { bind, unbind } from './bind.ts';
import { build } from './build.ts';
import { cdi } from './cdi.ts';
import type { Command } from './command.ts';
import { completion } from './completion.ts';
import { config } from './config.ts';
import { doctor } from './doctor.ts';
import { features } from './features.ts';
import { groups } from './groups.ts';
import { info } from './info.ts';
import { list } from './list.ts';
import { read, write } from './region.ts';
import { reset } from './reset.ts';
import { sriov } from './sriov.ts';
import { top } from './top.ts';
import { trace } from './trace.ts';
import { udev } from './udev.ts';
import { watch } from './watch.ts';

/** Every command of `vfio`. */
export const commands: readonly Command[] = [
  info,
  list,
  groups,
  watch,
  top,
  doctor,
  config,
  read,
  write,
  features,
  reset,
  bind,
  unbind,
  sriov,
  udev,
  cdi,
  trace,
  benchOpen,
  build,
  completion,
];
