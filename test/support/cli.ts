import type { Command } from '../../lib/cli/command.ts';
import { commands } from '../../lib/cli/commands.ts';
import { run } from '../../lib/cli/run.ts';

/** What a command line printed, line by line, and how it ended. */
export interface CliRun {
  status: number;
  out: string;
  err: string;
}

/** Runs `vfio` with these arguments in this process. */
export async function vfio(argv: string[], table: readonly Command[] = commands): Promise<CliRun> {
  const result = { out: '', err: '' };
  const status = await run(argv, table, {
    print: (text) => void (result.out += `${text}\n`),
    note: (text) => void (result.err += `${text}\n`),
    colour: false,
  });
  return { status, ...result };
}
