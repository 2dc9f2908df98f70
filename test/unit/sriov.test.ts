import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { sriovText } from '../../lib/cli/sriov.ts';
import {
  describeSriov,
  describeSriovSync,
  type PhysicalFunction,
  planVfs,
  planVfsSync,
  setVfs,
  type SetVfsOptions,
  setVfsSync,
  type VfsChange,
} from '../../lib/index.ts';
import { vfio } from '../support/cli.ts';
import { explainedFailure, failure } from '../support/errors.ts';
import { type FakeSriov, fakeSriov, pf, vfAddress, withKernel } from '../support/fake_sriov.ts';

const { EBUSY, EINVAL, ENOENT, ENOMEM } = constants.errno;

const addresses = ({ vfs }: PhysicalFunction): string[] => vfs.map(({ address }) => address);

/** Both forms of the call, each on a machine of its own. */
const forms: [
  string,
  (machine: FakeSriov, count: number, options?: SetVfsOptions) => Promise<VfsChange>,
][] = [
  [
    'setVfs',
    (machine, count, options) =>
      withKernel(machine, () => setVfs(pf, count, { ...machine.roots, ...options })),
  ],
  [
    'setVfsSync',
    (machine, count, options) =>
      withKernel(machine, () => setVfsSync(pf, count, { ...machine.roots, ...options })),
  ],
];

/** A virtual function whose network interface is up. */
function putInterface(machine: FakeSriov, index: number, operstate: string): void {
  const link = `../../devices/pci0000:3b/${vfAddress(index)}/net/eth5`;
  machine.put({
    'class/net/eth5': { pointsTo: link },
    [`devices/pci0000:3b/${vfAddress(index)}/net/eth5/operstate`]: `${operstate}\n`,
  });
}

describe('describeSriov', () => {
  it('says what a physical function has', async () => {
    const machine = fakeSriov(2);
    const found = await describeSriov(pf, machine.roots);
    assert.deepEqual(found, describeSriovSync(pf, machine.roots));
    const { sysfsPath, vfs, holding, ...facts } = found;
    assert.ok(sysfsPath.endsWith(`/bus/pci/devices/${pf}`));
    assert.deepEqual(facts, {
      ...{ address: pf, driver: 'nvme', iommuGroup: 11 },
      ...{ numVfs: 2, totalVfs: 4, driversAutoprobe: true },
    });
    assert.deepEqual(holding, { holders: [], hidden: 0, searched: true });
    const none = { driver: null, cdev: null, needs: [], unseen: [] };
    assert.deepEqual(vfs, [
      { index: 0, address: vfAddress(0), iommuGroup: 20, ...none },
      { index: 1, address: vfAddress(1), iommuGroup: 21, ...none },
    ]);
  });

  it('says what is in use', async () => {
    const machine = fakeSriov(2);
    putInterface(machine, 1, 'up');
    const { vfs } = await describeSriov(pf, machine.roots);
    assert.deepEqual(
      vfs.map(({ needs }) => needs.map(({ kind, text }) => [kind, text])),
      [[], [['network', 'eth5 is up']]],
    );
  });

  it('refuses what is no physical function, and names that of a virtual one', async () => {
    const { roots } = fakeSriov(1);
    const plain = await explainedFailure(
      () => describeSriov('0000:00:02.0', roots),
      'ERR_VFIO_UNSUPPORTED',
    );
    assert.deepEqual([plain.reason, plain.certainty], ['no-sriov', 'certain']);
    assert.match(plain.message, /is no physical function of SR-IOV: the device has no SR-IOV/);
    const virtual = await explainedFailure(
      () => setVfs(vfAddress(0), 1, roots),
      'ERR_VFIO_UNSUPPORTED',
    );
    assert.match(virtual.message, /it is a virtual function of 0000:3b:00\.0/);
    await explainedFailure(() => describeSriov('0000:ff:00.0', roots), 'ERR_VFIO_NO_DEVICE');
  });
});

for (const [name, set] of forms) {
  describe(name, () => {
    it('makes, counts, changes and removes', async () => {
      const machine = fakeSriov(0);
      const { after: four, steps } = await set(machine, 4);
      assert.deepEqual([four.numVfs, addresses(four).length], [4, 4]);
      assert.deepEqual(
        steps.map(({ kind, text }) => [kind, text]),
        [['make', '4']],
      );
      const { after: two, before } = await set(machine, 2);
      assert.deepEqual([before.numVfs, addresses(two)], [4, [vfAddress(0), vfAddress(1)]]);
      const none = await set(machine, 0);
      assert.deepEqual([none.after.numVfs, none.after.vfs], [0, []]);
      assert.deepEqual(machine.written(), [
        ...['sriov_numvfs=4', 'sriov_numvfs=0', 'sriov_numvfs=2', 'sriov_numvfs=0'],
      ]);
    });

    it('writes nothing where all is so already', async () => {
      const machine = fakeSriov(2);
      const { steps, after } = await set(machine, 2, { probe: true });
      assert.deepEqual([steps, after.numVfs, machine.written()], [[], 2, []]);
    });

    it('keeps new ones from drivers, before it makes them', async () => {
      const machine = fakeSriov(1);
      const { after } = await set(machine, 3, { probe: false });
      assert.equal(after.driversAutoprobe, false);
      assert.deepEqual(machine.written(), [
        ...['sriov_numvfs=0', 'sriov_drivers_autoprobe=0', 'sriov_numvfs=3'],
      ]);
      assert.equal((await set(machine, 3, { probe: true })).after.driversAutoprobe, true);
    });

    it('makes as many as before, offered as before, where the new ones are refused', async () => {
      const machine = fakeSriov(4);
      machine.refuse('2', { errno: -ENOMEM, code: 'ENOMEM' });
      const error = await explainedFailure(() => set(machine, 2, { probe: false }), 'ENOMEM');
      assert.deepEqual([error.reason, error.certainty], ['vfs-refused', 'likely']);
      assert.match(error.message, /the driver nvme does not make 2 of them/);
      assert.equal(machine.read('sriov_numvfs'), '4');
      assert.equal(machine.read('sriov_drivers_autoprobe'), '1');
      assert.deepEqual(machine.written(), [
        ...['sriov_numvfs=0', 'sriov_drivers_autoprobe=0', 'sriov_numvfs=2'],
        ...['sriov_drivers_autoprobe=1', 'sriov_numvfs=4'],
      ]);
    });

    it('tells both errors where making them again fails as well', async () => {
      const machine = fakeSriov(4);
      machine.refuse('2', { errno: -ENOMEM, code: 'ENOMEM' });
      machine.refuse('4', { errno: -EINVAL, code: 'EINVAL' });
      await assert.rejects(
        () => set(machine, 2),
        (error) => {
          assert.ok(error instanceof AggregateError);
          const codes = error.errors.map((each: { code: string }) => each.code);
          assert.deepEqual(codes, ['ENOMEM', 'EINVAL']);
          return true;
        },
      );
    });

    it('says so where sysfs shows fewer afterwards, and makes none', async () => {
      const machine = fakeSriov(0);
      writeFileSync(join(machine.roots.sysfsRoot ?? '', '../fewer'), '');
      const error = await failure(() => set(machine, 3), 'ERR_VFIO_NOT_TAKEN');
      assert.match(error.message, /was to have 3 virtual functions, and sysfs shows 2/);
      assert.equal(machine.read('sriov_numvfs'), '0');
    });

    it('says that the kernel waits, and writes nothing more', async () => {
      const machine = fakeSriov(4);
      machine.wait();
      const error = await explainedFailure(
        () => set(machine, 2, { timeout: 3_000 }),
        'ERR_VFIO_TIMEOUT',
      );
      assert.equal(error.reason, 'kernel-waits');
      assert.deepEqual(
        machine.written().filter((line) => line !== 'sriov_numvfs=0'),
        [],
      );
    });

    it('removes none while one is in use, nor while that cannot be seen', async () => {
      const machine = fakeSriov(2);
      putInterface(machine, 1, 'up');
      for (const count of [0, 1, 3]) {
        const error = await explainedFailure(() => set(machine, count), 'ERR_VFIO_IN_USE');
        assert.equal(error.reason, 'vfs-in-use');
        assert.match(error.message, /nothing was changed: 0000:3b:02\.1: eth5 is up(?:\.|$)/);
      }
      // As many as there are removes none.
      await set(machine, 2);
      const hidden = fakeSriov(2);
      rmSync(`${hidden.roots.sysfsRoot ?? ''}/class`, { recursive: true });
      const unseen = await explainedFailure(() => set(hidden, 0), 'ERR_VFIO_IN_USE');
      assert.match(unseen.message, /likely not to be seen: what the host has of 0000:3b:02\.0/);
      assert.match(unseen.hint ?? '', /look as root, on the host itself/);
      assert.deepEqual(hidden.written(), []);
      assert.deepEqual(machine.written(), []);
    });

    it('refuses more than there can be, before it does anything', async () => {
      const machine = fakeSriov(1);
      for (const count of [5, 65_536, -1, 1.5]) {
        await assert.rejects(() => set(machine, count), { code: 'ERR_OUT_OF_RANGE' });
      }
      await assert.rejects(() => set(machine, 5), /from 0 to 4, as many as 0000:3b:00\.0 can have/);
      assert.deepEqual(machine.written(), []);
    });

    const refusals: [string, { errno: number; code: string }, string | null, RegExp, string][] = [
      ['no driver', { errno: -ENOENT, code: 'ENOENT' }, null, /has no driver/, 'certain'],
      [
        'vfio-pci',
        { errno: -ENOENT, code: 'ENOENT' },
        'vfio-pci',
        /enable_sriov is Y, and it is N/,
        'certain',
      ],
      [
        'a driver without',
        { errno: -ENOENT, code: 'ENOENT' },
        'e1000e',
        /the driver e1000e makes no virtual functions by sysfs/,
        'likely',
      ],
      ['another program', { errno: -EBUSY, code: 'EBUSY' }, 'nvme', /another program/, 'likely'],
    ];
    for (const [what, refused, driver, message, certainty] of refusals) {
      it(`says why the kernel refuses: ${what}`, async () => {
        const machine = fakeSriov(0, 4);
        machine.refuse('1', refused);
        machine.put({ 'module/vfio_pci/parameters/enable_sriov': 'N\n' });
        machine.setDriver(driver);
        const error = await explainedFailure(() => set(machine, 1), refused.code);
        assert.equal(error.reason, 'vfs-refused');
        assert.equal(error.certainty, certainty);
        assert.match(error.message, message);
      });
    }
  });
}

describe('planVfs', () => {
  it('says what would be done, and does nothing', async () => {
    const machine = fakeSriov(4);
    const options = { ...machine.roots, probe: false };
    const { before, steps } = await planVfs(pf, 2, options);
    assert.deepEqual(planVfsSync(pf, 2, options), { before, steps });
    assert.equal(before.numVfs, 4);
    assert.deepEqual(
      steps.map(({ kind, text, path }) => [kind, text, path.slice(path.lastIndexOf('/') + 1)]),
      [
        ['remove', '0', 'sriov_numvfs'],
        ['probe', '0', 'sriov_drivers_autoprobe'],
        ['make', '2', 'sriov_numvfs'],
      ],
    );
    assert.deepEqual([machine.written(), machine.read('sriov_numvfs')], [[], '4']);
  });

  it('refuses what setVfs would refuse', async () => {
    const machine = fakeSriov(2);
    putInterface(machine, 0, 'up');
    await explainedFailure(() => planVfs(pf, 0, machine.roots), 'ERR_VFIO_IN_USE');
  });
});

describe('vfio sriov', () => {
  const found: PhysicalFunction = {
    ...{ address: pf, sysfsPath: `/sys/bus/pci/devices/${pf}`, driver: 'vfio-pci', iommuGroup: 11 },
    ...{ numVfs: 2, totalVfs: 64, driversAutoprobe: false },
    holding: { holders: [{ pid: 4711, command: 'qemu' }], hidden: 0, searched: true },
    vfs: [
      {
        ...{ index: 0, address: vfAddress(0), driver: 'vfio-pci', iommuGroup: 34, cdev: 'vfio3' },
        needs: [{ kind: 'user', name: vfAddress(0), text: 'process 4711 (qemu) has it open' }],
        unseen: [],
      },
      {
        ...{ index: 1, address: vfAddress(1), driver: null, iommuGroup: null, cdev: null },
        ...{ needs: [], unseen: ['displays'] },
      },
    ],
  };

  it('prints for a person', () => {
    assert.equal(
      sriovText(found, false),
      `0000:3b:00.0
  driver       vfio-pci
  IOMMU group  11
  VFs          2 of 64
  new VFs      are not offered to the host's drivers (sriov_drivers_autoprobe)
  open by      process 4711 (qemu)

  #  ADDRESS       DRIVER    GROUP  CDEV   USED BY
  0  0000:3b:02.0  vfio-pci     34  vfio3  process 4711 (qemu) has it open
  1  0000:3b:02.1  -             -  -      not to be seen: displays`,
    );
    assert.ok(sriovText(found, true).startsWith(`\u001b[1m${pf}\u001b[22m\n`));
  });

  it('says that it could not look who has it open', () => {
    const holding = { holders: [], hidden: 0, searched: false };
    assert.match(sriovText({ ...found, holding }, false), /open by +not known: not all processes/);
  });

  const misuse: [string[], RegExp][] = [
    [['--vfs', 'four'], /--vfs must be a whole number, such as 4, not 'four'/],
    [['--vfs', '-1'], /--vfs must be a whole number, such as 4, not '-1'/],
    [['--vfs', ''], /--vfs needs a value, and was given an empty one: --vfs <count>/],
    [['--no-probe'], /--no-probe is of the virtual functions that --vfs makes/],
    [['--probe'], /vfio sriov: --probe is of the virtual functions that --vfs makes/],
    [['--dry-run'], /--dry-run says what --vfs would do: give --vfs/],
    [['--vfs', '1', '--probe', '--no-probe'], /--probe and --no-probe exclude each other/],
  ];
  for (const [argv, message] of misuse) {
    it(`refuses: vfio sriov pf ${argv.join(' ')}`, async () => {
      const { status, out, err } = await vfio(['sriov', pf, ...argv]);
      assert.deepEqual([status, out], [2, '']);
      assert.match(err, message);
    });
  }
});
