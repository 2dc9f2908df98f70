import type { Vm } from './vm.ts';

export interface Terminal {
  rows: number;
  columns: number;
  /** The caller sent stderr elsewhere, so it is kept out of the terminal here too. */
  separateStderr: boolean;
}

/** The caller's terminal, if both directions are one: then the guest's command gets one too. */
export function terminalOfCaller(): Terminal | undefined {
  const { stdin, stdout, stderr } = process;
  if (!stdin.isTTY || !stdout.isTTY) return undefined;
  return { rows: stdout.rows, columns: stdout.columns, separateStderr: !stderr.isTTY };
}

/** Joins the caller's terminal to the guest's; returns how to give it back as it was. */
export function attachTerminal(vm: Vm): () => void {
  const { stdin, stdout } = process;
  const sendSize = (): void => {
    vm.channel('watch').write(`${stdout.rows} ${stdout.columns}\n`);
  };
  // Keys go through as they are: it is the guest's terminal that makes a signal of Ctrl-C.
  stdin.setRawMode(true);
  stdin.pipe(vm.channel('tty'));
  stdout.on('resize', sendSize);
  return () => {
    stdout.off('resize', sendSize);
    stdin.unpipe();
    stdin.setRawMode(false);
    stdin.destroy();
  };
}
