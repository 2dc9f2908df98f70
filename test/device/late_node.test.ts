import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, it } from 'mocha';
import { findCdev, type CdevLocation } from '../../lib/index.ts';
import { describeDevice, type TestDevice } from '../support/devices.ts';
import { blocksOf } from '../support/readme.ts';
import { skip } from '../support/skip.ts';
import { root } from '../support/root.ts';

/** Any user but root, in no group that a node could have. */
const nobody = 65534;

const udevd = ['/lib/systemd/systemd-udevd', '/usr/lib/systemd/systemd-udevd'].find((file) =>
  existsSync(file),
);
const isRoot = process.getuid?.() === 0;

describeDevice('a node that gets its rights late', (spec) => {
  let cdev: CdevLocation;

  beforeEach(function () {
    if (!isRoot) skip(this, 'root');
    cdev = findCdev(spec);
    chmodSync(cdev.path, 0o600);
  });
  afterEach(() => {
    if (isRoot) putNode(cdev, 0o600);
  });

  it('is refused to an ordinary user when the time is up', async () => {
    assert.equal(await openAsUser(spec, { timeout: 300 }), 'EACCES');
  });

  it('is opened by an ordinary user when its mode is set', async () => {
    const answer = await openAsUser(spec, {}, () => {
      chmodSync(cdev.path, 0o666);
    });
    assert.equal(answer, `opened ${cdev.path}`);
  });

  it('is opened when it is made anew, and then gets its mode', async () => {
    rmSync(cdev.path);
    const answer = await openAsUser(
      spec,
      {},
      () => {
        putNode(cdev, 0o600);
      },
      () => {
        chmodSync(cdev.path, 0o666);
      },
    );
    assert.equal(answer, `opened ${cdev.path}`);
  });

  it('is bound by an ordinary user who may open /dev/iommu', async () => {
    const { mode } = statSync('/dev/iommu');
    chmodSync('/dev/iommu', 0o666);
    try {
      const answer = await openAsUser(spec, { bind: true }, () => {
        chmodSync(cdev.path, 0o666);
      });
      assert.match(answer, /^bound \/dev\/vfio\/devices\/vfio\d+ [1-9]/);
    } finally {
      chmodSync('/dev/iommu', mode & 0o777);
    }
  });

  const title = udevd ? '' : ' (udev: apt-get install -y udev)';
  (udevd ? it : it.skip)(`is opened when udevd has applied its rule${title}`, async () => {
    const [rules = ''] = blocksOf('docs/install.md', 'udev');
    const rule = rules.replaceAll('"vfio"', `"${nobody}"`);
    assert.ok(rule.includes(`GROUP="${nobody}"`));
    mkdirSync('/run/udev/rules.d', { recursive: true });
    writeFileSync('/run/udev/rules.d/70-vfio.rules', rule);
    const daemon = spawn(udevd ?? '', [], { stdio: 'ignore' });
    try {
      const answer = await openAsUser(spec, {}, async () => {
        // The lab's root is a chroot, in which udevadm would do nothing.
        const env = { ...process.env, SYSTEMD_IGNORE_CHROOT: '1' };
        const ping = ['control', '--ping', '--timeout=60'];
        // It fails at once where udevd does not listen yet.
        while (spawnSync('udevadm', ping, { env }).status !== 0) await delay(50);
        const uevent = `/sys/dev/char/${cdev.major}:${cdev.minor}/uevent`;
        writeFileSync(uevent, 'add');
      });
      assert.match(answer, /^opened \/dev\/(vfio\/devices|char)\//);
      assert.equal(statSync(cdev.path).gid, nobody);
    } finally {
      daemon.kill();
      rmSync('/run/udev/rules.d/70-vfio.rules');
    }
  });
});

function putNode({ path, major, minor }: CdevLocation, mode: number): void {
  rmSync(path, { force: true });
  execFileSync('mknod', ['-m', mode.toString(8), path, 'c', String(major), String(minor)]);
}

/**
 * What an ordinary user gets who opens the device; the first of `changes` is made once the open
 * waits, each other one once it waits again.
 */
async function openAsUser(
  { bus, address }: TestDevice,
  { timeout = 30_000, bind = false }: { timeout?: number; bind?: boolean },
  ...changes: (() => void | Promise<void>)[]
): Promise<string> {
  const file = new URL('build-test/programs/late_opener.js', root).pathname;
  const args = [file, bus, address, String(timeout), bind ? 'bind' : ''];
  const child = spawn(process.execPath, args, {
    uid: nobody,
    gid: nobody,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const answers: string[] = [];
  for await (const line of createInterface(child.stdout)) {
    if (line === 'waiting') await changes.shift()?.();
    else answers.push(line);
  }
  assert.deepEqual([answers.length, changes.length], [1, 0], answers.join());
  return answers[0] ?? '';
}
