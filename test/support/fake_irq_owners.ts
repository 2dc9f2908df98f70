import type { Binding } from '../../lib/core/binding.ts';

/** A device that nobody else in the process has: `release` is called for what is disabled. */
export function fakeIrqOwners(release: (index: number) => number): Partial<Binding> {
  const claimed = new Set<number>();
  const disable = (index: number): number => {
    const answer = release(index);
    if (answer === 0) claimed.delete(index);
    return answer;
  };
  return {
    irqsJoin: () => 0,
    noticesWatch: () => 0,
    noticesTell: () => 0,
    irqsClaim: (_device, index) => (claimed.add(index), 1),
    irqsUnclaim: (_device, index) => (claimed.delete(index), 0),
    irqsOwner: (_device, index) => (claimed.has(index) ? 1 : 0),
    irqsRelease: (_device, index) => Promise.resolve(disable(index)),
    irqsReleaseSync: (_device, index) => disable(index),
  };
}
