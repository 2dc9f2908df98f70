import { readAttribute } from '../locate/sysfs.ts';
import type { VfioFacts } from '../reasons.ts';

/** CAP_IPC_LOCK, whose owner is not counted. */
const ipcLock = 1n << 14n;

/** The limit on pinned memory and what this process has; nothing where it has no limit. */
export function memlock(
  needed: bigint,
  counted: 'user' | 'process',
  proc = '/proc/self',
): VfioFacts['memlock-limit'] | undefined {
  const status = readAttribute(`${proc}/status`) ?? '';
  const capabilities = /^CapEff:\s*([\da-f]+)/m.exec(status)?.[1] ?? '0';
  if ((BigInt(`0x${capabilities}`) & ipcLock) !== 0n) return undefined;
  const limits = readAttribute(`${proc}/limits`) ?? '';
  const limit = /^Max locked memory\s+(\d+)/m.exec(limits)?.[1];
  if (limit === undefined) return undefined;
  // A container's are counted as if they were locked by mlock().
  const line = counted === 'user' ? /^VmPin:\s*(\d+) kB/m : /^VmLck:\s*(\d+) kB/m;
  const pinned = line.exec(status)?.[1] ?? '0';
  return { needed, limit: BigInt(limit), pinned: BigInt(pinned) * 1024n, counted };
}
