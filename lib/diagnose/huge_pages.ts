import type { VfioError } from '../errors.ts';
import { readAttribute } from '../locate/sysfs.ts';
import type { Cause } from '../reasons.ts';

/**
 * Why memory of huge pages could not be had. The kernel reserves pages when it maps a file of them (ENOMEM),
 * and takes them when they are touched: what is refused then, though it was reserved, is over a limit of
 * the cgroup.
 */
export function hugePageCause(
  { code, syscall }: VfioError,
  { size, pageSize }: { size: number; pageSize?: number | undefined },
  sysfsRoot = '/sys',
): Cause | undefined {
  if (pageSize === undefined) return undefined;
  if (code === 'EFAULT' && syscall === 'madvise') {
    return { reason: 'hugetlb-limit', certainty: 'likely', facts: { size, pageSize } };
  }
  if (code !== 'ENOMEM' || syscall !== 'mmap') return undefined;
  const folder = `${sysfsRoot}/kernel/mm/hugepages/hugepages-${pageSize / 1024}kB`;
  const count = (name: string): number => Number(readAttribute(`${folder}/${name}`));
  const total = count('nr_hugepages');
  const free = count('free_hugepages') - count('resv_hugepages');
  const needed = Math.ceil(size / pageSize);
  if (!(free < needed)) return undefined;
  const facts = { pageSize, needed, free, total, parameter: `${folder}/nr_hugepages` };
  return { reason: 'too-few-huge-pages', certainty: 'certain', facts };
}
