import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { it } from 'mocha';
import {
  closeDevices,
  listDevices,
  openDevices,
  VfioDevice,
  type AddressSpace,
} from '../../lib/index.ts';
import { backend, openHost, type TestHost } from '../support/backend.ts';
import { describeLab } from '../support/devices.ts';
import { failure } from '../support/errors.ts';
import { isLinux } from '../support/linux.ts';
import { NvmeAdmin } from '../support/nvme.ts';
import { startPhysical } from '../support/nvme_vfs.ts';
import { skip } from '../support/skip.ts';

const token = '8699b0f6-5c57-4d4e-a371-4f0e0d3b5f1c';
const other = 'a2b5e27e-4c70-4b33-9a02-1f6a8ce0ab17';
const page = 4096;
const iova = 0x100000n;

/** By cdev tokens are checked since 6.17, by group ever since there are any. */
const checks = backend !== 'cdev' || isLinux(6, 17);

/** A function that is open, and where its DMA goes. */
interface Function {
  device: VfioDevice;
  space: AddressSpace;
  iova: bigint;
}

describeLab('virtual functions', ['nvme-sriov'], (lab) => {
  const spec = lab['nvme-sriov'];

  /** Makes four, whose physical function has the token. */
  async function make(
    body: (pf: VfioDevice, vfs: string[], host: TestHost) => Promise<void>,
  ): Promise<void> {
    const count = `/sys/bus/pci/devices/${spec.address}/sriov_numvfs`;
    await using host = openHost();
    await using pf = await VfioDevice.open(spec, host.options);
    writeFileSync(count, '4');
    try {
      await pf.feature.setVfToken(token);
      const listed = (await listDevices()).find(({ address }) => address === spec.address);
      const vfs = listed?.virtfns ?? [];
      assert.equal(vfs.length, 4);
      await body(pf, vfs, host);
    } finally {
      writeFileSync(count, '0');
    }
  }

  /** Attaches and starts each, and stops all of them after `body`. */
  async function startAll(
    functions: readonly Function[],
    body: (admins: NvmeAdmin[]) => Promise<void>,
  ): Promise<void> {
    const admins: NvmeAdmin[] = [];
    try {
      for (const { device, space, iova: place } of functions) {
        await device.attach(space);
        admins.push(await NvmeAdmin.start(device, space, place));
      }
      await body(admins);
    } finally {
      for (const admin of admins) admin[Symbol.dispose]();
    }
  }

  it('are opened by their token, or the kernel is said not to check it', () =>
    make(async (_pf, [first = ''], { options }) => {
      const codes: unknown[] = [];
      const note = (warning: Error & { code?: string }): unknown => codes.push(warning.code);
      process.on('warning', note);
      await (await VfioDevice.open(first, { ...options, vfToken: token })).close();
      VfioDevice.openSync(first, { ...options, vfToken: token }).closeSync();
      await turn();
      process.off('warning', note);
      if (checks) {
        assert.deepEqual(codes, []);
        await failure(() => VfioDevice.open(first, options), 'EACCES');
        const wrong = { ...options, vfToken: other };
        await failure(() => VfioDevice.open(first, wrong), 'EACCES');
        await failure(() => VfioDevice.openSync(first, wrong), 'EACCES');
      } else {
        const code = 'VFIO_VF_TOKEN_NOT_CHECKED';
        assert.deepEqual(codes, [code, code]);
        await (await VfioDevice.open(first, options)).close();
      }
    }));

  it('keep their physical function to who has the token, while one is open', function () {
    // On 6.12 they are gone when closing it resets it, until they are made again: then closing one
    // takes a minute, in which the kernel waits for it to answer.
    if (!isLinux(7)) skip(this, 'Linux 7');
    return make(async (pf, [first = ''], { options }) => {
      const withToken = { ...options, vfToken: token };
      await using _vf = await VfioDevice.open(first, withToken);
      await pf.close();
      await failure(() => VfioDevice.open(spec, options), 'EACCES');
      await (await VfioDevice.open(spec, withToken)).close();
    });
  });

  it('are opened together, and each does DMA in an address space of its own', () =>
    make(async (pf, vfs, ofPhysical) => {
      const space = ofPhysical.createIoas(pf);
      using admin = await startPhysical(pf, space, vfs.length);
      const hosts = vfs.map(openHost);
      const open = async (vf: string, at: number): Promise<VfioDevice> =>
        VfioDevice.open(vf, { ...hosts[at]?.options, vfToken: token });
      const devices = await Promise.all(vfs.map(open));
      // The same address in each: only the IOMMU keeps them apart.
      const functions = devices.map((device, at) => {
        return { device, space: hosts[at]?.createIoas(device) ?? space, iova };
      });
      try {
        await startAll(functions, async (admins) => {
          const found = await Promise.all(admins.map((each) => each.identify()));
          assert.deepEqual(
            found.map(({ id }) => id),
            [1, 2, 3, 4],
          );
          // What the last one wrote is not what the others have.
          assert.equal(new Set(admins.map(({ data }) => data.readUInt16LE(78))).size, 4);
        });
      } finally {
        await closeDevices(devices);
        for (const host of hosts) await host[Symbol.asyncDispose]();
      }
      assert.deepEqual(await admin.identify(), { serial: 'nvme-sriov', id: 0 });
    }));

  it('do DMA in an address space that they have in common', () =>
    make(async (pf, vfs, host) => {
      const space = host.createIoas(pf);
      using admin = await startPhysical(pf, space, vfs.length);
      const devices = await openDevices(vfs, { ...host.options, vfToken: token });
      const functions = devices.map((device, at) => {
        return { device, space, iova: iova + BigInt((at + 1) * 16 * page) };
      });
      try {
        await startAll(functions, async (admins) => {
          const all = [admin, ...admins];
          const found = await Promise.all(all.map((each) => each.identify()));
          assert.deepEqual(
            found,
            all.map((_, id) => ({ serial: 'nvme-sriov', id })),
          );
        });
      } finally {
        await closeDevices(devices);
      }
    }));
});
