import assert from 'node:assert/strict';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, it } from 'mocha';
import { commands } from '../../lib/cli/commands.ts';
import { run } from '../../lib/cli/run.ts';
import { EACCES } from '../../lib/core/errno.ts';
import { readUsage, readUsageSync, type Usage } from '../../lib/index.ts';
import { FakeHost } from '../../lib/testing/index.ts';
import { vfio } from '../support/cli.ts';
import { withBinding } from '../support/fake_binding.ts';
import { binding } from '../../lib/core/binding.ts';
import { fakeAddress, fakeVfio } from '../support/fake_vfio.ts';
import { tree } from '../support/tree.ts';

const interrupts = `            CPU0       CPU1
   1:          7          9   IO-APIC    1-edge      i8042
  45:       1000        234   PCI-MSIX-${fakeAddress}    0-edge      vfio-msix[0](${fakeAddress})
  46:          0          5   PCI-MSIX-${fakeAddress}    1-edge      vfio-msix[1](${fakeAddress})
  11:          3          4   IO-APIC   11-fasteoi   uhci_hcd:usb1, vfio-intx(0000:3c:00.0)
 NMI:          0          0   Non-maskable interrupts
`;

/** A /proc in which process 4711 has the fake device's node open, and its 1 is there. */
function fakeProc(files: Record<string, string> = { interrupts }, name = 'qemu'): string {
  // Most kernels have a line of 4,096 bytes and more of a process in many groups.
  const groups = Array.from({ length: 900 }, (_, at) => 100_000 + at).join(' ');
  const status = `Name:\t${name}\nGroups:\t${groups} \nVmLck:\t       8 kB\nVmPin:\t    2048 kB\n`;
  const root = tree({
    ...files,
    '1/comm': 'init\n',
    '1/fd/keep': '',
    '4711/comm': 'qemu\u001b[31m\n',
    '4711/status': status,
  });
  for (const [fd, target] of [
    ['4711/fd/3', '/dev/full'],
    ['4711/fd/4', '/dev/zero'],
  ] as const) {
    mkdirSync(dirname(join(root, fd)), { recursive: true });
    symlinkSync(target, join(root, fd));
  }
  return root;
}

function rooted(procRoot: string): { sysfsRoot: string; devRoot: string; procRoot: string } {
  const roots = fakeVfio('1:7');
  // Read last: a device that has none is going away.
  const device = join(roots.sysfsRoot, 'bus/pci/devices', fakeAddress);
  for (const file of ['uevent', 'vfio-dev/vfio7/uevent']) writeFileSync(join(device, file), '');
  return { ...roots, procRoot };
}

describe('readUsage', () => {
  it('finds who has a device open, what that has pinned, and its interrupts', async () => {
    const roots = rooted(fakeProc());
    const usage = await readUsage(roots);
    const { time, monotonicTime, ...rest } = usage;
    assert.ok(Math.abs(Date.now() - time) < 60_000);
    assert.deepEqual(rest, {
      devices: [
        {
          ...{ bus: 'pci', address: fakeAddress, driver: null, iommuGroup: null, cdev: 'vfio7' },
          pids: [4711],
          interrupts: [
            { name: 'vfio-msix[0]', irq: '45', count: 1234 },
            { name: 'vfio-msix[1]', irq: '46', count: 5 },
          ],
        },
      ],
      processes: [{ pid: 4711, command: 'qemu\u001b[31m', pinned: 2 << 20, locked: 8192 }],
      hidden: 0,
      searched: true,
    });
    const { time: again, monotonicTime: later, ...same } = readUsageSync(roots);
    assert.ok(again >= time && later > monotonicTime);
    assert.deepEqual(same, rest);
  });

  it('tells what it could not look at, and not that nothing is there', async () => {
    const roots = rooted(fakeProc({}));
    const { findEntries, findEntriesSync } = binding();
    const hide = <T>(folders: string[], answer: T): T => {
      const at = folders.findIndex((folder) => folder.includes('4711'));
      if (Array.isArray(answer)) answer[at] = EACCES;
      return answer;
    };
    type Args = Parameters<typeof findEntries>;
    const fakes = {
      findEntries: (...args: Args) => findEntries(...args)?.then((answer) => hide(args[0], answer)),
      findEntriesSync: (...args: Args) => hide(args[0], findEntriesSync(...args)),
    };
    const check = ({ devices: [device], processes, hidden, searched }: Usage): void => {
      assert.deepEqual([device?.pids, device?.interrupts], [[], null]);
      assert.deepEqual([processes, hidden, searched], [[], 1, true]);
    };
    await withBinding(fakes, async () => {
      check(await readUsage(roots));
      check(readUsageSync(roots));
    });
    const empty = await readUsage(rooted(tree({ interrupts })));
    assert.equal(empty.searched, false);
  });

  it('passes over a process that ends meanwhile', async () => {
    const roots = rooted(fakeProc());
    const { readSmallFile } = binding();
    const ESRCH = -3;
    const fakes = {
      readSmallFile: (path: string) => (path.includes('4711') ? ESRCH : readSmallFile(path)),
    };
    rmSync(join(roots.procRoot, '4711/status'));
    await withBinding(fakes, async () => {
      const { processes } = await readUsage(roots);
      assert.deepEqual(processes, [{ pid: 4711, command: '', pinned: null, locked: null }]);
    });
  });

  it('takes no word of a process itself for what it has pinned', async () => {
    for (const end of ['\r', '\u2028', '\u2029', '\\n']) {
      const name = `${end}VmPin: 9999 kB${end}VmLck: 9999 kB${end}`;
      const { processes } = await readUsage(rooted(fakeProc({ interrupts }, name)));
      const [{ pinned, locked } = {}] = processes;
      assert.deepEqual([pinned, locked], [2 << 20, 8192], JSON.stringify(end));
    }
  });

  it('has the time of reading the interrupts, which comes after the search', async () => {
    const roots = rooted(fakeProc());
    const { findEntries, findEntriesSync } = binding();
    let searched = Infinity;
    const ended = <T>(answer: T): T => {
      searched = performance.now();
      return answer;
    };
    type Args = Parameters<typeof findEntries>;
    const fakes = {
      findEntries: (...args: Args) => findEntries(...args)?.then(ended),
      findEntriesSync: (...args: Args) => ended(findEntriesSync(...args)),
    };
    await withBinding(fakes, async () => {
      assert.ok((await readUsage(roots)).monotonicTime >= searched);
      assert.ok(readUsageSync(roots).monotonicTime >= searched);
    });
  });

  it('refuses what is no root', async () => {
    await assert.rejects(readUsage({ procRoot: 'proc' }), { code: 'ERR_INVALID_ARG_VALUE' });
  });
});

describe('vfio top', () => {
  it('prints a line for each look, as text and as JSON, and ends after so many', async () => {
    const { status, out } = await vfio(['top', '--count', '2', '--interval', '50', '--json']);
    assert.equal(status, 0);
    const looks = out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Usage);
    assert.equal(looks.length, 2);
    assert.deepEqual(Object.keys(looks[0] ?? {}), [
      'time',
      'devices',
      'processes',
      'hidden',
      'searched',
    ]);
    const text = await vfio(['top', '--count', '1']);
    assert.match(
      text.out,
      /^vfio top {2}\d\d:\d\d:\d\d {2}\d+ devices? with a VFIO driver, \d+ seen open/,
    );
  });

  it('ends when its reader is gone before it has looked', async () => {
    const lines: string[] = [];
    const out = {
      print: (text: string) => void lines.push(text),
      note: (text: string) => assert.fail(text),
      colour: false,
      whenLost: (told: () => void) => {
        told();
        return () => undefined;
      },
    };
    // Once it looks, its reader goes: here while it looks for the first time.
    const later = {
      ...out,
      whenLost: (told: () => void) => {
        setImmediate(told);
        return () => undefined;
      },
    };
    const args = ['top', '--json', '--interval', '130000'];
    assert.equal(await run(args, commands, out), 0);
    assert.deepEqual(lines, []);
    assert.equal(await run(args, commands, later), 0);
    assert.equal(lines.length, 1);
  });

  it('counts interrupts a second by a clock that nobody sets', async () => {
    const host = FakeHost.install();
    const { now } = Date;
    let steps = 0;
    Date.now = () => now() - 3_600_000 * steps++;
    try {
      host.addDevice({});
      const { out } = await vfio(['top', '--count', '2', '--interval', '50', '--json']);
      const [first, second] = out
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Usage & { devices: { interruptsPerSecond: unknown }[] });
      assert.ok(first && second && second.time < first.time);
      assert.deepEqual(
        [first, second].map(({ devices: [device] }) => device?.interruptsPerSecond),
        [null, 0],
      );
    } finally {
      Date.now = now;
      host.dispose();
    }
  });

  it('refuses times and numbers that make no sense', async () => {
    for (const option of ['--interval', '--count']) {
      for (const value of ['0', '-1', 'x', '99999999999']) {
        const { status, err } = await vfio(['top', `${option}=${value}`]);
        assert.equal(status, 2, `${option} ${value}`);
        assert.match(err, new RegExp(`^vfio top: ${option} must be a number from`));
      }
    }
  });
});
