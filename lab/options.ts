import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

import { MAX_ROOT_NVME } from './devices.ts';
import { EXIT_USAGE, LabError } from './failure.ts';
import type { Lane } from './kernel/kernel.ts';

export interface Options {
  action: 'run' | 'prepare' | 'headers' | 'vmm' | 'list' | 'help';
  command: readonly string[];
  lane: Lane;
  /** Whose headers `--headers` prints. */
  headers: '6.12' | '7.3';
  results: string | undefined;
  env: Readonly<Record<string, string>>;
  deadlineSeconds: number;
  /** How long a processor of the VM may say nothing. */
  silenceSeconds: number;
  rootNvme: number;
  memoryMib: number;
  cpus: number;
  /** More kernel parameters. */
  append: string;
  accelerator: string;
}

const FLAGS = {
  kernel: { type: 'string' },
  stock: { type: 'boolean' },
  results: { type: 'string' },
  env: { type: 'string', multiple: true },
  deadline: { type: 'string' },
  silence: { type: 'string' },
  nvme: { type: 'string' },
  memory: { type: 'string' },
  cpus: { type: 'string' },
  'in-turns': { type: 'boolean' },
  append: { type: 'string' },
  prepare: { type: 'boolean' },
  headers: { type: 'string' },
  vmm: { type: 'boolean' },
  list: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

/** Reads the command line; `host` is the caller's environment, for `--env NAME` alone. */
export function parseOptions(args: readonly string[], host: NodeJS.ProcessEnv): Options {
  const [own, command] = split(args);
  const values = parseOwn(own);
  const options: Options = {
    action: 'run',
    command,
    lane: values.stock ? 'stock' : kernelSeries(values.kernel ?? '6.12', '--kernel'),
    headers: kernelSeries(values.headers ?? '6.12', '--headers'),
    results: values.results === undefined ? undefined : resolve(values.results),
    env: Object.fromEntries((values.env ?? []).map((one) => environment(one, host)).flat()),
    deadlineSeconds: whole(values.deadline ?? '900', '--deadline', 1, 86_400),
    silenceSeconds: whole(values.silence ?? '120', '--silence', 10, 3600),
    rootNvme: whole(values.nvme ?? '1', '--nvme', 0, MAX_ROOT_NVME),
    memoryMib: whole(values.memory ?? '3072', '--memory', 512, 65_536),
    cpus: whole(values.cpus ?? '2', '--cpus', 1, 64),
    append: values.append ?? '',
    accelerator: accelerator(host['VFIO_LAB_ACCEL'] ?? 'tcg', values['in-turns'] ?? false),
  };
  if (values.stock && values.kernel === '7.3') {
    throw usage("--stock is Debian's 6.12 and excludes --kernel 7.3");
  }
  if (values.help) return { ...options, action: 'help' };
  if (values.list) return { ...options, action: 'list' };
  if (values.vmm) return { ...options, action: 'vmm' };
  if (values.headers !== undefined) return { ...options, action: 'headers' };
  if (values.prepare) return { ...options, action: 'prepare' };
  if (command.length === 0) throw usage('no command given');
  return options;
}

/** The lab's own options end at the first word that is none, so the command's stay its own. */
function split(args: readonly string[]): [string[], string[]] {
  let index = 0;
  for (; index < args.length; index++) {
    const word = args[index] ?? '';
    if (word === '--') return [args.slice(0, index), args.slice(index + 1)];
    if (!word.startsWith('-') || word === '-') break;
    if (takesValue(word)) index++;
  }
  return [args.slice(0, index), args.slice(index)];
}

function takesValue(word: string): boolean {
  return Object.entries(FLAGS).some(
    ([name, flag]) => word === `--${name}` && flag.type === 'string',
  );
}

function parseOwn(args: string[]) {
  try {
    return parseArgs({ args, options: FLAGS, strict: true, allowPositionals: false }).values;
  } catch (error) {
    throw usage(error instanceof Error ? error.message : String(error));
  }
}

function kernelSeries(text: string, flag: string): '6.12' | '7.3' {
  if (text !== '6.12' && text !== '7.3') throw usage(`${flag} takes 6.12 or 7.3, not ${text}`);
  return text;
}

function environment(text: string, host: NodeJS.ProcessEnv): [string, string][] {
  const [name = ''] = text.split('=', 1);
  if (!/^[A-Za-z_]\w*$/.test(name)) throw usage(`--env takes NAME or NAME=VALUE, not ${text}`);
  if (text.includes('=')) return [[name, text.slice(name.length + 1)]];
  const value = host[name];
  return value === undefined ? [] : [[name, value]];
}

function whole(text: string, flag: string, least: number, most: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  if (value >= least && value <= most) return value;
  throw usage(`${flag} takes a whole number from ${least} to ${most}, not ${text}`);
}

/** KVM is never taken unasked: /dev/kvm may open where it does not work. */
function accelerator(text: string, isInTurns: boolean): string {
  if (text === 'tcg') return `tcg,thread=${isInTurns ? 'single' : 'multi'}`;
  if (text === 'kvm' && isInTurns)
    throw usage('--in-turns is for emulated processors, not for KVM');
  if (text === 'kvm') return 'kvm';
  throw usage(`VFIO_LAB_ACCEL takes tcg or kvm, not ${text}`);
}

function usage(message: string): LabError {
  return new LabError(`${message}\nTry: npm run lab -- --help`, EXIT_USAGE);
}
