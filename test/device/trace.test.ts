import assert from 'node:assert/strict';
import { it } from 'mocha';
import { type Binding, binding, replaceBinding } from '../../lib/core/binding.ts';
import { countFigures, DmaBuffer, Iommufd, VfioDevice } from '../../lib/index.ts';
import type { Section } from '../../lib/trace/request.ts';
import { tracedBinding } from '../../lib/trace/traced_binding.ts';
import { describeLab } from '../support/devices.ts';
import { vfioFailure } from '../support/errors.ts';

/** The lines of what `body` does, without their times. */
async function linesOf(
  body: () => Promise<void>,
  sections: readonly Section[] = ['vfio'],
): Promise<string[]> {
  const lines: string[] = [];
  const write = (line: string): void => void lines.push(line.replace(/ [\d.]+ (?:µs|ms|s)$/, ''));
  const out = Object.fromEntries(sections.map((section) => [section, write]));
  const traced: Binding = tracedBinding(binding(), out);
  const undo = replaceBinding(traced);
  try {
    await body();
  } finally {
    undo();
  }
  return lines;
}

/** Each pattern matches a line, in this order. */
function assertInOrder(lines: readonly string[], patterns: readonly RegExp[]): void {
  let from = 0;
  for (const pattern of patterns) {
    const at = lines.findIndex((line, index) => index >= from && pattern.test(line));
    assert.ok(at >= 0, `${String(pattern)} is not among:\n${lines.slice(from).join('\n')}`);
    from = at + 1;
  }
}

describeLab('the trace', ['edu', 'nvme0'], (lab) => {
  it('tells what a real kernel is asked and answers, from opening to closing', async () => {
    const lines = await linesOf(async () => {
      await using iommufd = Iommufd.open();
      await using device = await VfioDevice.open(lab.nvme0, { iommufd, backend: 'cdev' });
      const ioas = iommufd.createIoas();
      await device.attach(ioas);
      using buffer = DmaBuffer.allocateSync(4096);
      const mapping = ioas.mapSync(buffer, { iova: 0x10000n });
      await mapping.unmap();
      await device.interrupt('msix').enable(2);
      await device.interrupt('msix').disable();
      await device.reset();
      device.region('bar0').map().closeSync();
      await device.detach();
      await ioas.close();
    });
    const fd = String.raw`fd \d+`;
    assertInOrder(lines, [
      new RegExp(`^open\\("/dev/iommu", O_RDWR\\|O_NONBLOCK\\) = ${fd}$`),
      new RegExp(`^open\\("/dev/vfio/devices/vfio\\d+", O_RDWR\\|O_NONBLOCK\\) = ${fd}$`),
      new RegExp(`^VFIO_DEVICE_BIND_IOMMUFD\\(${fd}, iommufd ${fd}\\) = devid \\d+$`),
      /^VFIO_DEVICE_GET_INFO\(fd \d+\) = \{flags: RESET\|PCI, num_regions: 9, num_irqs: 5\}$/,
      /^VFIO_DEVICE_GET_REGION_INFO\(fd \d+, bar0\) = \{size: 0x\w+, offset: 0x0, flags: .*\} \(1 of 9\)$/,
      /^VFIO_DEVICE_GET_IRQ_INFO\(fd \d+, msix\) = \{count: \d+, flags: EVENTFD/,
      /^IOMMU_IOAS_ALLOC\(fd \d+\) = ioas \d+$/,
      /^VFIO_DEVICE_ATTACH_IOMMUFD_PT\(fd \d+, pt_id \d+\) = pt_id \d+$/,
      /^IOMMU_IOAS_MAP(?:_FILE)?\(fd \d+, ioas \d+, FIXED_IOVA\|WRITEABLE\|READABLE, iova 0x10000, 0x1000 bytes, memory \d+\+0x0\) = iova 0x10000$/,
      /^IOMMU_IOAS_UNMAP\(fd \d+, ioas \d+, iova 0x10000, 0x1000 bytes\) = 0x1000 bytes$/,
      /^VFIO_DEVICE_SET_IRQS\(fd \d+, msix, DATA_EVENTFD\|ACTION_TRIGGER, start 0, \[fd \d+, fd \d+\]\) = 0$/,
      /^VFIO_DEVICE_SET_IRQS\(fd \d+, msix, DATA_NONE\|ACTION_TRIGGER, start 0, count 0\) = 0$/,
      /^VFIO_DEVICE_RESET\(fd \d+\) = 0$/,
      /^mmap\(fd \d+, bar0\+0x0, 0x\w+ bytes\) = mapping \d+$/,
      /^munmap\(mapping \d+\) = 0$/,
      /^VFIO_DEVICE_DETACH_IOMMUFD_PT\(fd \d+\) = 0$/,
      /^IOMMU_DESTROY\(fd \d+, id \d+\) = 0$/,
      /^close\(fd \d+\) = 0$/,
    ]);
    assert.doesNotMatch(lines.join('\n'), /could not tell/);
  });

  it('tells of registers what was read and written, where that is asked for', async () => {
    const lines = await linesOf(async () => {
      await using device = await VfioDevice.open(lab.edu, { backend: 'cdev' });
      assert.equal(device.region('bar0').read32(0), 0x010000ed);
      const mapped = device.region('bar0').map();
      mapped.write32(4, 0x12345678);
      assert.equal(mapped.read32(4), 0xedcba987);
    }, ['vfio-access']);
    assert.deepEqual(
      lines.map((line) => line.replace(/fd \d+|mapping \d+/, 'IT')),
      [
        ...lines.filter((line) => line.includes('config')),
        'pread(IT, bar0+0x0) = 0x010000ed',
        'write32(IT+0x4, 0x12345678) = 0',
        'read32(IT+0x4) = 0xedcba987',
      ],
    );
  });

  it('has the reason of a failure in the errno that the kernel answered', async () => {
    await using held = await VfioDevice.open(lab.edu, { backend: 'cdev' });
    const lines = await linesOf(async () => {
      await vfioFailure(() => VfioDevice.open(held.device, { backend: 'cdev' }), 'EINVAL');
    });
    assertInOrder(lines, [/^VFIO_DEVICE_BIND_IOMMUFD\(.*\) = EINVAL \(invalid argument\)$/]);
  });
});

describeLab('figures', ['nvme0'], (lab) => {
  it('are what there is on a real device, also of what goes with it', async () => {
    using figures = countFigures();
    const iommufd = Iommufd.open();
    const device = await VfioDevice.open(lab.nvme0, { iommufd });
    const ioas = iommufd.createIoas();
    await device.attach(ioas);
    const buffer = DmaBuffer.allocateSync(16384);
    const first = ioas.mapSync(buffer);
    const second = await ioas.map(buffer, { length: 4096 });
    await device.interrupt('msix').enable(2);
    await device.reset();
    const some = { opens: 1, openDevices: 1, resets: 1, maps: 2, enabledInterrupts: 1 };
    assert.deepEqual(figures.read(), { ...some, unmaps: 0, mappedBytes: 20480, errors: {} });
    first.unmapSync();
    await vfioFailure(() => ioas.map(buffer, { iova: second.iova, length: 4096 }), 'EEXIST');
    const errors = { EEXIST: 1 };
    assert.deepEqual(figures.read(), { ...some, unmaps: 1, mappedBytes: 4096, errors });
    await device.close();
    await iommufd.close();
    buffer.disposeSync();
    const none = { openDevices: 0, mappedBytes: 0, enabledInterrupts: 0 };
    assert.deepEqual({ ...figures.read(), unmaps: 0 }, { ...some, unmaps: 0, errors, ...none });
  });
});
