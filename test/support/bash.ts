/**
 * Arguments of bash that runs a script. Node's pipes are sockets, and with a socket as its input a
 * first bash takes itself for one of rsh and reads the ~/.bashrc of who runs the tests: ten seconds
 * in the lab.
 */
export const bashArgs = (script: string, ...args: string[]): string[] => [
  ...['--norc', '-c', script],
  ...args,
];
