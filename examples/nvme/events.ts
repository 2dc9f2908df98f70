/**
 * What a controller tells unasked, as the answer to an Asynchronous Event Request, which waits for
 * it as long as it takes (base specification 2.0, section 5.2).
 */
export interface NvmeEvent {
  type: 'error' | 'health' | 'notice' | 'immediate' | 'other';
  /** What it is, within its type: 1 of `health` is a temperature beyond its threshold. */
  info: number;
  /** The log page that says more, whose reading lets the next event of the type come. */
  logPage: number;
  /** The page's first 512 bytes. */
  log: Uint8Array;
}

const types: Record<number, NvmeEvent['type']> = {
  0: 'error',
  1: 'health',
  2: 'notice',
  3: 'immediate',
};

/** Takes the first word of the completion apart. */
export function decodeEvent(result: number): Omit<NvmeEvent, 'log'> {
  return {
    type: types[result & 0b111] ?? 'other',
    info: (result >>> 8) & 0xff,
    logPage: (result >>> 16) & 0xff,
  };
}

/** Bits of the feature that says which events are wanted: all that health has. */
export const healthEvents = 0x1f;
