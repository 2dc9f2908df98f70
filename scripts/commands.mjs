// The programs that a check needs and npm does not bring.
import { spawnSync } from 'node:child_process';

/** Ends the program with what to install, where one of them lacks; by Debian's packages. */
export function requireCommands(check, packages) {
  const lacking = Object.entries(packages).filter(
    ([command]) => spawnSync(command, ['--version']).error !== undefined,
  );
  if (lacking.length === 0) return;
  const names = [...new Set(lacking.map(([, name]) => name))].join(' ');
  console.error(`${check}: install what is lacking: apt-get install -y ${names}`);
  process.exit(1);
}
