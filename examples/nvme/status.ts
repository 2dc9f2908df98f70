/** Why a command has no result. */
export type NvmeFailure =
  /** The controller completed it with an error: `status` says which. */
  | 'status'
  /** It took too long, and was aborted, or the controller was reset because of it. */
  | 'timeout'
  /** The controller was reset while it was under way. */
  | 'reset'
  /** The device is gone, or somebody wants it back. */
  | 'removed'
  /** The controller completed what it was not asked for. */
  | 'protocol'
  /** The queue or the controller was closed. */
  | 'closed';

export class NvmeError extends Error {
  override readonly name: string = 'NvmeError';
  readonly code: NvmeFailure;
  /** The status type and code, `(type << 8) | code`, of a completion; 0 otherwise. */
  readonly status: number;

  constructor(code: NvmeFailure, message: string, status = 0, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.status = status;
  }
}

/** What the 15 status bits of a completion mean (base specification 2.0, section 3.3.3.2.1). */
export function statusError(what: string, bits: number): NvmeError {
  // Of type and code: above them are the hints how to retry.
  const status = bits & 0x7ff;
  const text =
    names[status] ?? `status type ${status >> 8}, code 0x${(status & 0xff).toString(16)}`;
  const code = status === abortRequested ? 'timeout' : 'status';
  return new NvmeError(code, `${what}: ${text}`, status);
}

/** What was completed, and is not under way: two use one queue, or the controller is wrong. */
export function strayError(queue: number, id: number): NvmeError {
  return new NvmeError('protocol', `queue ${queue} completed ${id}, which is not under way`);
}

const abortRequested = 0x007;

/** Those that a driver's author meets; the specification has some hundred. */
const names: Record<number, string> = {
  0x001: 'the opcode is not known',
  0x002: 'a field of the command is not valid',
  0x004: 'the data could not be transferred: was its memory mapped for the device?',
  0x006: 'internal error of the device',
  [abortRequested]: 'it was aborted',
  0x008: 'its queue was deleted',
  0x00b: 'the namespace or its format is not valid',
  0x013: 'an offset of a PRP is not valid',
  0x080: 'the blocks are outside the namespace',
  0x100: 'the completion queue is not valid',
  0x101: 'the number of the queue is not valid',
  0x102: 'the size of the queue is not valid',
  0x105: 'more events were asked for than the controller has',
  0x281: 'the blocks could not be read',
};
