import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { renameSync, writeFileSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { it } from 'mocha';
import {
  Container,
  describeDevice as factsOf,
  DmaBuffer,
  findCdev,
  fromShared,
  Iommufd,
  VfioDevice,
  VfioError,
  type VfioFacts,
} from '../../lib/index.ts';
import { abortAtEachStep } from '../support/abort_steps.ts';
import { sata, withSiblingOnHost, smbus } from '../support/chip_set.ts';
import { describeLab } from '../support/devices.ts';
import { Edu } from '../support/edu.ts';
import { failure, searchedFailure, vfioFailure } from '../support/errors.ts';
import { firstWords } from '../support/first_words.ts';
import { hasModule, plug, plugFunctions, unplug } from '../support/hotplug.ts';
import { assertNoMore, libraryFds } from '../support/proc.ts';
import { root } from '../support/root.ts';
import { skip } from '../support/skip.ts';

const page = 4096;

describeLab('the backend', ['edu', 'nvme0'], ({ edu, nvme0 }) => {
  it('is the one that is asked for', async () => {
    for (const kind of ['cdev', 'group', 'compat'] as const) {
      await using device = await VfioDevice.open(edu, { backend: kind });
      assert.deepEqual(device.backend, { kind, isolated: true, why: 'asked for' });
      assert.equal(device.region('bar0').read32(0), 0x010000ed);
      await device.close();
      using blocking = VfioDevice.openSync(edu, { backend: kind });
      assert.equal(blocking.backend.kind, kind);
    }
  });

  it('is the cdev where nothing is said, or an iommufd is given; the group with a container', async () => {
    await using device = await VfioDevice.open(edu, { backend: 'auto' });
    assert.equal(device.backend.why, 'the kernel has a cdev for it');
    await using iommufd = Iommufd.open();
    await using bound = await VfioDevice.open(nvme0, { iommufd });
    assert.deepEqual([bound.backend.kind, bound.backend.why], ['cdev', 'an iommufd was given']);
    await bound.close();
    await using container = Container.open();
    await using joined = await VfioDevice.open(nvme0, { container });
    assert.deepEqual([joined.backend.kind, joined.backend.why], ['group', 'a container was given']);
    assert.equal(joined.container, container);
  });

  it('is the group where only its node was given, as to a container', async () => {
    const { path } = findCdev(edu);
    renameSync(path, `${path}-kept`);
    try {
      const ways = [
        () => VfioDevice.open(edu, { timeout: 0 }),
        () => Promise.resolve(VfioDevice.openSync(edu)),
      ];
      for (const open of ways) {
        await using device = await open();
        assert.equal(device.backend.kind, 'group');
        assert.match(device.backend.why, /cdev has no node here, and its group has one/);
      }
      const insisting = { backend: 'cdev', timeout: 0 } as const;
      await failure(() => VfioDevice.open(edu, insisting), 'ENOENT');
    } finally {
      renameSync(`${path}-kept`, path);
    }
  });

  it('says what it does not have', async () => {
    await using byGroup = await VfioDevice.open(edu, { backend: 'group' });
    await failure(() => byGroup.devId, 'ERR_VFIO_WRONG_BACKEND');
    await failure(() => byGroup.iommufd, 'ERR_VFIO_WRONG_BACKEND');
    await failure(() => byGroup.detach(), 'ERR_VFIO_WRONG_BACKEND');
    await failure(() => {
      byGroup.detachSync();
    }, 'ERR_VFIO_WRONG_BACKEND');
    await byGroup.close();
    await using byCdev = await VfioDevice.open(edu);
    await failure(() => byCdev.container, 'ERR_VFIO_WRONG_BACKEND');
    await failure(() => VfioDevice.open(nvme0, { backend: 'noiommu' }), 'ERR_VFIO_WRONG_BACKEND');
  });

  it('takes what goes together only', async () => {
    await using iommufd = Iommufd.open();
    await using container = Container.open();
    const wrong = [
      { iommufd, container },
      { iommufd, backend: 'group' },
      { container, backend: 'cdev' },
      { container, backend: 'compat' },
    ] as const;
    for (const options of wrong) {
      await failure(() => VfioDevice.open(edu, options), 'ERR_INVALID_ARG_VALUE');
    }
  });

  it('leaves nothing open when it is closed, or fails', async () => {
    const before = libraryFds();
    for (const kind of ['group', 'compat'] as const) {
      await (await VfioDevice.open(edu, { backend: kind })).close();
      VfioDevice.openSync(edu, { backend: kind }).closeSync();
    }
    await using other = await VfioDevice.open(edu);
    await failure(() => VfioDevice.open(edu, { backend: 'group' }), 'EBUSY');
    await failure(() => VfioDevice.openSync(edu, { backend: 'compat' }), 'EBUSY');
    await other.close();
    assertNoMore(libraryFds(), before);
  });
});

describeLab('the reason why a group does not open', ['edu'], ({ edu }) => {
  it('is the bound cdev', async () => {
    await using _device = await VfioDevice.open(edu);
    const error = await searchedFailure(() => VfioDevice.open(edu, { backend: 'group' }), 'EBUSY');
    assert.deepEqual([error.reason, error.certainty], ['held-by-cdev', 'certain']);
    assert.match(error.message, /by this process$/);
  });

  it('is the group, open in another container', async () => {
    await using _device = await VfioDevice.open(edu, { backend: 'group' });
    const error = await searchedFailure(() => VfioDevice.open(edu, { backend: 'group' }), 'EBUSY');
    assert.equal(error.reason, 'held-by-group');
    const { group, holders } = error.facts as VfioFacts['held-by-group'];
    assert.deepEqual([group, holders[0]?.pid], [factsOf(edu).iommuGroup, process.pid]);
    const cdev = await searchedFailure(() => VfioDevice.open(edu, { backend: 'cdev' }), 'EBUSY');
    assert.equal(cdev.reason, 'held-by-group');
  });

  it('is a sibling on its host driver, which is named, and no bridge', async function () {
    if (!hasModule('ahci')) skip(this, 'a kernel with the module ahci');
    await withSiblingOnHost(async () => {
      for (const kind of ['group', 'compat'] as const) {
        const error = await vfioFailure(
          () => VfioDevice.open(smbus, { backend: kind }),
          'ERR_VFIO_GROUP_NOT_VIABLE',
        );
        assert.equal(error.reason, 'group-not-viable');
        const { members } = error.facts as VfioFacts['group-not-viable'];
        const blocking = members.filter(({ verdict }) => verdict === 'host-driver');
        assert.deepEqual(
          blocking.map(({ address, driver }) => [address, driver]),
          [[sata, 'ahci']],
        );
        assert.ok(error.message.includes(`${sata} (ahci)`), error.message);
      }
    });
  });

  it('is a node that is not there, or not to be opened', async () => {
    const error = await vfioFailure(
      () => VfioDevice.open(edu, { backend: 'group', devRoot: '/tmp', timeout: 0 }),
      'ENOENT',
    );
    assert.equal(error.path, '/tmp/vfio/vfio');
    const library = new URL('build-test/programs/vfio.js', root).href;
    const program = `
      const { VfioDevice } = await import(${JSON.stringify(library)});
      const opening = VfioDevice.open(${JSON.stringify(edu)}, { backend: 'group', timeout: 0 });
      opening.catch(({ code, reason, path }) => console.log(code, reason, path));`;
    const args = ['--input-type=module', '-e', program];
    const child = spawnSync(process.execPath, args, { uid: 65534, gid: 65534, encoding: 'utf8' });
    const node = `/dev/vfio/${factsOf(edu).iommuGroup}`;
    assert.equal(child.stdout, `EACCES no-permission ${node}\n`, child.stderr);
  });
});

describeLab('a container', ['edu', 'nvme0', 'edu-port'], (lab) => {
  it('has an address space while a device is open in it', async () => {
    await using container = Container.open();
    await using space = container.createIoas();
    await using buffer = await DmaBuffer.allocate(2 * page);
    const empty = await vfioFailure(() => space.map(buffer), 'EINVAL');
    assert.equal(empty.reason, 'container-empty');

    const devices = await Promise.all([
      VfioDevice.open(lab.edu, { container }),
      VfioDevice.open(lab.nvme0, { container }),
    ]);
    const mapping = await space.map(buffer);
    assert.deepEqual([mapping.iova, mapping.size, mapping.mapped], [4096n, 2 * page, true]);
    const edu = new Edu(devices[0]);
    new Uint8Array(buffer.buffer).fill(0x5a, 0, 64);
    await edu.load(mapping.iova, 64);
    await edu.store(mapping.iova + BigInt(page), 64);
    assert.equal(new Uint8Array(buffer.buffer)[page + 63], 0x5a);

    await devices[0].close();
    assert.equal(mapping.mapped, true);
    await devices[1].close();
    assert.deepEqual([mapping.mapped, space.mappings], [false, []]);
    assert.equal((await vfioFailure(() => space.iovaRanges(), 'EINVAL')).reason, 'container-empty');
    await using _again = await VfioDevice.open(lab.edu, { container });
    assert.equal((await space.map(buffer)).iova, 4096n);
  });

  it('says why it does not map', async () => {
    await using device = await VfioDevice.open(lab.edu, { backend: 'group' });
    await using space = device.createIoas();
    await using buffer = await DmaBuffer.allocate(2 * page);
    const one = await space.map(buffer, { iova: 0x100000n });
    const wrong = async (iova: bigint, code: string): Promise<VfioError> => {
      const error = await vfioFailure(() => space.map(buffer, { iova }), code);
      assert.equal(error.request, 'VFIO_IOMMU_MAP_DMA');
      return error;
    };
    const twice = await wrong(0x101000n, 'EEXIST');
    assert.equal(twice.reason, 'iova-mapped');
    assert.deepEqual((twice.facts as VfioFacts['iova-mapped']).mapped, [
      { iova: 0x100000n, length: 8192n },
    ]);
    assert.equal((await wrong(0x100800n, 'EINVAL')).reason, 'iova-misaligned');
    assert.equal((await wrong(0xfee00000n, 'EINVAL')).reason, 'iova-not-allowed');
    assert.equal((await wrong(1n << 60n, 'EINVAL')).reason, 'iova-not-allowed');
    const nowhere = await vfioFailure(() => space.unsafeMapAddress(0x1000n, page), 'EFAULT');
    assert.equal(nowhere.reason, 'memory-not-pinnable');
    const cut = await vfioFailure(() => space.unmap(0x100000n, 4096n), 'ENOENT');
    assert.deepEqual((cut.facts as VfioFacts['not-mapped']).cut, [
      { iova: 0x100000n, length: 8192n },
    ]);
    assert.equal((await vfioFailure(() => space.unmap(0n, 4096n), 'ENOENT')).reason, 'not-mapped');
    assert.equal(await space.unmap(0n, 0x200000n), 8192n);
    assert.equal(one.mapped, false);
    await one.unmap();
    const [first, second] = [space.mapSync(buffer), await space.map(buffer)];
    assert.deepEqual([first.iova, second.iova], [0x1000n, 0x3000n]);
    first.unmapSync();
    assert.equal(space.mapSync(buffer, { length: page }).iova, 0x1000n);
    assert.equal(space.unmapAllSync(), 12288n);
    assert.equal(await space.unmapAll(), 0n);
    assert.deepEqual(space.mappings, []);
  });

  it('says that it takes no more maps', async () => {
    const parameter = '/sys/module/vfio_iommu_type1/parameters/dma_entry_limit';
    writeFileSync(parameter, '2');
    try {
      await using device = await VfioDevice.open(lab.edu, { backend: 'group' });
      await using space = device.createIoas();
      await using buffer = await DmaBuffer.allocate(page);
      await space.map(buffer);
      await space.map(buffer);
      const error = await vfioFailure(() => space.map(buffer), 'ENOSPC');
      assert.deepEqual([error.reason, error.facts], ['too-many-maps', { parameter }]);
    } finally {
      writeFileSync(parameter, '65535');
    }
  });

  it('says how much this process may pin', () => {
    const library = new URL('build-test/programs/vfio.js', root).href;
    const program = `
      process.setgroups([]);
      process.setgid(65534);
      const { DmaBuffer, VfioDevice } = await import(${JSON.stringify(library)});
      const device = await VfioDevice.open(${JSON.stringify(lab.edu)}, { backend: 'group' });
      const ioas = device.createIoas();
      process.setuid(65534);
      const small = await ioas.map(await DmaBuffer.allocate(4096));
      await ioas.map(await DmaBuffer.allocate(1 << 20)).catch((error) => {
        const { code, reason, facts } = error;
        console.log(code, reason, facts.needed, facts.limit, facts.pinned, facts.counted);
      });
      await small.unmap();`;
    const shell = 'ulimit -l 64; exec "$0" --input-type=module -e "$1"';
    const child = spawnSync('sh', ['-c', shell, process.execPath, program], { encoding: 'utf8' });
    const expected = 'ENOMEM memlock-limit 1048576n 65536n 4096n process\n';
    assert.equal(child.stdout, expected, child.stderr);
  });

  it('closes what one of its users mapped, and leaves the rest', async () => {
    await using device = await VfioDevice.open(lab.edu, { backend: 'group' });
    await using space = device.createIoas();
    await using buffer = await DmaBuffer.allocate(page);
    const stays = await space.map(buffer);
    const other = device.createIoas();
    const goes = await other.map(buffer);
    assert.notEqual(goes.iova, stays.iova);
    await other.close();
    assert.deepEqual([goes.mapped, stays.mapped], [false, true]);
    await failure(() => other.map(buffer), 'ERR_VFIO_CLOSED');
    await device.attach(space);
    await using foreign = await VfioDevice.open(lab['edu-port'], { backend: 'group' });
    const error = await vfioFailure(() => foreign.attach(space), 'ERR_VFIO_WRONG_BACKEND');
    assert.equal(error.reason, 'other-container');
    await stays.unmap();
    await device.close();
    await failure(() => space.map(buffer), 'ERR_VFIO_CLOSED');
  });

  it('has several devices of one group, opened and closed in any order', async () => {
    await unplug(lab['edu-port']);
    const [other, self] = await plugFunctions(lab['edu-port'], [1, 0]);
    assert.ok(other && self);
    try {
      for (const backend of ['group', 'compat'] as const) {
        await using host = backend === 'group' ? Container.open() : Iommufd.open();
        const options =
          host instanceof Container ? { backend, container: host } : { backend, iommufd: host };
        const [one, two]: [VfioDevice, VfioDevice] = await Promise.all([
          VfioDevice.open(self, options),
          VfioDevice.open(other, options),
        ]);
        assert.equal(one.path, two.path);
        await one.close();
        assert.equal(two.region('bar0').read32(0), 0x010000ed);
        const three = VfioDevice.openSync(self, options);
        await two.close();
        assert.equal(three.region('bar0').read32(0), 0x010000ed);
        const busy = await vfioFailure(() => VfioDevice.open(other, { backend }), 'EBUSY');
        assert.equal(busy.reason, 'held-by-group');
        await Promise.all([three.close(), three.close()]);
        await (await VfioDevice.open(other, { backend })).close();
      }
    } finally {
      await unplug(self);
      await plug(lab['edu-port']);
    }
  });

  it('closes in any order with its devices', async () => {
    const container = Container.open();
    const device = await VfioDevice.open(lab.edu, { container });
    await using space = container.createIoas();
    await container.close();
    assert.equal(device.region('bar0').read32(0), 0x010000ed);
    await failure(() => space.iovaRanges(), 'ERR_VFIO_CLOSED');
    await failure(() => container.createIoas(), 'ERR_VFIO_CLOSED');
    await failure(() => VfioDevice.open(lab.nvme0, { container }), 'ERR_VFIO_CLOSED');
    await device.close();
    await (await VfioDevice.open(lab.edu)).close();
  });
});

describeLab('a device of a group that threads share', ['edu'], ({ edu }) => {
  const library = new URL('build-test/programs/vfio.js', root).href;
  const driver = new URL('build-test/test/support/edu.js', root).href;
  const program = `
    const { parentPort, workerData } = require('node:worker_threads');
    (async () => {
      const { fromShared } = await import(${JSON.stringify(library)});
      const { Edu } = await import(${JSON.stringify(driver)});
      const [device, buffer] = workerData.map((token) => fromShared(token));
      const ioas = device.createIoas();
      const mapping = await ioas.map(buffer);
      new Uint8Array(buffer.buffer).set([1, 2, 3]);
      const dma = new Edu(device);
      await dma.load(mapping.iova, 16);
      await dma.store(mapping.iova + 64n, 16);
      await ioas.close();
      await device.close();
      parentPort.postMessage([device.backend.kind, mapping.iova]);
    })();`;

  for (const backend of ['group', 'compat'] as const) {
    it(`is driven by a worker, and then by this thread: ${backend}`, async () => {
      const before = libraryFds();
      const device = await VfioDevice.open(edu, { backend });
      const ioas = device.createIoas();
      await using buffer = await DmaBuffer.allocate(page);
      const mapping = await ioas.map(buffer, { iova: 0x1000n });
      const workerData = [device.share(), buffer.share()];
      const worker = new Worker(program, { eval: true, workerData });
      const [[kind, iova]] = (await once(worker, 'message')) as [[string, bigint]];
      await once(worker, 'exit');
      // The lowest address that nothing has, whichever thread mapped there.
      assert.equal(kind, backend);
      assert.ok(iova > 0x1000n);
      const bytes = new Uint8Array(buffer.buffer);
      assert.deepEqual([...bytes.subarray(64, 67)], [1, 2, 3]);
      await new Edu(device).store(mapping.iova + 128n, 16);
      assert.deepEqual([...bytes.subarray(128, 131)], [1, 2, 3]);
      const second = fromShared(device.share());
      await device.close();
      await failure(() => VfioDevice.open(edu, { backend, timeout: 0 }), 'EBUSY');
      assert.equal(second.region('bar0').read32(0), 0x010000ed);
      await second.close();
      await (await VfioDevice.open(edu)).close();
      assertNoMore(libraryFds(), before);
    });
  }
});

describeLab('a container of which another owner has a device open', ['edu', 'nvme0'], (lab) => {
  const { edu, nvme0 } = lab;

  it('keeps what is mapped when the last device of one owner is closed', async () => {
    await using container = Container.open();
    const device = await VfioDevice.open(edu, { container, backend: 'group' });
    await using space = container.createIoas();
    await using buffer = await DmaBuffer.allocate(page);
    const mapping = await space.map(buffer, { iova: 0x1000n });
    const second = fromShared(device.share());
    await device.close();
    assert.equal(mapping.mapped, true);
    const dma = new Edu(second);
    new Uint8Array(buffer.buffer).set([1, 2, 3]);
    await dma.load(mapping.iova, 16);
    await mapping.unmap();
    assert.deepEqual(space.mappings, []);
    const again = await space.map(buffer, { iova: 0x2000n });
    await dma.store(again.iova + 64n, 16);
    assert.deepEqual([...new Uint8Array(buffer.buffer, 64, 3)], [1, 2, 3]);
    await second.close();
    await failure(() => space.iovaRanges(), 'EINVAL');
    await again.unmap();
    assert.equal(again.mapped, false);
  });

  it('takes further devices of the owner that has none in it', async () => {
    await using container = Container.open();
    const device = await VfioDevice.open(edu, { container, backend: 'group' });
    await using second = fromShared(device.share());
    await device.close();
    await using buffer = await DmaBuffer.allocate(page);
    for (const open of [
      () => VfioDevice.open(nvme0, { container }),
      () => Promise.resolve(VfioDevice.openSync(nvme0, { container })),
    ]) {
      await using other = await open();
      await using mapping = await other.createIoas().map(buffer);
      new Uint8Array(buffer.buffer).set([1, 2, 3]);
      const dma = new Edu(second);
      await dma.load(mapping.iova, 16);
      await dma.store(mapping.iova + 64n, 16);
      assert.deepEqual([...new Uint8Array(buffer.buffer, 64, 3)], [1, 2, 3]);
    }
  });
});

describeLab('an open by the group', ['edu', 'mtty'], (lab) => {
  const backends = ['group', 'compat'] as const;
  const program = new URL('build-test/programs/lives.js', root).pathname;

  for (const backend of backends) {
    it(`leaves nothing where it is aborted at any step: ${backend}`, async () => {
      for (const spec of [lab.edu, lab.mtty]) {
        const fds = libraryFds();
        const steps = await abortAtEachStep({
          open: (signal) => VfioDevice.open(spec, { backend, signal }),
          check: async () => {
            await turn();
            assertNoMore(libraryFds(), fds);
            VfioDevice.openSync(spec, { backend }).closeSync();
            await turn();
          },
        });
        assert.ok(steps.includes('groupGetDevice') && steps.includes('getIrqInfos'), steps.join());
      }
    });

    it(`ends with its process: ${backend}`, async () => {
      const orders = JSON.stringify({ ...lab.edu, backend, life: 'hold' });
      const child = spawn(process.execPath, [program, orders], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await firstWords(child.stdout);
      const error = await searchedFailure(() => VfioDevice.open(lab.edu, { backend }), 'EBUSY');
      assert.equal((error.facts as VfioFacts['held-by-group']).holders[0]?.pid, child.pid);
      child.kill('SIGKILL');
      await once(child, 'exit');
      await (await VfioDevice.open(lab.edu, { backend, timeout: 0 })).close();
    });

    it(`is closed with one warning where it is dropped: ${backend}`, () => {
      const orders = JSON.stringify({ ...lab.edu, backend, life: 'drop' });
      const { stdout, stderr } = spawnSync(process.execPath, ['--expose-gc', program, orders], {
        encoding: 'utf8',
      });
      assert.equal(stdout, 'gone\n', stderr);
      const warnings = stderr.split('\n').filter((line) => line.includes('VFIO_NOT_CLOSED'));
      assert.equal(warnings.length, 1, stderr);
      assert.match(warnings[0] ?? '', /the device 0000:00:02\.0 \(.*\), opened at /);
      VfioDevice.openSync(lab.edu, { backend }).closeSync();
    });
  }
});
