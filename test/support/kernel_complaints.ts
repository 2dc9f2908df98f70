import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';

/** A warning that the kernel ends in by itself, and which function of its own ignored a failure. */
interface OwnWarning {
  /** The line that begins with WARNING. */
  warning: RegExp;
  /** The line before it, where there is one. */
  about?: RegExp;
  /** A function that has to be in the call trace. */
  through: string;
}

/**
 * Where Linux 7.3 goes on although an allocation failed, and finds the gap later. Whoever calls is
 * told of success, so that no program can have it otherwise.
 */
const ownWarnings: readonly OwnWarning[] = [
  {
    // register_irq_proc() (kernel/irq/proc.c) returns nothing and looks at none of its
    // proc_create_data(); unregister_irq_proc() then removes what was never made.
    warning: /^WARNING: fs\/proc\/generic\.c:\d+ at remove_proc_entry\+\S+, CPU#\d+: node\/\d+$/,
    about:
      /^name '(?:smp_affinity|affinity_hint|smp_affinity_list|node|effective_affinity|effective_affinity_list|spurious)'$/,
    through: 'unregister_irq_proc',
  },
  {
    // Closing cannot fail, so __iommu_group_set_domain_nofail() (drivers/iommu/iommu.c) only warns
    // where the device's default domain has no memory to take the device back.
    warning:
      /^WARNING: drivers\/iommu\/iommu\.c:\d+ at __iommu_release_dma_ownership\+\S+, CPU#\d+: node\/\d+$/,
    through: '(?:iommu_device_release_dma_owner|iommu_group_release_dma_owner)',
  },
];

/** Begins to watch the kernel's log; the answer says what it complained of since then. */
export function watchComplaints(): { complaints: () => string[]; own: () => number } {
  // What is told once a boot is told again.
  writeFileSync('/sys/kernel/debug/clear_warn_once', '1');
  const mark = `a test begins: ${randomUUID()}`;
  writeFileSync('/dev/kmsg', `${mark}\n`);
  const since = (): string => {
    const { stdout, status } = spawnSync('dmesg', { encoding: 'utf8' });
    assert.equal(status, 0);
    const start = stdout.indexOf(mark);
    assert.ok(start >= 0, 'the log still has all since the test began');
    return stdout.slice(start + mark.length).replaceAll(/^\[[^\]]*\] /gm, '');
  };
  return {
    complaints: () => complaintsIn(since()),
    own: () => [...reportsIn(since())].filter(isOwn).length,
  };
}

/** From where a report begins to where it ends. */
const report = /^-+\[ cut here \]-+\n[^]*?^---\[ end trace .*$/gm;

const reportsIn = (log: string): string[] => log.match(report) ?? [];

/** What the kernel says where it finds a mistake in itself. */
const isComplaint = (text: string): boolean =>
  /WARNING:|BUG:|Oops|general protection|Call Trace|cut here/.test(text);

/** All reports, but for those of {@link ownWarnings}, and what stands outside of any. */
function complaintsIn(log: string): string[] {
  const outside = log.replaceAll(report, '').split('\n').filter(isComplaint);
  return [...reportsIn(log).filter((text) => !isOwn(text)), ...outside];
}

function isOwn(text: string): boolean {
  const lines = text.split('\n');
  const at = lines.findIndex((line) => line.startsWith('WARNING:'));
  const warnings = lines.filter(isComplaint).length;
  return ownWarnings.some(({ warning, about, through }) => {
    const begins = about === undefined ? at === 1 : at === 2 && about.test(lines[1] ?? '');
    const calls = lines.slice(lines.indexOf('Call Trace:') + 1);
    const isThrough = calls.some((line) => new RegExp(`^ ${through}\\+`).test(line));
    // Nothing else in it: where it begins, the warning, and the trace.
    return warnings === 3 && begins && warning.test(lines[at] ?? '') && isThrough;
  });
}
