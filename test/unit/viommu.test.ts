import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import { type Binding, binding, type NativeFd } from '../../lib/core/binding.ts';
import { OwnedFd } from '../../lib/core/owned_fd.ts';
import { type HwptData, Iommufd, type Viommu } from '../../lib/index.ts';
import { decodeVevents } from '../../lib/iommu/vevent_queue.ts';
import type { Hwpt } from '../../lib/iommu/hwpt.ts';
import { Ioas } from '../../lib/iommu/ioas.ts';
import { readHardwareInfo } from '../../lib/iommu/hardware_info.ts';
import { failure, vfioFailure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { put } from '../support/kernel_bytes.ts';
import { tree } from '../support/tree.ts';

// What the kernel would get for IOMMUs that the lab has none of, and what is made of its answers.
// test/lab/mock.test.ts has the same against the kernel's mock IOMMU.

const device = { devId: 5 };
const hex = (bytes: unknown): string => Buffer.from(bytes as Uint8Array).toString('hex');

describe('nested page tables and vIOMMUs', () => {
  const calls: [name: string, ...args: unknown[]][] = [];
  let nextId = 9;
  let answers: Partial<Record<string, unknown>> = {};

  const noting = (name: string, answer: () => unknown): Record<string, unknown> => {
    const note = (_fd: NativeFd, ...args: unknown[]): unknown => {
      calls.push([name, ...args]);
      return name in answers ? answers[name] : answer();
    };
    return {
      [name]: (fd: NativeFd, ...args: unknown[]) => Promise.resolve(note(fd, ...args)),
      [`${name}Sync`]: note,
    };
  };
  const id = (): number => nextId++;
  const fakes = {
    ...noting('hwptAlloc', id),
    ...noting('hwptInvalidate', () => Uint32Array.of(0, 2)),
    ...noting('viommuAlloc', () => Uint8Array.of(id(), 0, 0, 0, ...new Uint8Array(16).fill(7))),
    ...noting('vdeviceAlloc', id),
    ...noting('hwQueueAlloc', id),
    ...noting('destroy', () => 0),
  } as Partial<Binding>;

  async function made(body: (parent: Hwpt, ioas: Ioas) => Promise<void>): Promise<void> {
    calls.length = 0;
    nextId = 9;
    answers = {};
    const fd = OwnedFd.open('/dev/null', 'the fake iommufd');
    await withBinding(fakes, async () => {
      const ioas = Ioas.adopt(Iommufd.adopt(fd).parent, 3);
      await body(await ioas.createHwpt(device, { nestParent: true, pasid: true }), ioas);
    });
    fd.closeSync();
  }

  const last = (): unknown[] => calls.at(-1)?.slice(1) ?? [];

  it('are made of the structs of their IOMMU', () =>
    made(async (parent, ioas) => {
      assert.deepEqual(last(), [5, 3, 1 | 8, 0, 0, new Uint8Array(0)]);
      const cases: [data: HwptData, type: number, bytes: string][] = [
        [
          { type: 'vtd-s1', pgtblAddr: 0x1234_5000n, addrWidth: 48, sre: true, wpe: true },
          1,
          '0500000000000000' + '0050341200000000' + '3000000000000000',
        ],
        [
          { type: 'vtd-s1', pgtblAddr: 0n, addrWidth: 57, eafe: true, sre: false },
          1,
          '0200000000000000' + '0000000000000000' + '3900000000000000',
        ],
        [
          { type: 'arm-smmuv3', ste: [0x0102030405060708n, 1n] },
          2,
          '0807060504030201' + '0100000000000000',
        ],
        [
          { type: 'amd-guest', dte: [1n, 2n, 3n, 4n] },
          3,
          hex(
            Uint8Array.from([
              1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0,
              0, 0, 0,
            ]),
          ),
        ],
        [{ type: 0xdead, data: Uint8Array.of(1, 2, 3, 4) }, 0xdead, '01020304'],
      ];
      for (const [data, type, bytes] of cases) {
        const nested = await parent.createNested(device, data, { pasid: true });
        const [, of, flags, queue, dataType, given] = last();
        assert.deepEqual([of, flags, queue, dataType, hex(given)], [9, 8, 0, type, bytes]);
        assert.equal(nested.ioas, ioas);
        await nested.close();
      }
      parent.createNestedSync(device, { type: 1, data: Uint8Array.of(1) }).closeSync();
      const viommu = await parent.createViommu(device, { type: 'arm-smmuv3' });
      await viommu.createNested(device, { type: 7, data: Uint8Array.of(1) });
      assert.equal(last()[1], viommu.id);
      await ioas.createHwpt(device, { data: { type: 7, data: Uint8Array.of(1) } });
      assert.deepEqual(last(), [5, 3, 0, 0, 7, Uint8Array.of(1)]);
    }));

  it('are invalidated entry by entry, and say how far the kernel came', () =>
    made(async (parent) => {
      const nested = await parent.createNested(device, { type: 1, data: Uint8Array.of(1) });
      const vtd = {
        type: 'vtd-s1',
        entries: [
          { addr: 0x1000n, npages: 2n, leaf: true },
          { addr: 0n, npages: 2n ** 64n - 1n },
        ],
      } as const;
      assert.equal(await nested.invalidate(vtd), 2);
      const [of, type, length, bytes] = last();
      assert.deepEqual([of, type, length], [nested.id, 0, 24]);
      assert.equal(
        hex(bytes),
        '0010000000000000' +
          '0200000000000000' +
          '0100000000000000' +
          '0000000000000000' +
          'ffffffffffffffff' +
          '0000000000000000',
      );
      const viommu = await parent.createViommu(device, { type: 'arm-smmuv3' });
      viommu.invalidateSync({ type: 'arm-smmuv3', entries: [[1n, 2n]] });
      assert.deepEqual(last().slice(0, 3), [viommu.id, 1, 16]);
      nested.invalidateSync({
        type: 0xdeadbeef,
        entries: [Uint8Array.of(1, 2), Uint8Array.of(3, 4)],
      });
      assert.deepEqual(last(), [nested.id, 0xdeadbeef, 2, Uint8Array.of(1, 2, 3, 4)]);
      nested.invalidateSync({ type: 0xdeadbeef, entries: [] });
      assert.deepEqual(last(), [nested.id, 0xdeadbeef, 1, new Uint8Array(0)]);

      answers = { hwptInvalidate: Uint32Array.of(22, 1) };
      const error = await vfioFailure(() => nested.invalidate(vtd), 'EINVAL');
      assert.equal(error.reason, 'invalidated-in-part');
      assert.deepEqual(error.facts, { handled: 1, entries: 2 });
      assert.match(
        error.message,
        /IOMMU_HWPT_INVALIDATE.*of 2 entries 1 was handled, and entry 1 was/,
      );
      answers = { hwptInvalidate: Uint32Array.of(95, 0) };
      const none = await vfioFailure(
        () => nested.invalidateSync({ type: 9, entries: [] }),
        'ENOTSUP',
      );
      assert.match(none.message, /of 0 entries 0 were handled, and the request was refused/);
    }));

  it('have devices, queues and data of their kind', () =>
    made(async (parent) => {
      const tegra = await parent.createViommu(device, { type: 'tegra241-cmdqv' });
      assert.deepEqual(last(), [5, 9, 2, new Uint8Array(16)]);
      assert.deepEqual(tegra.data, new Uint8Array(16).fill(7));
      const own = parent.createViommuSync(device, { type: 77, data: Uint8Array.of(1, 2) });
      assert.deepEqual(last(), [5, 9, 77, Uint8Array.of(1, 2)]);
      await failure(() => own.map(), 'ERR_INVALID_ARG_TYPE');
      const vdevice = await tegra.createVdevice(device, 0x10n);
      assert.deepEqual(last(), [tegra.id, 5, 0x10n]);
      assert.equal(vdevice.virtId, 0x10n);
      const queue = await tegra.createHwQueue({
        type: 'tegra241-cmdqv',
        index: 1,
        nestingParentIova: 0x10000n,
        length: 0x2000n,
      });
      assert.deepEqual(last(), [tegra.id, 1, 1, 0x10000n, 0x2000n]);
      assert.equal(queue.index, 1);

      answers = { destroy: -16 };
      const error = await vfioFailure(() => tegra.close(), 'EBUSY');
      assert.deepEqual(error.facts, {
        what: `vIOMMU ${tegra.id}`,
        devices: [],
        pageTables: [],
        objects: [`vDEVICE ${vdevice.id}`, `HW queue ${queue.id}`],
      });
      assert.match(error.message, /is in use: vDEVICE \d+ and HW queue \d+ made of it$/);
      answers = { destroy: -2 };
      await failure(() => queue.close(), 'ENOENT');
      // Its device was closed before it, and took it along.
      await vdevice.close();
      answers = {};
      await queue.close();
      tegra.closeSync();
      await failure(() => tegra.id, 'ERR_VFIO_CLOSED');
      await failure(() => tegra.createVdevice(device, 1n), 'ERR_VFIO_CLOSED');
    }));

  it('tell their events, and how many of them were lost', () =>
    made(async (parent) => {
      const viommu: Viommu = await parent.createViommu(device, { type: 'arm-smmuv3' });
      const event = (sequence: number, data?: number[]): number[] => {
        const bytes = new Uint8Array(8);
        put(bytes, { u32: { 0: data ? 0 : 1, 4: sequence } });
        return [...bytes, ...(data ?? [])];
      };
      const record = [...new Uint8Array(32).keys()];
      const file = `${tree({ queue: '' })}/queue`;
      const given: unknown[] = [];
      const veventqAlloc = (_fd: NativeFd, ...args: unknown[]): number => {
        given.push(...args.slice(0, 3));
        (args[3] as Uint32Array)[0] = 40;
        return binding().open(file, 2) ?? -1;
      };
      const { writeFileSync } = await import('node:fs');
      writeFileSync(file, Uint8Array.from([...event(0, record), ...event(4, record), ...event(5)]));
      const queue = await withBinding({ ...fakes, veventqAlloc }, () =>
        viommu.createVeventQueue({ type: 'arm-smmuv3', depth: 4 }),
      );
      assert.deepEqual([queue.id, ...given], [40, viommu.id, 1, 4]);
      const data = Uint8Array.from(record);
      assert.deepEqual(queue.read(), [
        { sequence: 0, lost: 0, data },
        { sequence: 4, lost: 3, data },
        { sequence: 5, lost: 1, data: undefined },
      ]);
      assert.equal(readFileSync(file).length, 88);
      await queue.close();
      assert.deepEqual(last(), [40]);
      await failure(() => queue.read(), 'ERR_VFIO_CLOSED');
    }));
});

describe('events of a vIOMMU', () => {
  const bytesOf = (...events: [flags: number, sequence: number, ...data: number[]][]): Uint8Array =>
    Uint8Array.from(
      events.flatMap(([flags, sequence, ...data]) => {
        const bytes = new Uint8Array(8);
        put(bytes, { u32: { 0: flags, 4: sequence } });
        return [...bytes, ...data];
      }),
    );

  it('are counted on over the end of their numbers', () => {
    const bytes = bytesOf([0, 0x7fff_ffff, 1], [0, 1, 2]);
    const { events, next } = decodeVevents(bytes, 1, 0x7fff_fffe);
    assert.deepEqual(
      events.map(({ lost }) => lost),
      [1, 1],
    );
    assert.equal(next, 2);
  });

  it('that were lost and told once are not told again', () => {
    const { events, next } = decodeVevents(bytesOf([1, 6]), 4, 3);
    assert.deepEqual(events, [{ sequence: 6, lost: 4, data: undefined }]);
    assert.equal(next, 7);
    // The next read begins with what comes after them.
    assert.equal(decodeVevents(bytesOf([0, 7, 1, 2, 3, 4]), 4, next).events[0]?.lost, 0);
    assert.deepEqual(decodeVevents(bytesOf([0, 7, 1, 2]), 4, 7).events, [], 'half an event');
  });
});

describe('the hardware’s information, decoded', () => {
  async function read(
    type: number,
    fill: Parameters<typeof put>[1],
    length: number,
    asked?: 'tegra241-cmdqv',
  ): Promise<ReturnType<typeof readHardwareInfo>> {
    const fd = OwnedFd.open('/dev/null', 'the fake iommufd');
    const getHwInfo: Binding['getHwInfo'] = (_fd, _device, wanted, out, data) => {
      assert.equal(wanted, asked === undefined ? undefined : 3);
      out.set([0xen, BigInt(type), 5n]);
      put(new Uint8Array(data.buffer), fill);
      return length;
    };
    try {
      return await withBinding({ getHwInfo }, () => readHardwareInfo(fd, 5, asked));
    } finally {
      fd.closeSync();
    }
  }

  it('is what VT-d says in its registers', async () => {
    const cap = (1n << 60n) | (1n << 56n) | (47n << 16n) | (0b00110n << 8n);
    const ecap = [26n, 29n, 31n, 34n, 40n, 43n, 45n, 46n, 47n].reduce(
      (all, bit) => all | (1n << bit),
      19n << 35n,
    );
    const { vtd, ...info } = await read(1, { u32: { 0: 1 }, u64: { 8: cap, 16: ecap } }, 24);
    const { capReg, ecapReg, ...fields } = vtd ?? {};
    assert.deepEqual([capReg, ecapReg], [cap, ecap]);
    assert.deepEqual(fields, {
      ...{ errata772415Spr17: true, mgaw: 48, sagaw: [39, 48], fl1gp: true, fl5lp: true },
      ...{ smts: true, flts: true, slts: true, nest: true, slads: true, pasid: true, pss: 20 },
      ...{ prs: true, srs: true, eafs: true },
    });
    assert.deepEqual([info.smmuv3, info.cmdqv, info.amd], [undefined, undefined, undefined]);
    const { pasidExec, pasidPriv, atsNotSupported, dirtyTracking, maxPasids } = info;
    assert.deepEqual(
      { pasidExec, pasidPriv, atsNotSupported, dirtyTracking, maxPasids },
      {
        pasidExec: true,
        pasidPriv: true,
        atsNotSupported: true,
        dirtyTracking: false,
        maxPasids: 32,
      },
    );
  });

  it('is what an SMMUv3 says, a Tegra241’s queues, and an AMD IOMMU', async () => {
    const idr0 = (1 << 27) | (1 << 26) | (2 << 24) | (2 << 21) | (1 << 19) | (1 << 12) | (2 << 2);
    const u32 = {
      ...{ 0: 1, 8: idr0 >>> 0, 12: (20 << 6) | 32, 16: 0, 20: (2 << 11) | (1 << 10) },
      ...{ 24: 0, 28: (1 << 10) | (1 << 7) | (1 << 6) | (1 << 4), 32: 0x43b, 36: 3 },
    };
    const { smmuv3 } = await read(2, { u32 }, 40);
    assert.equal(smmuv3?.idr.length, 6);
    assert.deepEqual(
      { ...smmuv3, idr: undefined },
      {
        ...{ errataRepeatTlbiCfgi: true, idr: undefined, iidr: 0x43b, aidr: 3 },
        ...{ stLevel: 1, termModel: 1, stallModel: 2, ttEndian: 2, cd2l: true, asid16: true },
        ...{ ttf: 2, ssidSize: 20, sidSize: 32, bbml: 2, ril: true, vax: 1, ds: true },
        ...{ gran64k: true, gran16k: false, gran4k: true },
      },
    );
    const { cmdqv } = await read(3, { u32: { 4: 0x00_04_07_01 } }, 8, 'tegra241-cmdqv');
    assert.deepEqual(cmdqv, { version: 1, log2vcmdqs: 7, log2vsids: 4 });
    const efr =
      [1n, 4n, 7n, 48n, 50n].reduce((all, bit) => all | (1n << bit), 0n) |
      (1n << 12n) |
      (2n << 14n) |
      (15n << 32n);
    const { amd } = await read(4, { u64: { 0: efr, 8: 9n } }, 16);
    assert.deepEqual(amd, {
      ...{ efr, efr2: 9n, pprSup: true, gtSup: true, gaSup: true, gats: 1, glx: 2, pasMax: 15 },
      ...{ gioSup: true, ephSup: true },
    });
  });

  it('is refused where the kernel says less than its struct has', async () => {
    for (const [type, length] of [
      [1, 16],
      [2, 36],
      [3, 7],
      [4, 8],
    ] as const) {
      await assert.rejects(() => read(type, {}, length), { code: 'ERR_VFIO_BAD_ANSWER' });
    }
  });
});
