import type { Answer } from './binding.ts';
import { check, type CallName } from './call.ts';
import { explained } from './diagnose/explained.ts';
import { systemError } from './errors.ts';

const EOPNOTSUPP = -95;

/** The ArrayBuffer over memory of ours that the addon made. @throws VfioError `ENOTSUP` */
export function checkBuffer(
  answer: ArrayBuffer | Answer,
  call: Omit<CallName, 'syscall'> = {},
): ArrayBuffer {
  if (typeof answer === 'object') return answer;
  const named = { syscall: 'napi_create_external_arraybuffer', ...call };
  if (answer !== EOPNOTSUPP) {
    check(answer, named);
    throw new Error(`vfio: ${named.syscall} answered ${answer}; please report this bug`);
  }
  const { electron } = process.versions;
  const runtime =
    electron === undefined ? `this runtime (Node ${process.version})` : `Electron ${electron}`;
  const error = systemError({ ...named, errno: answer });
  const facts = { runtime };
  throw explained(error, { reason: 'no-external-buffers', certainty: 'certain', facts });
}
