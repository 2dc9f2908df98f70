import { type Binding, binding } from '../../lib/core/binding.ts';

/** Runs one of the addon's functions; what it returns is what the function answers. */
export type Around = (name: string, call: () => unknown) => unknown;

/** The addon, or what stands in for it, with every call given to `around`. */
export function tracedBinding(around: Around, traced: Binding = binding()): Binding {
  const functions: [string, unknown][] = Object.entries(traced).map(([name, run]) => [
    name,
    (...args: unknown[]): unknown => around(name, () => Reflect.apply(run, undefined, args)),
  ]);
  return Object.fromEntries(functions) as Binding;
}

/** The addon, with the names of the functions that are called put into `calls`. */
export function countCalls(calls: string[]): Binding {
  return tracedBinding((name, call) => {
    calls.push(name);
    return call();
  });
}
