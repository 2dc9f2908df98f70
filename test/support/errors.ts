import assert from 'node:assert/strict';
import { VfioError } from '../../lib/errors.ts';

/** As {@link failure}, of the library's own kind. */
export async function vfioFailure(run: () => unknown, code: string): Promise<VfioError> {
  const error = await failure(run, code);
  assert.ok(error instanceof VfioError);
  return error;
}

/** The error that `run` throws or rejects with, its `code` checked; undefined: it has none. */
export async function failure(run: () => unknown, code: string | undefined): Promise<Error> {
  try {
    await run();
  } catch (error) {
    assert.ok(error instanceof Error, `expected an Error, got ${String(error)}`);
    assert.equal('code' in error ? error.code : undefined, code, error.stack);
    return error;
  }
  throw new assert.AssertionError({ message: `expected ${code ?? 'an error'}, got none` });
}
