import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import type { Command } from '../../lib/cli/command.ts';
import { commands } from '../../lib/cli/commands.ts';
import { errorHelp } from '../../lib/cli/error_help.ts';
import { infoJson, type InfoReport, infoText } from '../../lib/cli/info.ts';
import { jsonText } from '../../lib/cli/text.ts';
import { hintOf, inOptions, messageFor } from '../../lib/cli/words.ts';
import { explained } from '../../lib/core/errors.ts';
import type { Cause } from '../../lib/core/reasons.ts';
import { VfioError } from '../../lib/index.ts';
import { vfio } from '../support/cli.ts';
import { boundFacts } from '../support/sysfs.ts';
import { tree } from '../support/tree.ts';

const nvme: InfoReport = {
  device: {
    ...boundFacts('0000:3b:00.0', '/sys'),
    numaNode: null,
  },
  cdev: { name: 'vfio3', path: '/dev/vfio/devices/vfio3', major: 511, minor: 3 },
  info: {
    flags: ['reset', 'pci'],
    capabilities: [],
    regions: [
      {
        index: 0,
        name: 'bar0',
        size: 16384,
        offset: 0n,
        flags: ['read', 'write', 'mmap', 'caps'],
        capabilities: [
          { kind: 'msix-mappable' },
          { kind: 'sparse-mmap', areas: [{ offset: 0, size: 4096 }] },
          { kind: 'unknown', id: 99, version: 1, data: Uint8Array.of(0xde, 0xad) },
        ],
      },
      { index: 1, name: 'bar1', size: 0, offset: 1n << 40n, flags: [], capabilities: [] },
      {
        index: 7,
        name: 'config',
        size: 4096,
        offset: (1n << 63n) + 1n,
        flags: ['read', 'write'],
        capabilities: [],
      },
    ],
    irqs: [{ index: 2, name: 'msix', count: 65, flags: ['eventfd'] }],
  },
};

describe('vfio', () => {
  it('lists its commands', async () => {
    const { status, out } = await vfio(['--help']);
    assert.equal(status, 0);
    for (const { name, summary } of commands)
      assert.ok(out.includes(`${name.padEnd(12)}${summary}`));
  });

  it('says what a command does, and that opening resets', async () => {
    const { status, out } = await vfio(['info', '--help']);
    assert.equal(status, 0);
    assert.match(out, /^Usage: vfio info <device> \[options\]$/m);
    assert.match(out, /--json .*JSON/);
    assert.match(out, /Opening a device resets it/);
  });

  it('prints its version', async () => {
    assert.match((await vfio(['--version'])).out, /^\d+\.\d+\.\d+\n$/);
  });

  const misuse: [string[], RegExp][] = [
    [['frobnicate'], /there is no command 'frobnicate'$/m],
    [['lsit'], /^vfio: there is no command 'lsit'; did you mean 'list'\?$/m],
    [['LIST'], /there is no command 'LIST'; did you mean 'list'\?$/m],
    [['bensh'], /there is no command 'bensh'; did you mean 'bench'\?$/m],
    [['hepl', 'info'], /there is no command 'hepl'; did you mean 'help'\?$/m],
    [['bench', 'opne'], /there is no command 'bench opne'; did you mean 'bench open'\?$/m],
    [['help', 'inof'], /there is no command 'inof'; did you mean 'info'\?$/m],
    [['help', 'info', 'more'], /there is no command 'info more'/],
    [['--jason'], /there is no option '--jason' here$/m],
    [['--verison'], /there is no option '--verison' here; did you mean '--version'\?$/m],
    [['--json', 'list'], /there is no option '--json' here: options stand after the command$/m],
    [['--'], /there is no command '--'$/m],
    [['info'], /^vfio info: <device> is missing: vfio info <device>$/m],
    [['info', 'a', 'b'], /info: it takes <device>, and 2 were given/],
    [['doctor', 'a', 'b'], /it takes \[device\], and 2 were given/],
    [['doctor', '3b:00'], /must be a device address.*'3b:00'/],
    [['list', 'extra'], /vfio list: it takes no arguments, and 1 was given$/m],
    [['build', 'extra', 'more'], /vfio build: it takes no arguments, and 2 were given$/m],
    [
      ['info', '--jason', '3b:00.0'],
      /vfio info: there is no option '--jason'; did you mean '--json'/,
    ],
    [['info', '3b:00.0', '-j'], /vfio info: there is no option '-j'$/m],
    // An option of another command.
    [['list', '--backend', 'cdev'], /vfio list: there is no option '--backend'$/m],
    [['build', '--json'], /vfio build: there is no option '--json'$/m],
    // What stands after -- is an argument.
    [['info', '--', '--help'], /must be a device address.*'--help'/],
    [['list', '--', '--json'], /vfio list: it takes no arguments, and 1 was given$/m],
    [['info', '--backend'], /vfio info: --backend needs a value: --backend <backend>$/m],
    [['list', '--json=yes'], /vfio list: --json takes no value, and was given 'yes'$/m],
    [['info', '3b:00'], /must be a device address.*'3b:00'/],
    [
      ['watch', '--timeout', '-1'],
      /--timeout must be a number of milliseconds, such as 60000, not '-1'$/m,
    ],
    [
      ['bind', '3b:00.0', '--timeout', '-1'],
      /--timeout must be a number of milliseconds, such as 10000, not '-1'$/m,
    ],
    [['watch', '--timeout'], /^vfio watch: --timeout needs a value: --timeout <ms>$/m],
    [
      ['watch', '--timeout', '--json'],
      /--timeout needs a value, and '--json' follows it: --timeout <ms>$/m,
    ],
    [['groups', '--svg', ''], /--svg needs a value, and was given an empty one: --svg <file>$/m],
    [['groups', '--svg='], /--svg needs a value, and was given an empty one: --svg <file>$/m],
    [
      ['udev', '--group', 'a', '--install', '--dir', ''],
      /--dir needs a value, and was given an empty one: --dir <folder>$/m,
    ],
    [
      ['groups', '--json', '--dot'],
      /--json, --dot and --svg exclude each other: give one of them$/m,
    ],
    [['--help', 'inof'], /there is no command 'inof'; did you mean 'info'\?$/m],
    [['config', '3b:00'], /must be a device address.*'3b:00'/],
    [['read', '3b:00.0', 'bar0'], /<offset> is missing: vfio read <device> <region> <offset>$/m],
    [['read', '3b:00.0', 'bar0', '0x'], /offset must be a number such as 4096 or 0x1000, not '0x'/],
    [
      ['read', '3b:00.0', 'bar0', '0', '--width', '24'],
      /--width must be 8, 16, 32 or 64, not '24'/,
    ],
    [['write', '3b:00.0', 'bar0', '0', 'one'], /value must be a number .* not 'one'/],
    [
      ['info', '3b:00.0', '--no-open', '--backend', 'group'],
      /--backend says how to open the device, and --no-open not to/,
    ],
    [
      ['config', '3b:00.0', '--no-open', '--backend=cdev'],
      /--backend says how to open the device, and --no-open not to/,
    ],
  ];
  for (const [argv, message] of misuse) {
    it(`refuses: vfio ${argv.join(' ')}`, async () => {
      const { status, out, err } = await vfio(argv);
      assert.equal(status, 2);
      assert.equal(out, '');
      assert.match(err, message);
      assert.match(err, /^Try: vfio.*--help$/m);
    });
  }

  it('says what a command does where help is asked for in any way', async () => {
    for (const { name } of commands) {
      const words = name.split(' ');
      const { status, out } = await vfio([...words, '--help']);
      assert.equal(status, 0);
      assert.match(out, new RegExp(`^Usage: vfio ${name}\\b`));
      for (const argv of [
        ['help', ...words],
        [...words, '-h'],
        ['help', ...words, '--help'],
        ['--help', ...words],
        ['-h', ...words, '3b:00.0', '--frobnicate'],
      ]) {
        assert.deepEqual(await vfio(argv), { status: 0, out, err: '' }, argv.join(' '));
      }
    }
    assert.equal((await vfio(['help'])).out, (await vfio(['--help'])).out);
    assert.equal((await vfio(['--help', '--help'])).out, (await vfio(['--help'])).out);
  });

  it('says what help does, too', async () => {
    const { out } = await vfio(['help', 'help']);
    assert.match(out, /^Usage: vfio help \[command \| reason\]\n\nSay what a command does, /);
    for (const argv of [
      ['help', 'help'],
      ['help', '--help'],
      ['help', '-h'],
      ['--help', 'help'],
    ])
      assert.deepEqual(await vfio(argv), { status: 0, out, err: '' }, argv.join(' '));
  });

  it('explains nothing where the page of errors is absent, and says where it cannot be read', () => {
    const folder = tree({});
    assert.deepEqual(errorHelp(join(folder, 'errors.md')).reasons, []);
    assert.throws(() => errorHelp(folder), { code: 'EISDIR' });
  });

  it('says what the reason of an error means, and what a code does', async () => {
    const { reasons } = errorHelp();
    assert.ok(reasons.includes('held-by-cdev') && reasons.includes('driver-not-bound'));
    for (const reason of reasons) {
      const { status, out, err } = await vfio(['help', reason]);
      assert.equal(status, 0, reason);
      assert.equal(err, '');
      assert.ok(out.startsWith(`${reason}\n\n`), out);
      assert.ok(out.length > reason.length + 80, out);
      // Nothing of Markdown is left: no link, no fence, no row of a table.
      assert.doesNotMatch(out, /\]\(|^```|^\||\*\*|^#/m, reason);
    }
    const bound = await vfio(['help', 'not-bound']);
    assert.match(bound.out, /^ {2}modprobe vfio-pci$/m);
    assert.match(bound.out, /sudo npx vfio bind 0000:3b:00\.0 gives it to vfio-pci/);
    assert.deepEqual(await vfio(['help', 'NOT-BOUND']), bound);
    const errno = await vfio(['help', 'ebusy']);
    assert.equal(errno.status, 0);
    assert.match(
      errno.out,
      /^EBUSY\n\nAn errno .*\n\nvfio help held-by-cdev\nvfio help held-by-group\n/,
    );
    assert.equal((await vfio(['help', 'EXDEV'])).status, 2);
    // The beginning of an errno, or of a code, is none.
    for (const part of ['ENO', 'EB', 'ERR']) assert.equal((await vfio(['help', part])).status, 2);
    const code = await vfio(['help', 'ERR_VFIO_IN_USE']);
    assert.equal(code.status, 0);
    assert.match(code.out, /^ERR_VFIO_IN_USE\n\nthe device cannot be taken from its driver/);
    assert.match(code.out, /^vfio help needed-by-host says more\.$/m);
    const both = await vfio(['help', 'ERR_VFIO_WRITE_ONLY']);
    assert.match(both.out, /only to be written/);
  });

  it('names the reason that was meant', async () => {
    const held = await vfio(['help', 'held']);
    assert.equal(held.status, 2);
    assert.match(held.err, /no command 'held'; did you mean 'held-by-cdev'\?$/m);
    assert.match((await vfio(['help', 'ERR_VFIO_NOTHING'])).err, /no command 'ERR_VFIO_NOTHING'$/m);
    assert.equal((await vfio(['held-by-cdev'])).status, 2);
  });

  it('says to who is not root what root has to type', async () => {
    const failing = (error: VfioError): Command => ({
      ...{ name: 'try', summary: 'Try', positionals: ['what…'], options: {}, details: '' },
      run: () => Promise.reject(error),
    });
    const said = async (error: VfioError): Promise<string[]> => {
      const { status, err } = await vfio(['try', '3b:00.0', 'a b', "it's"], [failing(error)]);
      assert.equal(status, 1);
      return err.trimEnd().split('\n');
    };
    const typed = String.raw`sudo npx vfio try 3b:00.0 'a b' 'it'\''s'`;
    const hint = 'it takes root: sudo npx vfio …';
    const [, own] = await said(new VfioError({ code: 'EACCES', message: 'no', hint }));
    assert.equal(own, `hint: it takes root: ${typed}`);
    const { geteuid } = process;
    try {
      process.geteuid = () => 1000;
      const refused = await said(new VfioError({ code: 'EACCES', message: 'no' }));
      assert.deepEqual(refused.slice(1), [
        `hint: this user may not do that, and root may: ${typed}`,
      ]);
      assert.equal((await said(new VfioError({ code: 'ENOENT', message: 'no' }))).length, 1);
      process.geteuid = () => 0;
      assert.equal((await said(new VfioError({ code: 'EACCES', message: 'no' }))).length, 1);
    } finally {
      Object.assign(process, { geteuid });
    }
  });

  it('shows what stands for the value of every option that takes one', async () => {
    for (const { name, options } of commands) {
      const { out } = await vfio(['help', ...name.split(' ')]);
      for (const [option, { type }] of Object.entries(options)) {
        const shown = new RegExp(
          `^  --${option}${type === 'string' ? ' <[\\w/-]+>' : ''}  +\\S`,
          'm',
        );
        assert.match(out, shown, name);
      }
    }
  });

  it('lists the commands that have a first word in common', async () => {
    const { status, out } = await vfio(['bench', '--help']);
    assert.equal(status, 0);
    assert.match(out, /^Usage: vfio bench <command>.*\n\nCommands:\n {2}bench open {2}Time /);
    assert.deepEqual(await vfio(['bench']), { status: 2, out, err: '' });
    for (const help of ['help', '--help'])
      assert.deepEqual(await vfio([help, 'bench']), { status: 0, out, err: '' });
  });

  it('lets an argument be left out where the command can do without', async () => {
    const printing: Command = {
      ...{ name: 'x', summary: '', positionals: ['first', 'more…'], options: {}, details: '' },
      optional: true,
      run: ({ positionals, out }) => {
        out.print(positionals.join(' '));
        return Promise.resolve(0);
      },
    };
    for (const given of [['a'], ['a', 'b'], ['a', 'b', 'c']]) {
      assert.equal((await vfio(['x', ...given], [printing])).out, `${given.join(' ')}\n`);
    }
    const { status, err } = await vfio(['x'], [printing]);
    assert.equal(status, 2);
    assert.match(err, /vfio x: <first> is missing: vfio x <first> \[more…\]$/m);
  });

  it('has no terminal obey what others named', async () => {
    const evil = 'a\u001b[2J\u202e\u009b1m';
    const printing: Command = {
      ...{ name: 'x', summary: '', positionals: [], options: {}, details: '' },
      run: ({ out }) => {
        out.print(`\u001b[1mbold\u001b[22m ${evil}\nnext`);
        out.note(evil);
        out.print(jsonText({ evil }));
        return Promise.reject(new Error(evil));
      },
    };
    const { out, err } = await vfio(['x'], [printing]);
    const shown = String.raw`a\x1b[2J\u202e\x9b1m`;
    const [bold, next, ...json] = out.split('\n');
    assert.deepEqual([bold, next], [`\u001b[1mbold\u001b[22m ${shown}`, 'next']);
    assert.equal(err, `${shown}\nvfio x: ${shown}\n`);
    assert.doesNotMatch(json.join(''), /[\p{Cc}\p{Cf}]/u);
    assert.deepEqual(JSON.parse(json.join('\n')), { evil });
    const { err: refused } = await vfio([`${evil}\n`]);
    assert.match(refused, /no command 'a\\x1b\[2J\\u202e\\x9b1m\\x0a'/);
    const device = { ...nvme.device, driver: `${evil}\n` };
    assert.match(infoText({ ...nvme, device }, false), /driver +a\\x1b\[2J\\u202e\\x9b1m\\x0a$/m);
  });

  it('has hints of its own where the library’s are for programs', () => {
    const reasons: Cause[] = [
      { reason: 'no-iommu', certainty: 'certain', facts: { name: 'noiommu-vfio0' } },
      { reason: 'vf-token-required', certainty: 'certain', facts: { physicalFunction: 'a' } },
      {
        ...{ reason: 'group-owned', certainty: 'certain' },
        facts: { group: 7, members: [], holders: [], hidden: 0, searched: true },
      },
    ];
    for (const cause of reasons) {
      const error = explained(new VfioError({ code: 'EPERM', message: 'EPERM' }), cause);
      const hint = hintOf(error) ?? '';
      assert.match(error.hint ?? '', /[{(].*[)}]/);
      assert.doesNotMatch(hint, /\{|\w\(|Iommufd/);
      assert.ok(hint.endsWith(`(vfio help ${cause.reason})`));
    }
    const needs = [{ kind: 'disk', name: 'sda', text: 'sda is mounted' } as const];
    const needed = explained(new VfioError({ code: 'EPERM', message: 'EPERM' }), {
      ...{ reason: 'needed-by-host', certainty: 'certain' },
      facts: { devices: [{ bus: 'pci', address: 'a', needs }] },
    });
    assert.match(needed.hint ?? '', /\{ force: true \}/);
    assert.match(hintOf(needed) ?? '', /takes it by --force \(vfio help needed-by-host\)$/);
    assert.equal(
      inOptions("x: --backend cdev, in programs { backend: 'cdev' }; y"),
      'x: --backend cdev; y',
    );
    assert.equal(
      inOptions('more (--timeout, { timeout }); { force: true }, --force on the command line, has'),
      'more (--timeout); --force, has',
    );
    const other = new VfioError({ code: 'EPERM', message: 'EPERM', hint: 'sudo it' });
    assert.equal(hintOf(other), 'sudo it');
    assert.equal(hintOf(new AggregateError([other, new Error('no')])), 'sudo it');
    assert.equal(hintOf(new Error('no')), undefined);
  });

  it('names what was typed, where the library names its arguments', async () => {
    const device =
      "<device> must be a device address such as '0000:3b:00.0', an mdev's UUID, a path in sysfs, or a node such as /dev/vfio/devices/vfio0";
    for (const [argv, what] of [
      [['info', '3b:00'], `vfio info: ${device}, not '3b:00'`],
      [['bind', '3b:00'], `vfio bind: ${device}, not '3b:00'`],
      [['sriov', '3b:00'], `vfio sriov: ${device.replace('device', 'pf')}, not '3b:00'`],
      [
        ['info', '/etc/x'],
        `vfio info: ${device}; a path must lie below /sys or be a node in /dev, not '/etc/x'`,
      ],
      [['bind', '3b:00.0', '--driver', '-x'], /^vfio bind: --driver must be .*, not '-x'$/],
      [['bind', '3b:00.0', '--timeout', '999999999'], /./],
      [
        ['udev', '--group', 'a"b'],
        /^vfio udev: --group must be the name of a Unix group: .*, not 'a"b'$/,
      ],
      [
        ['cdi', '3b:00.0', '--kind', 'a'],
        /^vfio cdi: --kind must be a vendor's domain and a class, such as 'vfio.dev\/device', not 'a'$/,
      ],
    ] as const) {
      const { err } = await vfio([...argv]);
      const [line = ''] = err.split('\n');
      if (typeof what === 'string') assert.equal(line, what);
      else assert.match(line, what);
      assert.doesNotMatch(err, /[{}]|argument|Received|descriptor/, argv.join(' '));
    }
    const [command] = commands;
    assert.ok(command);
    const asked =
      "0000:3b:00.0 was asked back, and closed itself since nobody listened to its event 'request'";
    assert.equal(messageFor(new Error(asked), command), '0000:3b:00.0 was asked back');
  });

  it('prints the overview where nothing was asked, and fails', async () => {
    const { status, out } = await vfio([]);
    assert.equal(status, 2);
    assert.match(out, /^Usage: vfio/);
  });

  it('says in one line that a device is not there, and in another what helps', async () => {
    const { status, out, err } = await vfio(['info', 'ffff:ff:1f.7']);
    assert.deepEqual([status, out], [1, '']);
    const [what, hint, ...more] = err.split('\n');
    assert.equal(what, 'vfio info: there is no device ffff:ff:1f.7 on the bus pci');
    assert.match(
      hint ?? '',
      /^hint: ls \/sys\/bus\/pci\/devices shows what is on the bus; vfio list --all /,
    );
    assert.deepEqual(more, ['']);
  });
});

describe('vfio info', () => {
  it('prints for a person', () => {
    assert.equal(
      infoText(nvme, false),
      `0000:3b:00.0  [1b36:0010]
  bus          pci
  class        0x010802
  driver       vfio-pci
  IOMMU group  11
  cdev         /dev/vfio/devices/vfio3 (511:3)
  flags        reset pci

Regions
  #  name      size  offset              flags
  0  bar0    16 KiB  0x0                 read write mmap caps; MSI-X table mappable; mappable: 0x0+0x1000; capability 99 version 1
  7  config   4 KiB  0x8000000000000001  read write

Interrupts
  #  name  count  flags
  2  msix     65  eventfd`,
    );
  });

  it('prints bold headings on a terminal', () => {
    assert.ok(infoText(nvme, true).includes('\u001b[1mRegions\u001b[22m'));
  });

  it('prints JSON without losing a bit', () => {
    const { regions, ...rest } = JSON.parse(infoJson(nvme)) as { regions: unknown[] };
    assert.deepEqual(rest, {
      device: nvme.device,
      cdev: nvme.cdev,
      flags: ['reset', 'pci'],
      capabilities: [],
      irqs: nvme.info?.irqs,
    });
    assert.deepEqual(regions, [
      {
        index: 0,
        name: 'bar0',
        size: '0x4000',
        offset: '0x0',
        flags: ['read', 'write', 'mmap', 'caps'],
        capabilities: [
          { kind: 'msix-mappable' },
          { kind: 'sparse-mmap', areas: [{ offset: 0, size: 4096 }] },
          { kind: 'unknown', id: 99, version: 1, data: 'dead' },
        ],
      },
      { index: 1, name: 'bar1', size: '0x0', offset: '0x10000000000', flags: [], capabilities: [] },
      {
        index: 7,
        name: 'config',
        size: '0x1000',
        offset: '0x8000000000000001',
        flags: ['read', 'write'],
        capabilities: [],
      },
    ]);
  });

  it('prints the group and why, where the device was opened by that', () => {
    const why = 'the kernel makes no cdev for it';
    const group = { name: '12', path: '/dev/vfio/12', major: 244, minor: 2, why };
    const report = { ...nvme, cdev: null, group };
    assert.match(infoText(report, false), /group +\/dev\/vfio\/12 \(244:2\): the kernel makes/);
    const printed = JSON.parse(infoJson(report)) as Record<string, unknown>;
    assert.deepEqual([printed['cdev'], printed['group']], [null, group]);
  });

  it('prints how the device was opened', () => {
    const backend = { kind: 'noiommu', isolated: false, why: 'asked for' } as const;
    assert.match(
      infoText({ ...nvme, backend }, false),
      /backend +noiommu: its DMA reaches all memory/,
    );
    const printed = JSON.parse(infoJson({ ...nvme, backend })) as Record<string, unknown>;
    assert.deepEqual(printed['backend'], backend);
  });

  it('prints what sysfs says where the device was not opened', () => {
    const report = { ...nvme, cdev: null, info: null };
    assert.deepEqual(JSON.parse(infoJson(report)), { device: nvme.device, cdev: null });
    assert.ok(!infoText(report, false).includes('Regions'));
  });
});
