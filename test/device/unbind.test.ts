import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { it } from 'mocha';
import { VfioDevice } from '../../lib/index.ts';
import { describeLab } from '../support/devices.ts';
import { failure } from '../support/errors.ts';

const magic = 0x0100_00ed;

describeLab('a device that is unbound in the middle', ['edu', 'edu-port'], (lab) => {
  const folder = (address: string): string => `/sys/bus/pci/devices/${address}`;

  for (const name of ['edu', 'edu-port'] as const) {
    it(`gives data until it is closed, and errors after: ${name}`, async () => {
      const { address } = lab[name];
      // Otherwise the request that the kernel sends first would have it close itself.
      const options = { busMaster: true, requestEvents: false };
      const device = await VfioDevice.open(lab[name], options);
      const region = device.region('bar0');
      const bar = region.map();
      const { pci } = device;
      const polling = failure(() => bar.poll32(0, 1, 0, { timeout: 60_000 }), 'ERR_VFIO_CLOSED');
      // Waits in the kernel until the device is closed.
      const unbind = `echo ${address} > ${folder(address)}/driver/unbind`;
      const child = spawn('sh', ['-c', unbind], { stdio: ['ignore', 'ignore', 'inherit'] });
      const ended = once(child, 'exit');
      const accesses = [
        (): unknown => bar.read32(0),
        (): unknown => region.read32(0),
        (): unknown => bar.readBatch32(Uint32Array.of(0), new Uint32Array(1))[0],
        (): unknown => bar.readBlock(0, new Uint32Array(1))[0],
      ];
      // The kernel takes the link away before it waits for us.
      const isUnbinding = (): boolean => !existsSync(`${folder(address)}/driver`);
      for (let round = 0; round < 300 || !isUnbinding(); round++) {
        for (const access of accesses) assert.equal(access(), magic);
        bar.write32(4, round);
        assert.equal(bar.read32(4), ~round >>> 0);
        assert.equal(pci.command().busMaster, true);
        await setImmediate();
      }
      assert.equal(child.exitCode, null, 'the unbinding waits for us');
      await device.close();
      await polling;
      assert.deepEqual(await ended, [0, null]);
      assert.ok(!existsSync(`${folder(address)}/driver`));
      for (const access of accesses) await failure(access, 'ERR_VFIO_CLOSED');
      await failure(() => pci.readConfig(), 'ERR_VFIO_CLOSED');
      await failure(() => VfioDevice.open(lab[name]), 'ERR_VFIO_NOT_BOUND_TO_VFIO');
      writeFileSync('/sys/bus/pci/drivers_probe', address);
      await (await VfioDevice.open(lab[name])).close();
    });
  }

  it('gives data or EIO while a worker switches memory decoding', async () => {
    await using device = await VfioDevice.open(lab.edu);
    using bar = device.region('bar0').map();
    const config = device.info.regions.find(({ name }) => name === 'config');
    assert.ok(config);
    // The same descriptor's number, from another thread: COMMAND is at 4.
    const at = Number(config.offset) + 4;
    // It goes on until this thread has seen both.
    const enough = new Int32Array(new SharedArrayBuffer(4));
    const worker = new Worker(
      `const { writeSync } = require('node:fs');
       const { workerData: enough } = require('node:worker_threads');
       const write = (command) => writeSync(${device.fd}, Uint8Array.of(command, 0), 0, 2, ${at});
       for (let round = 0; round < 1000 || Atomics.load(enough, 0) === 0; round++) write(0), write(2);`,
      { eval: true, workerData: enough },
    );
    const seen = { data: 0, EIO: 0, ended: false };
    const ended = once(worker, 'exit').then(() => (seen.ended = true));
    while (!seen.ended) {
      for (let round = 0; round < 100; round++) {
        try {
          assert.equal(bar.read32(0), magic);
          seen.data++;
        } catch (error) {
          assert.equal((error as { code: string }).code, 'EIO', (error as Error).stack);
          seen.EIO++;
        }
      }
      if (seen.data > 0 && seen.EIO > 0) Atomics.store(enough, 0, 1);
      await setImmediate();
    }
    await ended;
    assert.ok(seen.data > 0 && seen.EIO > 0, JSON.stringify(seen));
    assert.equal(bar.read32(0), magic);
  });
});
