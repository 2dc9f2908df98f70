// Run as a child: runs each command once on the device that argv names, and writes their exit
// statuses, as JSON by name, to the file that argv names.
import { writeFileSync } from 'node:fs';
import { commands } from '../../lib/cli/commands.ts';
import { withProcessOutput } from '../../lib/cli/output.ts';
import { run } from '../../lib/cli/run.ts';
import { parseAddress } from '../../lib/locate/address.ts';
import { argvOnDevice, runOf, runsOnDevice } from './command_runs.ts';

const [device = '', file = ''] = process.argv.slice(2);
for (const stream of [process.stdout, process.stderr]) stream.setMaxListeners(0);

const statuses: Record<string, number> = {};
for (const command of commands) {
  const { env } = runOf(runsOnDevice(device), command);
  // What needs an environment of its own is a program of its own.
  if (env !== undefined) continue;
  const argv = argvOnDevice(command, parseAddress(device));
  statuses[command.name] = await withProcessOutput((out) => run(argv, commands, out));
}
writeFileSync(file, JSON.stringify(statuses));
