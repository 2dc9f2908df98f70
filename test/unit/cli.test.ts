import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { Command } from '../../lib/cli/command.ts';
import { commands } from '../../lib/cli/commands.ts';
import { infoJson, type InfoReport, infoText } from '../../lib/cli/info.ts';
import { hintOf, jsonText } from '../../lib/cli/text.ts';
import { explained } from '../../lib/core/errors.ts';
import type { Cause } from '../../lib/core/reasons.ts';
import { VfioError } from '../../lib/index.ts';
import { vfio } from '../support/cli.ts';

const nvme: InfoReport = {
  device: {
    bus: 'pci',
    address: '0000:3b:00.0',
    sysfsPath: '/sys/bus/pci/devices/0000:3b:00.0',
    vendor: '0x1b36',
    device: '0x0010',
    subsystemVendor: '0x1af4',
    subsystemDevice: '0x1100',
    class: '0x010802',
    revision: '0x02',
    driver: 'vfio-pci',
    driverOverride: 'vfio-pci',
    iommuGroup: 11,
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
    [['frobnicate'], /there is no command 'frobnicate'/],
    [['info'], /expected <device>, got 0 arguments/],
    [['info', 'a', 'b'], /expected <device>, got 2 arguments/],
    [['list', 'extra'], /vfio list: takes no arguments, got 1$/m],
    [['build', 'extra', 'more'], /vfio build: takes no arguments, got 2$/m],
    [['info', '--jason', '3b:00.0'], /--jason/],
    [['info', '3b:00'], /must be a device address.*'3b:00'/],
    [['config', '3b:00'], /must be a device address.*'3b:00'/],
    [['read', '3b:00.0', 'bar0'], /expected <device> <region> <offset>, got 2 arguments/],
    [['read', '3b:00.0', 'bar0', '0x'], /offset must be a number such as 4096 or 0x1000, not '0x'/],
    [
      ['read', '3b:00.0', 'bar0', '0', '--width', '24'],
      /--width must be 8, 16, 32 or 64, not '24'/,
    ],
    [['write', '3b:00.0', 'bar0', '0', 'one'], /value must be a number .* not 'one'/],
    ...[
      ['info', '3b:00.0'],
      ['config', '3b:00.0'],
      ['read', '3b:00.0', 'bar0', '0'],
      ['write', '3b:00.0', 'bar0', '0', '0'],
      ['features', '3b:00.0'],
      ['reset', '3b:00.0'],
    ].map((argv): [string[], RegExp] => [
      [...argv, '--backend', 'vhost'],
      /--backend must be auto, cdev, group, compat or noiommu, not 'vhost'/,
    ]),
    [
      ['info', '3b:00.0', '--no-open', '--backend', 'group'],
      /--backend must be absent with --no-open/,
    ],
    [
      ['config', '3b:00.0', '--no-open', '--backend=cdev'],
      /--backend must be absent with --no-open/,
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

  it('says of every command that opens a device how it can be told to', async () => {
    const opensNothing = ['bind', 'unbind'];
    const opening = commands.filter(
      ({ name, positionals }) => positionals.length > 0 && !opensNothing.includes(name),
    );
    assert.equal(opening.length, 7);
    for (const { name } of opening) {
      assert.match((await vfio([...name.split(' '), '--help'])).out, /^ {2}--backend +\S/m, name);
    }
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
      assert.ok(hint.endsWith(`(docs/errors.md#${cause.reason})`));
    }
    const other = new VfioError({ code: 'EPERM', message: 'EPERM', hint: 'sudo it' });
    assert.equal(hintOf(other), 'sudo it');
    assert.equal(hintOf(new Error('no')), undefined);
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
    assert.match(hint ?? '', /^hint: vfio list --all /);
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
