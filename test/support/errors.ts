import assert from 'node:assert/strict';
import { VfioError } from '../../lib/core/errors.ts';
import type { Holding } from '../../lib/core/reasons.ts';

/** Like {@link failure}, of the library's own kind. */
export async function vfioFailure(run: () => unknown, code: string): Promise<VfioError> {
  const error = await failure(run, code);
  assert.ok(error instanceof VfioError);
  return error;
}

/** The same, of an error that has a reason, and a hint that says where to read about it. */
export async function explainedFailure(run: () => unknown, code: string): Promise<VfioError> {
  const error = await vfioFailure(run, code);
  assert.ok(error.reason, error.stack);
  assert.match(error.hint ?? '', new RegExp(`\\(docs/errors\\.md#${error.reason}\\)$`));
  return error;
}

/** How often the time is not enough before it is no longer the machine's fault. */
export const searches = 50;

/**
 * Like {@link vfioFailure}, of a refusal whose search for the processes that hold the device came to
 * its end. It is given 250 ms; on a busy machine, where these are not enough, the refusal is asked
 * for again.
 *
 * @param isWhole - whether an answer is one of an ended search, where that is not what the facts say
 */
export async function searchedFailure(
  run: () => unknown,
  code: string,
  isWhole: (error: VfioError) => boolean = isSearched,
): Promise<VfioError> {
  let error = await vfioFailure(run, code);
  for (let again = 0; again < searches && !isWhole(error); again++)
    error = await vfioFailure(run, code);
  return error;
}

function isSearched({ facts }: VfioError): boolean {
  return (facts as Partial<Holding> | undefined)?.searched !== false;
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
