import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { DmaBuffer, VfioDevice } from 'vfio';
import { FakeHost } from 'vfio/testing';
import { NvmeModel, type NvmeModelOptions } from '../../examples/models/nvme.ts';
import type { DataArea } from '../../examples/nvme/io_queue.ts';
import { Controller, type ControllerOptions } from '../../examples/nvme/controller.ts';
import { NvmeError, type NvmeFailure } from '../../examples/nvme/status.ts';

// The driver of the NVMe example over a model of a controller: what a device does in its worst
// moments, which QEMU's does not, or not when a test wants it. The tests of test/device run over
// both: test/unit/over_fake.test.ts.

const failsWith = (code: NvmeFailure, text: RegExp) => (error: unknown) =>
  error instanceof NvmeError && error.code === code && text.test(error.message);

describe('the NVMe example, over a model of a controller', () => {
  let host: FakeHost;
  beforeEach(() => {
    host = FakeHost.install();
  });
  afterEach(() => {
    assert.deepEqual(host.openDevices, []);
    host.dispose();
  });

  async function drive(
    { model: modelOptions, ...options }: ControllerOptions & { model?: NvmeModelOptions },
    body: (parts: {
      model: NvmeModel;
      device: VfioDevice;
      controller: Controller;
      area: DataArea;
    }) => Promise<void>,
  ): Promise<void> {
    const model = new NvmeModel(host, modelOptions);
    await using device = await VfioDevice.open(model.device.address);
    await using controller = await Controller.start(device, options);
    await using memory = await DmaBuffer.allocate(64 * 1024);
    const { iova } = await controller.space.map(memory);
    const area = { bytes: new Uint8Array(memory.buffer), iova };
    await body({ model, device, controller, area });
  }

  for (const vectors of [0, 2]) {
    it(`writes and reads, ${vectors > 0 ? 'by MSI-X' : 'polled'}`, () =>
      drive({ vectors, model: { serial: 'one' } }, async ({ model, controller, area }) => {
        assert.equal(controller.info.serial, 'one');
        const namespace = await controller.openNamespace();
        area.bytes.forEach((_, at) => (area.bytes[at] = (at * 7) % 251));
        await namespace.write(3, area);
        await namespace.flush();
        const stored = model.disk.subarray(3 * 512, 3 * 512 + area.bytes.length);
        assert.deepEqual(stored, area.bytes);
        model.disk.fill(0x5a);
        await namespace.read(0, area);
        assert.ok(area.bytes.every((byte) => byte === 0x5a));
        assert.deepEqual(model.device.dmaFaults, []);
      }));
  }

  it('aborts a command that takes too long, and leaves the others alone', () =>
    drive({ timeout: 50, vectors: 2 }, async ({ model, controller, area }) => {
      const namespace = await controller.openNamespace();
      let resets = 0;
      controller.on('reset', () => resets++);
      model.hold();
      const late = namespace.read(0, area);
      await assert.rejects(late, failsWith('timeout', /it was aborted/));
      model.release();
      await namespace.read(0, area);
      assert.equal(resets, 0);
    }));

  it('resets a controller that does not abort, and goes on', () =>
    drive(
      { timeout: 50, vectors: 2, model: { aborts: false } },
      async ({ model, controller, area }) => {
        const namespace = await controller.openNamespace();
        const reset = new Promise<void>((resolve) => controller.once('reset', resolve));
        model.hold();
        await assert.rejects(namespace.read(0, area), failsWith('timeout', /./));
        await reset;
        model.release();
        await namespace.read(0, area);
      },
    ));

  it('tells of data whose memory is not mapped', () =>
    drive({}, async ({ model, controller, area }) => {
      const namespace = await controller.openNamespace();
      const nowhere = { bytes: area.bytes.subarray(0, 512), iova: 0x7000_0000n };
      await assert.rejects(
        namespace.read(0, nowhere),
        failsWith('status', /was its memory mapped for the device\?/),
      );
      assert.equal(model.device.dmaFaults[0]?.reason, 'not-mapped');
      await namespace.read(0, area);
    }));

  for (const [how, vectors] of [
    ['polled', 0],
    ['by MSI-X', 2],
  ] as const) {
    it(`ends what is under way when its device is pulled out, ${how}`, () =>
      drive({ vectors }, async ({ model, device, controller, area }) => {
        const namespace = await controller.openNamespace();
        model.hold();
        const reads = Array.from({ length: 8 }, () => namespace.read(0, area));
        const gone = model.device.unplug();
        const ends = await Promise.allSettled(reads);
        for (const end of ends) {
          assert.equal(end.status, 'rejected');
          assert.equal((end.reason as NvmeError).code, 'removed');
        }
        await assert.rejects(namespace.read(0, area), failsWith('removed', /./));
        await controller.close();
        await device.close();
        await gone;
        assert.deepEqual(host.devices, []);
      }));
  }

  it('is told when somebody wants the device back', () =>
    drive({ vectors: 2 }, async ({ model, device, controller }) => {
      const failed = new Promise<unknown>((resolve) => controller.once('failed', resolve));
      const removal = model.device.requestRemoval();
      assert.ok(failsWith('removed', /wants the device back/)(await failed));
      await controller.close();
      await device.close();
      await removal;
    }));

  it('says why a controller is not started: it is not ready, or it is no controller', async () => {
    const other = host.addDevice({ bars: { bar0: { size: 0x4000 } } });
    await using device = await VfioDevice.open(other.address);
    await assert.rejects(Controller.start(device), failsWith('status', /is no NVMe controller/));
  });
});
