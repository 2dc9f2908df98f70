import { explained } from './diagnose/explained.ts';
import { VfioError } from './errors.ts';
import type { Cause } from './reasons.ts';

/** The error of using `what` after it was closed; `cause` where the program did not close it itself. */
export function closedError(what: string, cause?: Cause): VfioError {
  const error = new VfioError({ code: 'ERR_VFIO_CLOSED', message: `${what} is closed` });
  return cause === undefined ? error : explained(error, cause);
}
