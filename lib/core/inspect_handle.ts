import type { InspectOptionsStylized } from 'node:util';
import { util } from './builtins.ts';

/**
 * Says how `util.inspect` and `console.log` show the handles of a class: its name, and fields that
 * are known already. Showing a handle asks the kernel nothing.
 */
export function defineInspect<Handle extends object>(
  { prototype }: { prototype: Handle },
  name: string,
  fieldsOf: (handle: Handle) => object,
): void {
  function show(this: Handle, depth: number, options: InspectOptionsStylized): string {
    if (depth < 0) return options.stylize(`[${name}]`, 'special');
    return `${name} ${util.inspect(fieldsOf(this), options)}`;
  }
  Object.defineProperty(prototype, util.inspect.custom, { value: show });
}
