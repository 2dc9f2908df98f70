import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import type { RegionInfo } from '../../lib/index.ts';
import { msixTable } from '../../lib/pci/capabilities.ts';
import { mappableAreas, readOnlyPart, whyNotMappable } from '../../lib/region/mappable.ts';
import { failure } from '../support/errors.ts';
import { fileRegion, regionInfo } from '../support/file_region.ts';
import { put } from '../support/kernel_bytes.ts';

const page = 0x1000;
const facts = { isIoPorts: false, table: undefined, pageSize: page };

function sparse(areas: { offset: number; size: number }[]): RegionInfo {
  return regionInfo({ size: 0x10_0000, capabilities: [{ kind: 'sparse-mmap', areas }] });
}

/** Areas of whole pages that do not overlap, as a kernel lists them, some of them empty. */
const areaLists = fc
  .array(fc.record({ gap: fc.nat(4), pages: fc.nat(4) }), { maxLength: 8 })
  .map((parts) => {
    let end = 0;
    return parts.map(({ gap, pages }) => {
      const offset = end + gap * page;
      end = offset + pages * page;
      return { offset, size: pages * page };
    });
  });
const wanted = fc.record({ offset: fc.nat(0x40000), size: fc.integer({ min: 1, max: 0x8000 }) });

describe('what of a region may be mapped', () => {
  it('is, with a sparse-mmap capability, what one of its areas holds, and nothing else', () => {
    fc.assert(
      fc.property(areaLists, wanted, (areas, area) => {
        const isAllowed = areas.some(
          ({ offset, size }) =>
            area.offset >= offset && area.offset + area.size <= offset + size && size > 0,
        );
        const why = whyNotMappable(sparse(areas), area, facts);
        assert.equal(why === undefined, isAllowed, why);
      }),
      { numRuns: 2000 },
    );
  });

  it('is never a byte of an MSI-X table’s page that the kernel keeps, always where it does not', () => {
    const tables = fc.record({ start: fc.nat(0x3000), vectors: fc.integer({ min: 1, max: 2048 }) });
    fc.assert(
      fc.property(tables, wanted, ({ start, vectors }, area) => {
        const table = { bar: 0, start, end: start + vectors * 16 };
        const kept = regionInfo({ size: 0x10_0000 });
        const pages = (from: number, to: number): [number, number] => [
          Math.floor(from / page),
          Math.ceil(to / page),
        ];
        const [first, end] = pages(area.offset, area.offset + area.size);
        const [tableFirst, tableEnd] = pages(table.start, table.end);
        const meets = first < tableEnd && tableFirst < end;
        const why = whyNotMappable(kept, area, { ...facts, table });
        assert.equal(why !== undefined, meets);
        const open = regionInfo({ size: 0x10_0000, capabilities: [{ kind: 'msix-mappable' }] });
        assert.equal(whyNotMappable(open, area, { ...facts, table }), undefined);
      }),
      { numRuns: 2000 },
    );
  });

  it('is read-only where the MSI-X table is, to the byte', () => {
    fc.assert(
      fc.property(fc.nat(0x2000), wanted, fc.nat(0x10000), (start, area, at) => {
        fc.pre(at < area.size);
        const table = { bar: 0, start, end: start + 0x800 };
        const part = readOnlyPart(regionInfo(), area, table);
        const isIn = area.offset + at >= table.start && area.offset + at < table.end;
        assert.equal(at >= part.start && at < part.end, isIn);
      }),
      { numRuns: 2000 },
    );
  });

  it('is all of it without the capability, and nothing without the flag', () => {
    assert.deepEqual(mappableAreas(regionInfo()), [{ offset: 0, size: 0x100 }]);
    const area = { offset: 0, size: 0x100 };
    assert.equal(whyNotMappable(regionInfo(), area, facts), undefined);
    assert.match(
      whyNotMappable(regionInfo({ flags: ['read'] }), area, facts) ?? '',
      /lets nothing/,
    );
    const ports = { ...facts, isIoPorts: true };
    assert.match(whyNotMappable(regionInfo({ flags: [] }), area, ports) ?? '', /I\/O ports/);
  });

  it('is mapped by default where it is one area; where there are more, they are named', async () => {
    const areas = [{ offset: 0x1000, size: 0x1000 }];
    const one = { size: 0x4000, capabilities: [{ kind: 'sparse-mmap' as const, areas }] };
    using file = fileRegion(new Uint8Array(0), one);
    using mapped = file.region.map();
    assert.deepEqual([mapped.offset, mapped.size], [0x1000, 0x1000]);
    await failure(() => file.region.map({ offset: 0 }), 'ERR_VFIO_NOT_MAPPABLE');
    areas.push({ offset: 0x3000, size: 0x1000 });
    const error = await failure(() => file.region.map(), 'ERR_VFIO_NOT_MAPPABLE');
    assert.match(error.message, /only these parts be mapped: 0x1000\+0x1000, 0x3000\+0x1000/);
    using last = file.region.map({ offset: 0x3000 });
    assert.equal(last.size, 0x1000);
  });
});

describe('msixTable', () => {
  const config = put(new Uint8Array(256), {
    u16: { 6: 0x10, 0x34: 0x40, 0x40: 0x11, 0x42: 64 },
    u32: { 0x44: 0x2003 },
  });

  it('is where the capability says', () => {
    assert.deepEqual(msixTable(config), { bar: 3, start: 0x2000, end: 0x2000 + 65 * 16 });
  });

  it('is nowhere without one, or where it is cut off', () => {
    assert.equal(msixTable(new Uint8Array(256)), undefined);
    assert.equal(msixTable(config.subarray(0, 0x48)), undefined);
    assert.equal(msixTable(new Uint8Array(0)), undefined);
  });
});
