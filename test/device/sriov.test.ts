import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { setImmediate as turn } from 'node:timers/promises';
import { it } from 'mocha';
import {
  closeDevices,
  Iommufd,
  listDevices,
  openDevices,
  VfioDevice,
  type Ioas,
  type OpenDeviceOptions,
} from '../../lib/index.ts';
import { describeLab, type TestDevice } from '../support/devices.ts';
import { failure } from '../support/errors.ts';
import { NvmeAdmin } from '../support/nvme.ts';

const token = '8699b0f6-5c57-4d4e-a371-4f0e0d3b5f1c';
const other = 'a2b5e27e-4c70-4b33-9a02-1f6a8ce0ab17';
const page = 4096;
const iova = 0x100000n;

/** A way of opening devices, and whether this kernel checks tokens on it. */
interface Backend {
  options: OpenDeviceOptions;
  checks: boolean;
}

/** Where a function's queues are mapped. */
interface Place {
  ioas: Ioas;
  iova: bigint;
}

const [major = 0, minor = 0] = release().split('.').map(Number);

/** By cdev tokens are checked since 6.17. */
const backends: Record<string, Backend> = {
  cdev: { options: {}, checks: major > 6 || (major === 6 && minor >= 17) },
};

for (const [name, { options, checks }] of Object.entries(backends)) {
  describeLab(`virtual functions, by ${name}`, ['nvme-sriov'], (lab) => {
    /** Makes four, whose physical function has the token. */
    async function make(
      body: (pf: VfioDevice, vfs: string[], iommufd: Iommufd) => Promise<void>,
    ): Promise<void> {
      const spec: TestDevice = lab['nvme-sriov'];
      const count = `/sys/bus/pci/devices/${spec.address}/sriov_numvfs`;
      await using iommufd = Iommufd.open();
      await using pf = await VfioDevice.open(spec, { ...options, iommufd });
      writeFileSync(count, '4');
      try {
        await pf.feature.setVfToken(token);
        const listed = (await listDevices()).find(({ address }) => address === spec.address);
        const vfs = listed?.virtfns ?? [];
        assert.equal(vfs.length, 4);
        await body(pf, vfs, iommufd);
      } finally {
        writeFileSync(count, '0');
      }
    }

    /** Opens them together, each of which starts its controller in the address space at the place. */
    async function startAll(
      vfs: readonly string[],
      iommufd: Iommufd,
      placeOf: (at: number) => Place,
      body: (admins: NvmeAdmin[]) => Promise<void>,
    ): Promise<void> {
      const devices = await openDevices(vfs, { ...options, iommufd, vfToken: token });
      const admins: NvmeAdmin[] = [];
      try {
        for (const [at, device] of devices.entries()) {
          const { ioas, iova: place } = placeOf(at);
          await device.attach(ioas);
          admins.push(await NvmeAdmin.start(device, ioas, place));
        }
        await body(admins);
      } finally {
        for (const admin of admins) admin[Symbol.dispose]();
        await closeDevices(devices);
      }
    }

    /** Gives each function a queue pair and an interrupt of the flexible ones, and brings it online. */
    async function bringOnline(admin: NvmeAdmin, count: number): Promise<void> {
      const [primary, assign, online] = [1, 8, 9];
      const [queues, interrupts] = [0, 1];
      await admin.virtualize(0, primary, queues, 0);
      await admin.virtualize(0, primary, interrupts, 0);
      for (let controller = 1; controller <= count; controller++) {
        await admin.virtualize(controller, assign, queues, 2);
        await admin.virtualize(controller, assign, interrupts, 1);
        await admin.virtualize(controller, online);
      }
    }

    it('are opened by their token, or the kernel is said not to check it', () =>
      make(async (_pf, [first = ''], iommufd) => {
        const codes: unknown[] = [];
        const note = (warning: Error & { code?: string }): unknown => codes.push(warning.code);
        process.on('warning', note);
        await (await VfioDevice.open(first, { ...options, iommufd, vfToken: token })).close();
        VfioDevice.openSync(first, { ...options, iommufd, vfToken: token }).closeSync();
        await turn();
        process.off('warning', note);
        if (checks) {
          assert.deepEqual(codes, []);
          await failure(() => VfioDevice.open(first, { ...options, iommufd }), 'EACCES');
          const wrong = { ...options, iommufd, vfToken: other };
          await failure(() => VfioDevice.open(first, wrong), 'EACCES');
          await failure(() => VfioDevice.openSync(first, wrong), 'EACCES');
        } else {
          const code = 'VFIO_VF_TOKEN_NOT_CHECKED';
          assert.deepEqual(codes, [code, code]);
          await (await VfioDevice.open(first, { ...options, iommufd })).close();
        }
      }));

    it('keep their physical function to who has the token, while one is open', () =>
      make(async (pf, [first = ''], iommufd) => {
        const withToken = { ...options, iommufd, vfToken: token };
        await using _vf = await VfioDevice.open(first, withToken);
        await pf.close();
        if (checks) {
          await failure(() => VfioDevice.open(pf.device, { ...options, iommufd }), 'EACCES');
        }
        await (await VfioDevice.open(pf.device, withToken)).close();
      }));

    it('are opened together, and each does DMA in an address space of its own', () =>
      make(async (pf, vfs, iommufd) => {
        await using own = iommufd.createIoas();
        await pf.attach(own);
        using admin = await NvmeAdmin.start(pf, own, iova);
        assert.deepEqual(await admin.identify(), { serial: 'nvme-sriov', id: 0 });
        await bringOnline(admin, vfs.length);
        const spaces = vfs.map(() => iommufd.createIoas());
        // The same address in each: only the IOMMU keeps them apart.
        const placeOf = (at: number): Place => ({ ioas: spaces[at] ?? own, iova });
        await startAll(vfs, iommufd, placeOf, async (functions) => {
          const found = await Promise.all(functions.map((each) => each.identify()));
          assert.deepEqual(
            found.map(({ id }) => id),
            [1, 2, 3, 4],
          );
          // What the last one wrote is not what the others have.
          assert.equal(new Set(functions.map(({ data }) => data.readUInt16LE(78))).size, 4);
        });
        for (const ioas of spaces) await ioas.close();
        await pf.detach();
      }));

    it('do DMA in an address space that they have in common', () =>
      make(async (pf, vfs, iommufd) => {
        await using ioas = iommufd.createIoas();
        await pf.attach(ioas);
        using admin = await NvmeAdmin.start(pf, ioas, iova);
        await bringOnline(admin, vfs.length);
        const placeOf = (at: number): Place => ({
          ioas,
          iova: iova + BigInt((at + 1) * 16 * page),
        });
        await startAll(vfs, iommufd, placeOf, async (functions) => {
          const all = [admin, ...functions];
          const found = await Promise.all(all.map((each) => each.identify()));
          assert.deepEqual(
            found,
            all.map((_, id) => ({ serial: 'nvme-sriov', id })),
          );
        });
        await pf.detach();
      }));
  });
}
