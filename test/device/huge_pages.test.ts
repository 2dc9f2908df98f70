import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { after, before, describe, it } from 'mocha';
import { DmaBuffer, Iommufd, VfioDevice, type VfioFacts } from '../../lib/index.ts';
import { describeLab } from '../support/devices.ts';
import { vfioFailure } from '../support/errors.ts';
import { root } from '../support/root.ts';
import { skip } from '../support/skip.ts';

const MiB = 2 ** 20;
const parameter = '/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages';
const library = JSON.stringify(new URL('build-test/programs/vfio.js', root).href);

function pageSizes(): string[] {
  const smaps = readFileSync('/proc/self/smaps', 'utf8');
  const ours = smaps.split(/^(?=[\da-f]+-[\da-f]+ )/m).filter((part) => part.includes('vfio-dma'));
  return ours.map((part) => /^KernelPageSize:\s+(\d+) kB$/m.exec(part)?.[1] ?? '');
}

describeLab('huge pages', ['edu'], ({ edu }) => {
  before(function () {
    if (!existsSync(parameter)) skip(this, 'a kernel with huge pages');
    writeFileSync(parameter, '8');
  });
  after(() => {
    if (existsSync(parameter)) writeFileSync(parameter, '0');
  });

  it('are taken where there are enough, and not where there are too few', async () => {
    const huge = await DmaBuffer.allocate(3 * MiB, { hugePages: 'auto' });
    assert.deepEqual([huge.size, pageSizes()], [4 * MiB, ['2048']]);
    const ordinary = DmaBuffer.allocateSync(14 * MiB, { hugePages: 'auto' });
    assert.deepEqual(pageSizes().sort(), ['2048', '4']);
    ordinary.disposeSync();
    const refused = (): unknown => DmaBuffer.allocateSync(14 * MiB, { hugePages: '2M' });
    const error = await vfioFailure(refused, 'ENOMEM');
    const facts: VfioFacts['too-few-huge-pages'] = {
      ...{ pageSize: 2 * MiB, needed: 7, free: 6, total: 8 },
      parameter,
    };
    assert.deepEqual(
      [error.syscall, error.reason, error.facts],
      ['mmap', 'too-few-huge-pages', facts],
    );
    assert.match(error.message, /7 pages of 2 MiB are needed, and 6 of 8 are free$/);
    assert.match(error.hint ?? '', /echo 9 \| sudo tee/);
    huge.disposeSync();
  });

  it('of a file are unmapped as a whole, also where a part of one was mapped', async () => {
    const folder = '/tmp/vfio-test-hugetlbfs';
    mkdirSync(folder);
    const { stderr, status } = spawnSync('mount', ['-t', 'hugetlbfs', 'none', folder]);
    assert.equal(status, 0, String(stderr));
    const fd = openSync(`${folder}/memory`, 'w+');
    ftruncateSync(fd, 2 * MiB);
    try {
      await using iommufd = Iommufd.open();
      await using ioas = iommufd.createIoas();
      await using device = await VfioDevice.open(edu, { iommufd });
      await device.attach(ioas);
      const mapping = await ioas.map({ fd, offset: 0, length: 4096 });
      await mapping.unmap();
      assert.doesNotMatch(readFileSync('/proc/self/maps', 'utf8'), /vfio-test-hugetlbfs/);
    } finally {
      closeSync(fd);
      spawnSync('umount', ['-l', folder]);
      rmdirSync(folder);
    }
  });

  describe('of a cgroup', () => {
    const mount = '/tmp/vfio-test-cgroup';
    const group = `${mount}/limited`;

    before(function () {
      mkdirSync(mount);
      const { stderr, status } = spawnSync('mount', ['-t', 'cgroup2', 'none', mount]);
      assert.equal(status, 0, String(stderr));
      const controllers = readFileSync(`${mount}/cgroup.controllers`, 'utf8').trim().split(' ');
      if (!controllers.includes('hugetlb')) skip(this, 'the hugetlb controller of cgroups');
      writeFileSync(`${mount}/cgroup.subtree_control`, '+hugetlb');
      mkdirSync(group);
      writeFileSync(`${group}/hugetlb.2MB.max`, '0');
    });

    after(() => {
      if (existsSync(group)) rmdirSync(group);
      spawnSync('umount', [mount]);
      rmdirSync(mount);
    });

    /** Runs a program whose cgroup may have no huge page; answers what it printed. */
    function runLimited(body: string): string {
      const program = `import { DmaBuffer } from ${library}; ${body}`;
      const command = `echo $$ > ${group}/cgroup.procs && exec "$@"`;
      const node = [process.execPath, '--input-type=module', '--eval', program];
      const child = spawnSync('sh', ['-c', command, 'sh', ...node], { encoding: 'utf8' });
      assert.deepEqual([child.status, child.signal], [0, null], child.stderr);
      return child.stdout;
    }

    it('are not taken where a cgroup forbids them, and ordinary ones are', () => {
      const printed = runLimited(`
        const buffer = await DmaBuffer.allocate(${2 * MiB}, { hugePages: 'auto' });
        console.log(new Uint8Array(buffer.buffer).fill(1).length);`);
      assert.equal(printed, `${2 * MiB}\n`);
    });

    it('that a cgroup forbids are refused by the call that fills them, with the likely cause', () => {
      const printed = runLimited(`
        await DmaBuffer.allocate(${2 * MiB}, { hugePages: '2M', populate: true }).catch((error) => {
          console.log(JSON.stringify([error.message, error.reason, error.facts, error.certainty]));
        });`);
      assert.deepEqual(JSON.parse(printed), [
        'EFAULT: bad address in system call argument, madvise: likely a cgroup of this process limits its huge pages of 2 MiB',
        'hugetlb-limit',
        { size: 2 * MiB, pageSize: 2 * MiB },
        'likely',
      ]);
    });
  });
});
