// The soaks by name.
import { kills, workers } from './ended.ts';
import { eventfds } from './eventfds.ts';
import { interrupts } from './interrupts.ts';
import { maps } from './maps.ts';
import { opens } from './opens.ts';
import { races } from './races.ts';
import type { Soak } from './soak.ts';
import { unplug } from './unplug.ts';

export const soaks: Readonly<Record<string, Soak>> = {
  eventfds,
  opens,
  maps,
  interrupts,
  workers,
  kills,
  unplug,
  races,
};
