import type { Command } from './command.ts';
import { info } from './info.ts';
import { list } from './list.ts';

/** Every command of `vfio`. */
export const commands: readonly Command[] = [info, list];
