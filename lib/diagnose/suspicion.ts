import type { Cause, Holding } from '../reasons.ts';
import type { Search } from './holders.ts';

/** What a failure seems to come from, and what would tell more. */
export interface Suspicion {
  /** What is said where nobody looks further. */
  cause: Cause;
  /** Whose descriptors to look for. */
  search?: Search | undefined;
  /** What is said once they were looked for. */
  settle?: ((found: Holding) => Cause) | undefined;
  /** What to look for where nobody was found. */
  otherwise?: Suspicion;
}
