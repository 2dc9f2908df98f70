import type { Binding } from '../core/binding.ts';
import { util } from '../core/builtins.ts';
import type { Section } from './request.ts';
import { type TraceLines, tracedBinding } from './traced_binding.ts';

const sections: readonly Section[] = ['vfio', 'vfio-sysfs', 'vfio-access'];

/**
 * What the environment variable NODE_DEBUG asks for, once, when the addon is loaded. Where it asks
 * for nothing of this, the addon's functions are what they were.
 */
export function tracedIfAsked(native: Binding): Binding {
  const lines: TraceLines = {};
  for (const section of sections) {
    const log = util.debuglog(section);
    if (!log.enabled) continue;
    lines[section] = (line) => {
      log('%s', line);
    };
  }
  return Object.keys(lines).length === 0 ? native : tracedBinding(native, lines);
}
