import { type Binding, binding, replaceBinding } from '../../lib/core/binding.ts';

/** Runs `body` with some of the addon's functions replaced. */
export async function withBinding<T>(
  fakes: Partial<Binding>,
  body: () => T | Promise<T>,
): Promise<T> {
  const restore = replaceBinding({ ...binding(), ...fakes });
  try {
    return await body();
  } finally {
    restore();
  }
}
