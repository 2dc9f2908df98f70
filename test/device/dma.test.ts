import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { it } from 'mocha';
import {
  DmaBuffer,
  DmaPool,
  IovaAllocator,
  VfioDevice,
  type AddressSpace,
} from '../../lib/index.ts';
import { backend, confine, detach, openHost } from '../support/backend.ts';
import { describeLab } from '../support/devices.ts';
import { failure } from '../support/errors.ts';
import { Edu, KernelLog } from '../support/edu.ts';
import { firstWords } from '../support/first_words.ts';
import { assertNoMore, openFds, vfioMaps } from '../support/proc.ts';
import { root } from '../support/root.ts';

const page = 4096;

/** Pages that this process's maps have pinned: type1 counts them as locked. */
function pinned(): string | undefined {
  const counted = backend === 'group' ? /^VmLck:\s*(\d+) kB$/m : /^VmPin:\s*(\d+) kB$/m;
  return counted.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
}

describeLab('DMA', ['edu', 'edu-port'], (lab) => {
  async function open(
    body: (device: VfioDevice, ioas: AddressSpace, edu: Edu) => Promise<void>,
  ): Promise<void> {
    await using host = openHost();
    await using device = await VfioDevice.open(lab.edu, host.options);
    await using ioas = host.createIoas(device);
    confine(ioas, Edu.lastIova);
    await device.attach(ioas);
    await body(device, ioas, new Edu(device));
    await detach(device);
  }

  it('is copied both ways by the device', () =>
    open(async (_device, ioas, edu) => {
      await using buffer = await DmaBuffer.allocate(2 * page);
      await using mapping = await ioas.map(buffer);
      const bytes = Buffer.from(buffer.buffer);
      for (let at = 0; at < page; at++) bytes[at] = (at * 7) % 251;
      await edu.load(mapping.iova, 4000);
      await edu.store(mapping.iova + BigInt(page), 4000);
      assert.deepEqual(bytes.subarray(page, page + 4000), bytes.subarray(0, 4000));
      assert.ok(bytes.subarray(page + 4000).every((byte) => byte === 0));
    }));

  it('is rung for by prepared accesses, and found by a poll of the ring that it fills', () =>
    open(async (device, ioas, edu) => {
      await using buffer = await DmaBuffer.allocate(page);
      await using mapping = await ioas.map(buffer);
      const words = new Uint32Array(buffer.buffer);
      const phase = 0x1_0000;
      for (let at = 0; at < 4; at++) words[at * 4 + 3] = phase;
      await edu.load(mapping.iova, 64);
      words.fill(0);
      using bar = device.region('bar0').map();
      const start = bar.prepare(
        [0x80, 0x88, 0x90, 0x98].map((offset) => ({ op: 'write', offset, width: 64 })),
      );
      start.values64.set([0x40000n, mapping.iova, 64n, 3n]);
      const ring = { offset: 12, stride: 16, count: 4, mask: phase, value: phase, step: phase };
      const poll = buffer.pollEntries({ ...ring, spin: 1000 });
      // The device takes 100 ms: longer than a poll may wait.
      assert.equal(poll.ringAndPoll(start), 0);
      let found = 0;
      while (found < 4) {
        await setTimeout(1);
        found += poll.poll();
      }
      assert.deepEqual([found, poll.head], [4, 0]);
      assert.equal(poll.poll(), 0, 'the next are of the other phase');
      await edu.finish();
    }));

  it('reaches the blocks of a pool', () =>
    open(async (_device, ioas, edu) => {
      await using pool = new DmaPool(ioas);
      const from = await pool.allocate(256);
      const to = pool.allocateSync(100, 256n);
      assert.equal(to.iova % 256n, 0n);
      from.bytes.fill(0xa5);
      await edu.load(from.iova, 100);
      await edu.store(to.iova, 100);
      assert.ok(to.bytes.every((byte) => byte === 0xa5));
      const seen = new Set([from.iova, to.iova]);
      for (let at = 0; at < 40; at++) seen.add((await pool.allocate(4096)).iova);
      assert.equal(seen.size, 42, 'no block is another’s');
      pool.release(from);
      assert.equal((await pool.allocate(256)).iova, from.iova);
    }));

  it('reaches huge pages, and ordinary ones where there are none left', () =>
    open(async (_device, ioas, edu) => {
      const setAside = '/proc/sys/vm/nr_hugepages';
      writeFileSync(setAside, '2');
      assert.equal(readFileSync(setAside, 'utf8').trim(), '2', 'the lab has memory for two');
      await using huge = await DmaBuffer.allocate(page, { hugePages: '2M', populate: true });
      assert.equal(huge.size, 2 ** 21);
      await using auto = await DmaBuffer.allocate(2 ** 21, { hugePages: 'auto' });
      await failure(() => DmaBuffer.allocate(1, { hugePages: '2M' }), 'ENOMEM');
      await using ordinary = await DmaBuffer.allocate(2 ** 21, { hugePages: 'auto' });
      const to = 2 ** 20;
      for (const buffer of [huge, auto, ordinary]) {
        await using mapping = await ioas.map(buffer);
        const bytes = Buffer.from(buffer.buffer);
        bytes.write('huge');
        await edu.load(mapping.iova, 64);
        await edu.store(mapping.iova + BigInt(to), 64);
        assert.equal(bytes.toString('latin1', to, to + 4), 'huge');
      }
      const sizes = readFileSync('/proc/self/smaps', 'utf8')
        .split('memfd:vfio-dma')
        .slice(1)
        .map((text) => /KernelPageSize:\s+(\d+) kB/.exec(text)?.[1]);
      assert.deepEqual(sizes.sort(), ['2048', '2048', '4']);
      writeFileSync(setAside, '0');
    }));

  it('reaches nothing that is not mapped: the memory stays, the kernel tells', () =>
    open(async (device, ioas, edu) => {
      const log = new KernelLog();
      const isFault = (line: string): boolean =>
        line.includes('DMAR: [DMA') && line.includes(' 0x100000 ');
      await using buffer = await DmaBuffer.allocate(page);
      const bytes = Buffer.from(buffer.buffer).fill(0x11);
      const mapping = await ioas.map(buffer, { iova: 0x100000n });
      await edu.load(0x100000n, 64);
      bytes.fill(0x22);
      await mapping.unmap();
      assert.deepEqual(log.read().filter(isFault), []);
      await edu.store(0x100000n, 64);
      assert.ok(bytes.every((byte) => byte === 0x22));
      const faults = await log.wait(isFault);
      assert.equal(faults.length, 1, faults.join('\n'));
      assert.match(faults[0] ?? '', new RegExp(`${device.device.address.slice(5)}\\].* 0x100000 `));
      log.close();
    }));

  it('does not write what is mapped to be read only', () =>
    open(async (_device, ioas, edu) => {
      await using buffer = await DmaBuffer.allocate(page);
      const bytes = Buffer.from(buffer.buffer).fill(0x33);
      await using mapping = await ioas.map(buffer, { write: false });
      await edu.load(mapping.iova, 64);
      bytes.fill(0x44);
      await edu.store(mapping.iova, 64);
      assert.ok(bytes.every((byte) => byte === 0x44));
    }));

  it('ends with dispose, also where a transfer took the buffer away', () =>
    open(async (_device, ioas, edu) => {
      const buffer = await DmaBuffer.allocate(page);
      const mapping = await ioas.map(buffer, { iova: 0x200000n });
      // Since Node 22 the bytes can be moved to another ArrayBuffer, which dispose does not know.
      const moved = (buffer.buffer as { transfer?: () => ArrayBuffer }).transfer?.();
      const bytes = new Uint8Array(moved ?? structuredClone(buffer.buffer));
      await edu.load(0x200000n, 64);
      await buffer.dispose();
      assert.equal(mapping.mapped, false);
      bytes.fill(0x55);
      await edu.store(0x200000n, 64);
      assert.ok(bytes.every((byte) => byte === 0x55));
    }));

  it('is shared by two devices in one address space, closed in any order', async () => {
    await using host = openHost();
    const first = await VfioDevice.open(lab.edu, host.options);
    const second = await VfioDevice.open(lab['edu-port'], host.options);
    await using ioas = host.createIoas(first);
    await first.attach(ioas);
    await second.attach(ioas);
    const addresses = new IovaAllocator(ioas.iovaRanges());
    await using buffer = await DmaBuffer.allocate(2 * page);
    const iova = addresses.allocate(2 * page, { last: Edu.lastIova });
    await using mapping = await ioas.map(buffer, { iova });
    const bytes = Buffer.from(buffer.buffer);
    bytes.write('from one to the other');
    await new Edu(first).load(mapping.iova, 64);
    await first.close();
    const edu = new Edu(second);
    await edu.load(mapping.iova, 64);
    await edu.store(mapping.iova + BigInt(page), 64);
    assert.equal(bytes.toString('latin1', page, page + 21), 'from one to the other');
    await detach(second);
    await second.close();
  });

  // `npm run check:soak -- maps` has a million.
  it('leaves nothing behind in 10,000 maps and unmaps', () =>
    open(async (_device, ioas) => {
      await using buffer = await DmaBuffer.allocate(page);
      const mapping = ioas.mapSync(buffer);
      assert.equal(pinned(), '4');
      mapping.unmapSync();
      const before = { fds: openFds(), maps: vfioMaps() };
      for (let at = 0; at < 9_500; at++) ioas.mapSync(buffer).unmapSync();
      for (let at = 0; at < 500; at++) await (await ioas.map(buffer)).unmap();
      assertNoMore(openFds(), before.fds);
      assertNoMore(vfioMaps(), before.maps);
      assert.deepEqual([ioas.mappings, buffer.mappings, pinned()], [[], [], '0']);
    })).timeout(300_000);

  it('is over when the process is killed in the middle of it: the device opens at once', async () => {
    const program = `
      import { DmaBuffer, VfioDevice } from ${JSON.stringify(new URL('build-test/programs/vfio.js', root))};
      import { Edu } from ${JSON.stringify(new URL('build-test/test/support/edu.js', root))};
      const device = await VfioDevice.open(${JSON.stringify(lab.edu)}, { backend: '${backend}' });
      const ioas = device.createIoas();
      await device.attach(ioas);
      const edu = new Edu(device);
      await ioas.map(await DmaBuffer.allocate(4096, { populate: true }), { iova: 0x100000n });
      edu.start('store', 0x100000n, 4000);
      console.log('running');
      setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    assert.equal(await firstWords(child.stdout), 'running\n');
    child.kill('SIGKILL');
    await once(child, 'exit');
    await using device = await VfioDevice.open(lab.edu, { timeout: 0 });
    assert.ok(device.fd > 0);
  });
});
