import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { type Command, exitStatus, type Invocation, misuse } from './command.ts';

export const trace: Command = {
  name: 'trace',
  summary: 'Run a command of vfio, or a program that uses it, and tell each request to the kernel',
  positionals: ['command…'],
  passesOn: true,
  options: {
    sysfs: { type: 'boolean', description: 'Tell what is read in sysfs and /proc as well' },
    accesses: {
      type: 'boolean',
      description:
        'Tell each access to a register, each poll and each interrupt as well, which takes time',
    },
  },
  details: `What stands behind the options is run as it is: a command of vfio, as in vfio trace info 3b:00.0; or,
behind --, a program, as in vfio trace -- node driver.js. Each request is a line on standard error:

  VFIO 4711: VFIO_DEVICE_GET_INFO(fd 21) = {flags: RESET|PCI, num_regions: 9, num_irqs: 5} 12 µs

It has the process (and of a worker the thread), the request by the kernel's name, its arguments, what
the kernel answered or the errno, and the time; of a call that does not block JavaScript that is the
time until JavaScript hears of it. One that has not answered for a second is told before it ends.
Tokens are not shown.

A program is given NODE_DEBUG=vfio in its environment, with vfio-sysfs and vfio-access for the options,
so every process of Node that it starts tells its requests, and what uses no vfio tells none. The
exit status is that of the command, or 128 and the number of the signal that ended it. SIGTERM
and SIGHUP are passed on to the command; so is SIGINT, unless this is in the foreground of a
terminal, whose ^C reaches both by itself.`,
  run: traceCommand,
};

async function traceCommand({ positionals, flags, commands }: Invocation): Promise<number> {
  const [program, args] = programOf(positionals, commands);
  const child = spawn(program, args, { stdio: 'inherit', env: environment(flags) });
  const stop = passSignals(child);
  try {
    const [status, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
    if (signal !== null) return 128 + constants.signals[signal];
    return status ?? exitStatus.failed;
  } finally {
    stop();
  }
}

/** A program stands behind `--`; a command of vfio is one of this very program. */
function programOf(
  words: readonly string[],
  commands: readonly Command[],
): [program: string, args: string[]] {
  const [first = '', ...more] = words;
  if (first === '--') {
    const [program, ...args] = more;
    if (program === undefined) throw misuse('a program is missing behind --');
    return [program, args];
  }
  const isOurs = commands.some(({ name }) => name.split(' ')[0] === first);
  if (!isOurs) {
    throw misuse(
      `there is no command '${first}' of vfio; a program stands behind --, as in vfio trace -- ${words.join(' ')}`,
    );
  }
  return [process.execPath, [...process.execArgv, process.argv[1] ?? '', ...words]];
}

function environment({ sysfs, accesses }: Invocation['flags']): NodeJS.ProcessEnv {
  const before = process.env['NODE_DEBUG'];
  const sections = [
    ...(before === undefined || before === '' ? [] : [before]),
    'vfio',
    ...(sysfs === true ? ['vfio-sysfs'] : []),
    ...(accesses === true ? ['vfio-access'] : []),
  ];
  return { ...process.env, NODE_DEBUG: sections.join(',') };
}

/** What is to end this is meant for the command; a terminal sends SIGINT to both of us. */
function passSignals(child: ReturnType<typeof spawn>): () => void {
  const forward = (signal: NodeJS.Signals): void => {
    if (signal !== 'SIGINT' || !isInForeground()) child.kill(signal);
  };
  const passed = ['SIGTERM', 'SIGHUP', 'SIGINT'] as const;
  for (const signal of passed) process.on(signal, forward);
  return () => {
    for (const signal of passed) process.off(signal, forward);
  };
}

/**
 * Whether a terminal's ^C goes to this process, and with that to the command, which is in its group:
 * proc_pid_stat(5) has, behind the name, state, ppid, pgrp, session, tty_nr and tpgid, the group in
 * the terminal's foreground.
 */
function isInForeground(): boolean {
  let stat: string;
  try {
    stat = readFileSync('/proc/self/stat', 'latin1');
  } catch {
    // To hear it twice is better than not at all.
    return false;
  }
  const [, , group, , , foreground] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return group === foreground;
}
