import { pack, removeTemporary } from './tarball.ts';
import { installTools } from './tools.ts';

/** Once for all files of this suite: what they install, and what they install it with. */
export async function mochaGlobalSetup(): Promise<void> {
  await Promise.all([pack(), installTools()]);
}

export function mochaGlobalTeardown(): void {
  removeTemporary();
}
