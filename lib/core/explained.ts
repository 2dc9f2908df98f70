import { VfioError } from './errors.ts';
import type { Cause } from './reasons.ts';
import { wordsOf } from './words.ts';

/** The same error with its reason. */
export function explained(error: VfioError, cause: Cause): VfioError {
  const { why, hint } = wordsOf(cause);
  const { code, errno, syscall, request, path, device, region } = error;
  const { reason, facts, certainty } = cause;
  const doubt = certainty === 'likely' ? 'likely ' : '';
  // Where the lookup itself knew it, it has said so.
  const isSaid = error.message.endsWith(why);
  const message = isSaid ? error.message : `${error.message}: ${doubt}${why}`;
  return new VfioError({
    ...{ code, errno, syscall, request, path, device, region, reason, facts, certainty },
    message,
    hint: `${hint} (docs/errors.md#${reason})`,
  });
}

/** The error of using `what` after it was closed; `cause` where the program did not close it itself. */
export function closedError(what: string, cause?: Cause): VfioError {
  const error = new VfioError({ code: 'ERR_VFIO_CLOSED', message: `${what} is closed` });
  return cause === undefined ? error : explained(error, cause);
}
