import type { Binding } from '../core/binding.ts';
import { util } from '../core/builtins.ts';
import type { Section } from './request.ts';
import { StderrLines } from './stderr_lines.ts';
import { type TraceLines, tracedBinding } from './traced_binding.ts';

const sections: readonly Section[] = ['vfio', 'vfio-sysfs', 'vfio-access'];

/**
 * What the environment variable NODE_DEBUG asks for, once, when the addon is loaded. Where it asks
 * for nothing of this, the addon's functions are what they were. The lines are those of Node's own
 * `util.debuglog`, which is asked whether a section is meant, and does not write them: it does so by
 * `process.stderr`, whose error ends the program when the reader is gone.
 */
export function tracedIfAsked(native: Binding): Binding {
  const asked = sections.filter((section) => util.debuglog(section).enabled);
  if (asked.length === 0) return native;
  const who = thisThread();
  const output = new StderrLines(`VFIO ${who}`);
  const lines: TraceLines = {};
  for (const section of asked) {
    const head = `${section.toUpperCase()} ${who}: `;
    lines[section] = (line) => {
      output.write(`${head}${line}`);
    };
  }
  return tracedBinding(native, lines);
}

/** The process, and in a worker the number of its thread: `264`, `264 thread 1`. */
function thisThread(): string {
  const { isMainThread, threadId } = process.getBuiltinModule('node:worker_threads');
  return isMainThread ? `${process.pid}` : `${process.pid} thread ${threadId}`;
}
