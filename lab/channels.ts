/**
 * The ways between host and guest. Each is a socket pair: one end is a stream of ours, the other an
 * fd that QEMU inherits. So no file is left over, whichever way one of the two ends.
 */
type PortName = 'job' | 'status' | 'watch' | 'stdin' | 'stdout' | 'stderr' | 'qmp';

/** `tty` is the guest's /dev/hvc0, `monitor` is QEMU itself; the rest are virtio-serial ports. */
export type ChannelName = PortName | 'tty' | 'monitor';

/** The first fd after stdin, stdout and stderr. */
const FIRST_FD = 3;

/** What a run needs: with a terminal, that one replaces stdin, stdout and perhaps stderr. */
export function channelNames(terminal: boolean, separateStderr: boolean): ChannelName[] {
  const own: ChannelName[] = ['monitor', 'qmp', 'job', 'status', 'watch'];
  if (!terminal) return [...own, 'stdin', 'stdout', 'stderr'];
  return separateStderr ? [...own, 'tty', 'stderr'] : [...own, 'tty'];
}

export function channelFd(index: number): number {
  return FIRST_FD + index;
}
