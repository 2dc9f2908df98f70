import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { Command } from '../../lib/cli/command.ts';
import { commands } from '../../lib/cli/commands.ts';
import { errorHelp } from '../../lib/cli/error_help.ts';
import { vfio } from '../support/cli.ts';
import { askBash, type Asker, askFish, askZsh, hasShell } from '../support/completion.ts';
import { skip } from '../support/skip.ts';
import { boundToVfio, pciDevice, sysfsFiles } from '../support/sysfs.ts';
import { tree } from '../support/tree.ts';

/** A line, and what is offered at its end; with `null` anything but a word that is an argument. */
type Case = [line: string, offered: readonly string[] | null];

const mdev = '6d747479-0000-4000-8000-000000000001';

/** By the kinds of devices that commands take. */
const devices: Record<NonNullable<Command['devices']>, string[]> = {
  bound: ['0000:3b:00.0', '0001:01:00.0', mdev],
  all: ['0000:3b:00.0', '0001:01:00.0', '0000:00:1f.2', '0000:3c:00.0'],
  'physical-functions': ['0000:3c:00.0'],
};

function sysfs(): string {
  const files = sysfsFiles({
    pci: {
      '0000:3b:00.0': pciDevice(1, boundToVfio('vfio0')),
      '0001:01:00.0': pciDevice(2, boundToVfio('vfio1')),
      '0000:00:1f.2': pciDevice(3),
      '0000:3c:00.0': pciDevice(4, { sriov_totalvfs: '4\n' }),
    },
    mdev: { [mdev]: boundToVfio('vfio2') },
  });
  // The links of groups lead to folders there.
  for (const group of [1, 2, 3, 4]) files[`bus/kernel/iommu_groups/${group}/name`] = '';
  return tree(files);
}

/** What each kind of argument is completed to: a new kind has its place here. */
const arguments_: Record<string, readonly string[] | null> = {
  region: ['bar0', 'bar1', 'bar2', 'bar3', 'bar4', 'bar5', 'config', 'rom', 'vga'],
  shell: ['bash', 'fish', 'zsh'],
  offset: null,
  value: null,
  command: null,
};

function offeredFor(command: Command, at: number): readonly string[] | null {
  const { positionals, devices: kind = 'bound' } = command;
  const part = positionals[Math.min(at, positionals.length - 1)] ?? '';
  const isPast = at >= positionals.length && !part.endsWith('…');
  const name = part.replace(/[^a-z]/g, '');
  if (isPast) return null;
  if (name === 'device' || name === 'pf') return devices[kind];
  const known = arguments_[name];
  assert.ok(known !== undefined, `say in this test what <${name}> is completed to`);
  return known;
}

const words = (name: string): string[] => name.split(' ');

/** The words that may follow others in commands' names. */
function namesAfter(before: readonly string[]): string[] {
  const following = commands.flatMap(({ name }) => {
    const all = words(name);
    return before.every((word, at) => all[at] === word) ? [all[before.length] ?? ''] : [];
  });
  return [...new Set(following)].filter((word) => word !== '');
}

/** Every position of every command in the table. */
function cases(): Case[] {
  const families = commands.map(({ name }) => words(name)).filter(({ length }) => length > 1);
  return [
    ['vfio ', [...namesAfter([]), 'help']],
    ['vfio help ', [...namesAfter([]), ...errorHelp().reasons]],
    ['vfio help held-by-cdev ', []],
    ...families.flatMap(([first = '']): Case[] => [
      [`vfio ${first} `, namesAfter([first])],
      [`vfio help ${first} `, namesAfter([first])],
    ]),
    ...commands.flatMap(casesOf),
  ];
}

function casesOf(command: Command): Case[] {
  const { name, options, positionals } = command;
  const line = `vfio ${name} `;
  const all = Object.entries(options);
  const names = all.map(([option]) => `--${option}`);
  const valued = all.filter(([, { type }]) => type === 'string').map(([option]) => `--${option}`);
  const places = Array.from({ length: positionals.length + 1 }, (_, at) => at);
  const before = (at: number): string => 'x '.repeat(at);
  return [
    [`${line}--`, [...names, '--help']],
    ...all.flatMap(([option, { type, values }]): Case[] => {
      if (type !== 'string') return [];
      if (values === 'unix-group') return [[`${line}--${option} roo`, ['root']]];
      if (values === 'file') return [[`${line}--${option} /proc/vmsta`, ['/proc/vmstat']]];
      return [[`${line}--${option} `, values ?? null]];
    }),
    ...places.map((at): Case => [`${line}${before(at)}`, offeredFor(command, at)]),
    ...places.map((at): Case => [`${line}-- ${before(at)}`, offeredFor(command, at)]),
    ...valued.map((option): Case => [`${line}${option} 1 `, offeredFor(command, 0)]),
    ...valued.map((option): Case => [`${line}${option}=1 `, offeredFor(command, 0)]),
    ...names
      .filter((option) => !valued.includes(option))
      .map((option): Case => [`${line}${option} `, offeredFor(command, 0)]),
  ];
}

const base = (path: string): string => path.replace(/^\/proc\//, '');

function compare(found: readonly string[], [line, offered]: Case): void {
  if (offered === null) {
    // zsh then offers what may stand there besides.
    assert.deepEqual(
      found.filter((word) => !word.startsWith('--')),
      [],
      line,
    );
    return;
  }
  // bash is asked for options and version at the begin as well; zsh offers a file's last part.
  const isBegin = line === 'vfio ';
  const shown = found.filter((word) => !isBegin || !word.startsWith('--')).map(base);
  assert.deepEqual(shown.sort(), offered.map(base).sort(), line);
}

const askers: Record<string, Asker> = { bash: askBash, zsh: askZsh, fish: askFish };

for (const [shell, ask] of Object.entries(askers)) {
  describe(`the completion for ${shell}`, () => {
    before(function () {
      if (!hasShell(shell)) skip(this, shell);
    });

    it('offers at every position of every command what may stand there', async () => {
      const all = cases();
      const found = await ask(
        all.map(([line]) => line),
        sysfs(),
      );
      for (const [at, each] of all.entries()) compare(found[at] ?? [], each);
    });

    it('offers nothing where there is no device, and for a command that is none', async () => {
      const lines = ['vfio info ', 'vfio frobnicate ', 'vfio bench frobnicate '];
      assert.deepEqual(await ask(lines, tree({ 'bus/pci/devices/x/uevent': '' })), [[], [], []]);
    });
  });
}

describe('the completion for bash', () => {
  before(function () {
    if (!hasShell('bash')) skip(this, 'bash');
  });

  const cases: Case[] = [
    ['vfio i', ['info']],
    ['vfio help held-by-', ['held-by-cdev', 'held-by-group']],
    ['vfio --', ['--help', '--version']],
    ['vfio info --no', ['--no-open']],
    ['vfio info --json --', ['--no-open', '--backend', '--help']],
    ['vfio info --backend=g', ['group']],
    ['vfio info --backend g', ['group']],
    // Where bash breaks a word at its colons, it replaces what stands behind the last one.
    ['vfio info 0000:', ['3b:00.0']],
    ['vfio info 0000:3b:', ['00.0']],
    ['vfio info 3b:', ['00.0']],
    ['vfio info 6d', [mdev]],
    ['vfio info /proc/vmsta', ['/proc/vmstat']],
    ['vfio  info   x ', []],
    ['vfio bench open 0000:3b:00.0 3', ['3b:00.0']],
  ];

  it('continues what is typed', async () => {
    const found = await askBash(
      cases.map(([line]) => line),
      sysfs(),
    );
    for (const [at, [line, offered]] of cases.entries()) {
      assert.deepEqual(found[at]?.sort(), [...(offered ?? [])].sort(), line);
    }
  });
});

describe('vfio completion', () => {
  it('is of three shells', async () => {
    for (const shell of ['bash', 'zsh', 'fish']) {
      const { status, out, err } = await vfio(['completion', shell]);
      assert.deepEqual([status, err], [0, '']);
      assert.match(out, new RegExp(`^# Completion of vfio for ${shell}`, 'm'));
    }
    const { status, err } = await vfio(['completion', 'csh']);
    assert.equal(status, 2);
    assert.match(err, /the shell must be bash, zsh or fish, not 'csh'/);
  });
});
