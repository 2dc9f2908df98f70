import { pack, removeTemporary } from './tarball.ts';
import { installTools } from './tools.ts';

/** Once for all files of this suite: what they install, and what they install it with. */
export async function mochaGlobalSetup(): Promise<void> {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, end);
  await Promise.all([pack(), installTools()]);
}

export function mochaGlobalTeardown(): void {
  removeTemporary();
}

/** mocha runs no teardown then. */
function end(signal: NodeJS.Signals): void {
  removeTemporary();
  process.kill(process.pid, signal);
}
