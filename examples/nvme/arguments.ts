import { parseArgs } from 'node:util';

/** What was typed cannot be meant: the command ends with the status 2. */
export class UsageError extends Error {
  override readonly name: string = 'UsageError';
}

export const usage = `usage: main.js identify|read|write|bench <address> [option…]

  identify             what the controller is, and its namespaces
  read                 blocks, to standard output: --block 0 --count 1
  write                standard input, to blocks from --block 0 on: changes what is on the device
  bench                random reads: --bytes 512 --depth 32 --seconds 1 --workers 0

  --namespace N        of read, write and bench: 1 without this
  --interrupts         completions by MSI-X instead of polling; workers of bench poll in any case
`;

const tasks = ['identify', 'read', 'write', 'bench'] as const;

/** A number's bounds, whether it is whole, and what it is without the option. */
interface Numeric {
  least: number;
  most: number;
  normal: number;
  of: readonly (typeof tasks)[number][];
}

type Option = 'namespace' | 'block' | 'count' | 'bytes' | 'depth' | 'seconds' | 'workers';

/** Entries of a queue are counted by 16 bits, and one of them stays free. */
const mostEntries = 0x1_0000;

/** `seconds` alone need not be whole. */
const numerics: Record<Option, Numeric> = {
  namespace: { least: 1, most: 0xffff_fffe, normal: 1, of: ['read', 'write', 'bench'] },
  block: { least: 0, most: Number.MAX_SAFE_INTEGER, normal: 0, of: ['read', 'write'] },
  count: { least: 1, most: Number.MAX_SAFE_INTEGER, normal: 1, of: ['read'] },
  bytes: { least: 1, most: Number.MAX_SAFE_INTEGER, normal: 512, of: ['bench'] },
  depth: { least: 1, most: mostEntries - 1, normal: 32, of: ['bench'] },
  seconds: { least: 0.001, most: 1_000_000, normal: 1, of: ['bench'] },
  workers: { least: 0, most: 0xffff, normal: 0, of: ['bench'] },
};

/** What was typed. */
export interface Arguments extends Record<Option, number> {
  task: (typeof tasks)[number];
  address: string;
  interrupts: boolean;
}

/**
 * Takes the arguments apart.
 *
 * @returns undefined where help is wanted
 * @throws UsageError
 */
export function parseArguments(argv: readonly string[]): Arguments | undefined {
  const { values, positionals } = parse(argv);
  if (values['help'] === true) return undefined;
  const [name, address, ...more] = positionals;
  if (name === undefined) throw new UsageError(usage.slice(0, usage.indexOf('\n')));
  const task = tasks.find((each) => each === name);
  if (task === undefined) throw new UsageError(`there is no command '${name}': see --help`);
  if (address === undefined) throw new UsageError(`${task} needs the address of a device`);
  if (more.length > 0) throw new UsageError(`${task} takes one address: what is '${more[0]}'?`);
  const numbers = {} as Record<Option, number>;
  for (const option of Object.keys(numerics) as Option[]) {
    numbers[option] = numberOf(task, option, values[option] as string | undefined);
  }
  return { task, address, interrupts: values['interrupts'] === true, ...numbers };
}

function parse(argv: readonly string[]): {
  values: Record<string, unknown>;
  positionals: string[];
} {
  const strings = Object.keys(numerics).map((name) => [name, { type: 'string' as const }]);
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        ...(Object.fromEntries(strings) as Record<Option, { type: 'string' }>),
        interrupts: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    // Node's words are whole sentences, in several lines.
    const [what = ''] = (error as Error).message.split('\n');
    throw new UsageError(what);
  }
}

function numberOf(task: Arguments['task'], option: Option, text: string | undefined): number {
  const { least, most, normal, of } = numerics[option];
  if (text === undefined) return normal;
  if (!of.includes(task)) throw new UsageError(`${task} takes no --${option}`);
  const isWhole = option !== 'seconds';
  const pattern = isWhole ? /^\d+$/ : /^(\d+(\.\d*)?|\.\d+)$/;
  const value = Number(text);
  if (pattern.test(text) && value >= least && value <= most) return value;
  const kind = isWhole ? 'a whole number' : 'a number';
  const bounds = most === Number.MAX_SAFE_INTEGER ? `from ${least} on` : `from ${least} to ${most}`;
  throw new UsageError(`--${option} takes ${kind} ${bounds}, not '${text}'`);
}
