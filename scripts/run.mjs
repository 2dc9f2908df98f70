// Runs commands in the terminal of the script that asks for them.
import { spawnSync } from 'node:child_process';

/** The exit code; 1 where a signal ended it. `env` is added to this process's own. */
export function statusOf(command, args, env = {}) {
  const options = { stdio: 'inherit', env: { ...process.env, ...env } };
  const { status, error } = spawnSync(command, args, options);
  if (error) throw error;
  return status ?? 1;
}

/** Ends this process likewise where the command fails. */
export function runOrExit(command, args, env) {
  const status = statusOf(command, args, env);
  if (status !== 0) process.exit(status);
}
