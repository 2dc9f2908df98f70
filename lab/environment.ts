/** What of the caller's environment means the same in the guest, which shows the host's root. */
const KEPT =
  /^(PATH|HOME|USER|LOGNAME|SHELL|TERM|COLORTERM|NO_COLOR|FORCE_COLOR|LANG|LANGUAGE|LC_\w+|TZ)$/;

/** In the guest; guest/boot makes these. */
const STATE = '/run/vfio-lab';

/** The command's environment but for what `--env` adds. */
export function guestEnvironment(
  host: NodeJS.ProcessEnv,
  results: string | undefined,
): Record<string, string> {
  const kept = Object.entries(host).flatMap(([name, value]) =>
    KEPT.test(name) && value !== undefined ? [[name, value] as const] : [],
  );
  return {
    ...Object.fromEntries(kept),
    VFIO_LAB: '1',
    VFIO_LAB_DEVICES: `${STATE}/devices.json`,
    VFIO_LAB_QMP: '/dev/virtio-ports/vfio-lab.qmp',
    VFIO_LAB_RESULTS: results ?? `${STATE}/results`,
  };
}
