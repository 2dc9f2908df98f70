import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { it } from 'mocha';
import { binding, type NativeFd } from '../../lib/core/binding.ts';
import { listDevicesSync, VfioDevice } from '../../lib/index.ts';
import { busMaster, memory, readCommand, writeCommand } from '../support/command_register.ts';
import { describeLab } from '../support/devices.ts';
import { failure } from '../support/errors.ts';
import { makeMdev } from '../support/mdev.ts';

// The twins of what has promises: each blocks, and answers the same.

describeLab('the blocking forms of features', ['edu', 'mtty', 'mdpy', 'mbochs', 'nvme0'], (lab) => {
  it('move an mtty’s state to another', async () => {
    using second = makeMdev('6d747479-0000-4000-8000-0000000000fe', 'mtty-1');
    using from = VfioDevice.openSync(lab.mtty);
    using to = VfioDevice.openSync(second);
    const scratch = 7;
    from.region('bar0').write8(scratch, 0x5a);
    to.region('bar0').write8(scratch, 0x11);
    const { migration } = from.feature;
    assert.equal(migration.stateSync(), 'running');
    assert.deepEqual(migration.supportSync(), await migration.support());
    assert.equal(migration.dataSizeSync(), await migration.dataSize());
    const saved = migration.setStateSync('pre-copy');
    assert.deepEqual(saved.precopyInfoSync(), await saved.precopyInfo());
    assert.equal(migration.setStateSync('stop-copy'), saved);
    await pipeline(saved, to.feature.migration.setStateSync('resuming'));
    to.feature.migration.setStateSync('running');
    migration.setStateSync('running');
    assert.equal(to.region('bar0').read8(scratch), 0x5a);
    await failure(() => saved.precopyInfoSync(), 'ERR_VFIO_CLOSED');
    await failure(() => migration.setStateSync('error' as never), 'ERR_INVALID_ARG_VALUE');
  });

  it('log dirty pages', () => {
    using mtty = VfioDevice.openSync(lab.mtty);
    const { dmaLogging } = mtty.feature;
    const range = { iova: 0x100000n, length: 0x100000n };
    assert.equal(dmaLogging.startSync({ pageSize: 4096, ranges: [range] }), 4096);
    assert.equal(dmaLogging.reportSync({ ...range, pageSize: 4096 }).bitmap.length, 4);
    dmaLogging.stopSync();
  });

  it('list features, and say what is lacking', async () => {
    using edu = VfioDevice.openSync(lab.edu);
    assert.deepEqual(edu.feature.listSync(), await edu.feature.list());
    const { feature } = edu;
    const token = '8699b0f6-5c57-4d4e-a371-4f0e0d3b5f1c';
    for (const attempt of [
      () => feature.migration.supportSync(),
      () => feature.migration.dataSizeSync(),
      () => {
        feature.migration.enablePrecopyInfoV2Sync();
      },
      () => {
        feature.setVfTokenSync(token);
      },
      () => {
        feature.setBusMasterSync(true);
      },
      () => feature.zpciErrorSync(64),
    ]) {
      await failure(attempt, 'ERR_VFIO_UNSUPPORTED');
    }
  });

  it('show planes', async () => {
    using mdpy = VfioDevice.openSync(lab.mdpy);
    const { display } = mdpy.feature;
    assert.deepEqual(
      [display.supportsSync('region'), display.supportsSync('dmabuf')],
      [true, false],
    );
    assert.deepEqual(display.queryPlaneSync('region'), await display.queryPlane('region'));
    using mbochs = VfioDevice.openSync(lab.mbochs);
    await failure(() => mbochs.feature.display.getDmabufSync(4711), 'ENOENT');
  });

  it('export dma-bufs where the kernel does that', async () => {
    using nvme = VfioDevice.openSync(lab.nvme0);
    const ranges = [{ offset: 0, length: 4096 }];
    if (nvme.feature.probeSync(11, 'get')) nvme.feature.exportDmabufSync(0, ranges).closeSync();
    else await failure(() => nvme.feature.exportDmabufSync(0, ranges), 'ERR_VFIO_UNSUPPORTED');
  });

  it('tie a write to an eventfd', async () => {
    using edu = VfioDevice.openSync(lab.edu);
    const native = binding();
    const event = native.eventfdOpen() as NativeFd;
    const eventfd = native.fdNumber(event) ?? -1;
    const liveness = { region: 'bar0', offset: 4, width: 4, value: 1, eventfd } as const;
    edu.ioeventfdSync(liveness);
    await failure(() => {
      edu.ioeventfdSync(liveness);
    }, 'EEXIST');
    edu.ioeventfdSync({ ...liveness, eventfd: null });
    native.closeSync(event);
  });
});

describeLab(
  'the blocking forms of interrupts and resets',
  ['nvme0', 'edu-port', 'nvme-sriov'],
  (lab) => {
    it('resize', async () => {
      using device = VfioDevice.openSync(lab.nvme0);
      const msix = device.interrupt('msix');
      const [first] = msix.enableSync(2);
      const { vectors, gap } = msix.resizeSync(4);
      assert.deepEqual([vectors.length, vectors[0] === first], [4, true]);
      assert.equal(gap, msix.flags.includes('noresize'));
      assert.equal(msix.resizeSync(1).vectors.length, 1);
      const resizing = msix.resize(3);
      await failure(() => msix.resizeSync(2), 'ERR_VFIO_BUSY');
      await resizing;
      msix.disableSync();
      await failure(() => msix.resizeSync(2), 'ERR_VFIO_IRQ_DISABLED');
    });

    it('plan a hot reset and make it', async () => {
      using device = VfioDevice.openSync(lab['edu-port']);
      writeCommand(device, memory | busMaster);
      const [vector] = device.interrupt('msi').enableSync();
      const plan = device.planHotResetSync();
      assert.deepEqual(plan, await device.planHotReset());
      assert.equal(plan.possible, true);
      assert.deepEqual(device.hotResetSync(), plan);
      assert.equal(readCommand(device) & (memory | busMaster), memory | busMaster);
      device.interrupt('msi').trigger();
      for await (const count of vector ?? []) {
        assert.equal(count, 1);
        break;
      }
      const disabling = device.interrupt('msi').disable();
      await failure(() => device.hotResetSync(), 'ERR_VFIO_BUSY');
      await disabling;
    });

    it('set a VF token', () => {
      const token = '8699b0f6-5c57-4d4e-a371-4f0e0d3b5f1c';
      const spec = lab['nvme-sriov'];
      const numVfs = `/sys/bus/pci/devices/${spec.address}/sriov_numvfs`;
      using pf = VfioDevice.openSync(spec);
      writeFileSync(numVfs, '1');
      try {
        pf.feature.setVfTokenSync(token);
        const found = listDevicesSync().find(({ address }) => address === spec.address);
        assert.equal(found?.virtfns?.length, 1);
      } finally {
        writeFileSync(numVfs, '0');
      }
    });
  },
);
