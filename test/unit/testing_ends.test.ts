import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { binding } from '../../lib/core/binding.ts';
import { VfioDevice } from '../../lib/index.ts';
import { FakeHost } from '../../lib/testing/index.ts';
import { assertNoMore, fakeFds, moreOf } from '../support/proc.ts';
import { root } from '../support/root.ts';
import { tree } from '../support/tree.ts';

/** What an ArrayBuffer held is closed when the loop turns. */
async function waitFor(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise(setImmediate);
}

/** Runs a program over the library; answers what it wrote. */
function ran(
  text: string,
  args: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
): { stdout: string; stderr: string } {
  const folder = mkdtempSync(join(root.pathname, 'build-types/testing-'));
  try {
    const file = join(folder, 'program.test.ts');
    writeFileSync(file, text);
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ['--import=tsx', ...args, file],
      {
        cwd: root.pathname,
        encoding: 'utf8',
        env: { ...process.env, NODE_TEST_CONTEXT: undefined, ...env },
      },
    );
    assert.equal(status, 0, stdout + stderr);
    return { stdout, stderr };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const imports = `
  import { VfioDevice } from '${new URL('lib/index.ts', root).href}';
  import { FakeHost } from '${new URL('lib/testing/index.ts', root).href}';
`;

describe('what a fake host leaves, and waits for', () => {
  it('keeps the process while a removal is waited for', () => {
    const text = `${imports}
      import { test } from 'node:test';
      for (const way of ['requestRemoval', 'unplug'] as const) {
        test(way, async () => {
          using host = FakeHost.install();
          const fake = host.addDevice();
          const device = await VfioDevice.open(fake.address);
          device.on('request', () => void device.close());
          await fake[way]();
          if (host.devices.length > 0) throw new Error('it is there still');
        });
      }`;
    assert.match(ran(text, ['--test']).stdout, /pass 2/);
  });

  it('waits for removals no longer than the host is there', async () => {
    const host = FakeHost.install();
    const fake = host.addDevice();
    const device = await VfioDevice.open(fake.address);
    const gone = fake.requestRemoval();
    host.dispose();
    await gone;
    await device.close();
  });

  it('removes its folder at the exit of a process that does not dispose of it', () => {
    const folder = tree({});
    const text = `${imports}
      FakeHost.install().addDevice();
      setTimeout(() => process.exit(0), 1);`;
    ran(text, [], { TMPDIR: folder });
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.startsWith('vfio-testing-')),
      [],
    );
    const before = process.listenerCount('exit');
    FakeHost.install().dispose();
    assert.equal(process.listenerCount('exit'), before);
  });

  it('does not make its folder again for a close that ends after it', async () => {
    const host = FakeHost.install();
    const fake = host.addDevice({ bars: { bar0: { size: 4096 } } });
    const device = await VfioDevice.open(fake.address);
    // It is unmapped first, on a thread.
    device.region('bar0').map();
    const closed = device.close();
    host.dispose();
    await closed;
    assert.ok(!existsSync(host.sysfsRoot));
  });

  it('leaves a device that is open as one that was unplugged, until it is closed', async () => {
    const addon = binding();
    const host = FakeHost.install();
    const fake = host.addDevice({ msix: 2, bars: { bar0: { size: 4096 } } });
    const device = await VfioDevice.open(fake.address);
    const bar = device.region('bar0').map();
    bar.write32(0, 7);
    host.dispose();
    assert.throws(() => bar.read32(0), { code: 'EIO' });
    assert.throws(() => device.region('bar0').read32(0), { code: 'EIO' });
    assert.equal(device.region('config').read32(0), 0xffff_ffff);
    assert.ok(device.removalRequested);
    assert.equal(fake.interrupt('msix'), false);
    await assert.rejects(device.reset(), { code: 'ENOTTY' });
    const second = FakeHost.install();
    const other = await VfioDevice.open(second.addDevice().address);
    await device.close();
    assert.deepEqual(host.openDevices, []);
    assert.equal(other.region('config').read16(0), 0x1234);
    await other.close();
    second.dispose();
    assert.equal(binding(), addon);
  });

  it('puts the addon back when the last thing is closed that was left open', async () => {
    const addon = binding();
    const host = FakeHost.install();
    const device = await VfioDevice.open(
      host.addDevice({ bars: { bar0: { size: 4096 } } }).address,
    );
    const bar = device.region('bar0').map();
    host.dispose();
    assert.notEqual(binding(), addon);
    await device.close();
    assert.equal(binding(), addon);
    assert.throws(() => bar.read32(0), { code: 'ERR_VFIO_CLOSED' });
  });

  it('closes a device whose model throws when it is told', async () => {
    using host = FakeHost.install();
    let fails = true;
    const fake = host.addDevice({
      onReset: (kind) => {
        if (kind === 'close' && fails) throw new Error('a mistake in the model');
      },
    });
    await (async () => {
      fails = false;
      await (await VfioDevice.open(fake.address)).close();
      fails = true;
    })();
    const before = fakeFds();
    const device = await VfioDevice.open(fake.address);
    await assert.rejects(device.close(), /a mistake in the model/);
    const second = await VfioDevice.open(fake.address);
    assert.throws(() => {
      second.closeSync();
    }, /a mistake in the model/);
    assertNoMore(fakeFds(), before);
    assert.deepEqual(host.openDevices, []);
    const third = await VfioDevice.open(fake.address);
    const gone = fake.requestRemoval();
    await assert.rejects(third.close(), /a mistake in the model/);
    await gone;
    assert.deepEqual(host.devices, []);
  });

  it('is what the trace tells of, and not how it does its work', () => {
    const text = `${imports}
      const host = FakeHost.install();
      const fake = host.addDevice({ msix: 2, bars: { bar0: { size: 4096 } } });
      const device = await VfioDevice.open(fake.address);
      device.region('bar0').map().write32(16, 5);
      await device.reset();
      await device.interrupt('msix').enable(1);
      await device.close();
      host.dispose();`;
    const { stderr } = ran(text, [], { NODE_DEBUG: 'vfio,vfio-access' });
    for (const what of [
      /open\("\/tmp[^"]*vfio0"/,
      /VFIO_DEVICE_BIND_IOMMUFD\(/,
      /VFIO_DEVICE_GET_REGION_INFO\(/,
      /VFIO_DEVICE_RESET\(/,
      /VFIO_DEVICE_SET_IRQS\(.*msix/i,
      /write32\(mapping 1\+0x10, 0x00000005\)/,
    ]) {
      assert.match(stderr, what);
    }
    assert.doesNotMatch(stderr, /memfd|could not tell/);
  });

  it('adds a device wholly or not at all', async () => {
    using host = FakeHost.install();
    const before = fakeFds();
    const wrong = { size: 48 };
    assert.throws(() => host.addDevice({ bars: { bar0: { size: 4096 }, bar1: wrong } }));
    const large = { id: 9, body: new Uint8Array(250) };
    assert.throws(() => host.addDevice({ bars: { bar0: { size: 4096 } }, capabilities: [large] }));
    // A file where its link would be.
    writeFileSync(join(host.sysfsRoot, 'dev/char/511:0'), '');
    const two = { bar0: { size: 4096 }, bar1: { size: 4096 } };
    assert.throws(() => host.addDevice({ bars: two }), { code: 'EEXIST' });
    await waitFor(() => moreOf(fakeFds(), before).length === 0);
    assert.deepEqual(host.devices, []);
    assert.deepEqual(readdirSync(join(host.sysfsRoot, 'bus/pci/devices')), []);
    assert.equal(host.addDevice().address, '0000:3b:00.0');
  });
});
