import type { Command } from './command.ts';
import { features } from './features.ts';
import { info } from './info.ts';
import { list } from './list.ts';
import { reset } from './reset.ts';

/** Every command of `vfio`. */
export const commands: readonly Command[] = [info, list, features, reset];
