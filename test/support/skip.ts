/**
 * Leaves the running test pending, and puts what it needs where the summary of `npm test` finds it.
 */
export function skip(context: Mocha.Context, needs: string): never {
  const test = context.currentTest ?? context.test;
  if (test) test.title += ` (${needs})`;
  return context.skip();
}
