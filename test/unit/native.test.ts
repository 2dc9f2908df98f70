import assert from 'node:assert/strict';
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  openSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { constants as os } from 'node:os';
import { inspect } from 'node:util';
import { describe, it } from 'mocha';
import { binding, type Binding, type NativeFd } from '../../lib/core/binding.ts';
import { unknownIoctl } from '../support/emulation.ts';
import { assertNoMore, libraryFds } from '../support/proc.ts';
import { tree } from '../support/tree.ts';

const { EISDIR, ENOENT, ENOTDIR } = os.errno;

function open(path: string): NativeFd {
  const fd = binding().open(path, constants.O_RDWR);
  assert.ok(fd !== undefined && fd > 0, `open answered ${fd}`);
  return fd as NativeFd;
}

describe('the addon', () => {
  it('opens, and answers -errno where it cannot', () => {
    assert.equal(binding().open('/no/such/file', constants.O_RDONLY), -ENOENT);
    const fd = open('/dev/null');
    assert.equal(binding().closeSync(fd), 0);
  });

  it('sets close-on-exec', () => {
    const fd = open('/dev/null');
    const number = binding().fdNumber(fd) ?? -1;
    // A descriptor that a child would inherit has no O_CLOEXEC among its flags.
    const flags =
      /flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${number}`, 'utf8'))?.[1] ?? '0';
    assert.equal(parseInt(flags, 8) & 0o2000000, 0o2000000);
    binding().closeSync(fd);
  });

  it('tells a node by fstat', () => {
    const fd = open('/dev/null');
    const stat = new Uint32Array(3);
    assert.equal(binding().fstat(fd, stat), 0);
    assert.equal((stat[0] ?? 0) & constants.S_IFMT, constants.S_IFCHR);
    assert.deepEqual([stat[1], stat[2]], [1, 3]);
    binding().closeSync(fd);
  });

  it('closes once: the number then belongs to others', () => {
    const fd = open('/dev/null');
    const number = binding().fdNumber(fd);
    assert.equal(binding().closeSync(fd), 0);
    const other = openSync('/dev/null', 'r');
    assert.equal(other, number);
    assert.equal(binding().closeSync(fd), undefined);
    assert.equal(binding().close(fd), undefined);
    assert.equal(binding().fdNumber(fd), undefined);
    assert.equal(binding().bindSync(fd, fd), undefined);
    closeSync(other); // throws EBADF had it been closed
  });

  it('closes two in one call; where one is none, neither', async () => {
    const native = binding();
    const [first, second] = [open('/dev/null'), open('/dev/null')];
    const none = (second + 1) as NativeFd;
    assert.equal(native.close(first, none), undefined);
    assert.equal(native.closeSync(none, first), undefined);
    const numbers = [first, second].map((fd) => native.fdNumber(fd) ?? -1);
    assert.ok(numbers.every((number) => existsSync(`/proc/self/fd/${number}`)));
    assert.equal(await native.close(first, second), 0);
    assert.ok(!numbers.some((number) => existsSync(`/proc/self/fd/${number}`)));
    assert.deepEqual([native.fdNumber(first), native.fdNumber(second)], [undefined, undefined]);
  });

  it('answers the kernel’s errno from every ioctl', async () => {
    const native = binding();
    const fd = open('/dev/null');
    const room = new Uint32Array(128);
    assert.equal(native.getDeviceInfo(fd, 512, room), -unknownIoctl);
    assert.equal(native.getRegionInfo(fd, 0, 512, room), -unknownIoctl);
    const results = new Int32Array(3);
    assert.equal(native.getRegionInfos(fd, 3, results, room), 0);
    assert.deepEqual([...results], [-unknownIoctl, -unknownIoctl, -unknownIoctl]);
    assert.equal(native.getIrqInfos(fd, 3, results.fill(0), room), 0);
    assert.deepEqual([...results], [-unknownIoctl, -unknownIoctl, -unknownIoctl]);
    assert.equal(native.ioasAlloc(fd), -unknownIoctl);
    assert.equal(native.bindSync(fd, fd), -unknownIoctl);
    assert.equal(native.attachSync(fd, 1), -unknownIoctl);
    assert.equal(native.detachSync(fd), -unknownIoctl);
    assert.equal(native.destroySync(fd, 1), -unknownIoctl);
    assert.equal(await native.bind(fd, fd), -unknownIoctl);
    // KVM's refusal, which comes first.
    assert.equal(await native.bind(fd, fd, undefined, fd), -8192 - unknownIoctl);
    assert.equal(await native.attach(fd, 1), -unknownIoctl);
    assert.equal(await native.detach(fd), -unknownIoctl);
    assert.equal(await native.destroy(fd, 1), -unknownIoctl);
    assert.equal(await native.close(fd), 0);
  });

  it('reads small files and folders', () => {
    const native = binding();
    const root = tree({ 'a/one': 'text\n', 'a/two': 'x'.repeat(5000), 'a/\u00e9': '' });
    assert.equal(native.readSmallFile(`${root}/a/one`), 'text');
    assert.equal(native.readSmallFile(`${root}/a/two`), 'x'.repeat(4096));
    assert.equal(native.readSmallFile(`${root}/a/three`), -ENOENT);
    assert.equal(native.readSmallFile(root), -EISDIR);
    const names = native.listFolder(`${root}/a`);
    assert.ok(Array.isArray(names));
    assert.deepEqual(names.sort(), ['one', 'two', '\u00e9']);
    assert.equal(native.listFolder(`${root}/b`), -ENOENT);
    assert.equal(native.listFolder(`${root}/a/one`), -ENOTDIR);
  });

  it('settles a thousand calls at once, each closing its own descriptor', async () => {
    const before = libraryFds();
    const native = binding();
    const results = Array.from({ length: 1000 }, async () => {
      const fd = open('/dev/null');
      const bound = native.bind(fd, fd);
      return [await native.close(fd), await bound];
    });
    for (const result of await Promise.all(results)) assert.deepEqual(result, [0, -unknownIoctl]);
    assertNoMore(libraryFds(), before);
  });

  it('waits for a change in a folder, and for the time', () => {
    const native = binding();
    const folder = tree({ a: '' });
    const watch = native.watchOpen() as NativeFd;
    assert.equal(native.watchFolder(watch, '/no/such/folder'), -ENOENT);
    assert.equal(native.watchFolder(watch, `${folder}/a`), -ENOTDIR);
    assert.ok((native.watchFolder(watch, folder) ?? -1) > 0);
    assert.equal(native.waitForChangeSync(watch, 0), 0);
    writeFileSync(`${folder}/b`, '');
    assert.equal(native.waitForChangeSync(watch, 60_000), 1);
    assert.equal(native.waitForChangeSync(watch, 1), 0, 'a change is told once');
    chmodSync(`${folder}/b`, 0o600);
    assert.equal(native.waitForChangeSync(watch, 60_000), 1);
    assert.equal(native.closeSync(watch), 0);
  });

  it('refuses every wrong argument without a system call', () => {
    const fd = open('/dev/null');
    const foreign = [undefined, null, 0, 4e9, -1, 1.5, 'x', {}, [], new Uint8Array(4), () => 0];
    const badNumbers = [undefined, -1, 1.5, NaN, 2 ** 32, '1', 1n];
    const badRooms = [undefined, new Uint32Array(3), new Uint8Array(512), new ArrayBuffer(64), []];
    const cases: [keyof Binding, unknown[]][] = [
      ...foreign.flatMap((bad): [keyof Binding, unknown[]][] => [
        ['fstat', [bad, new Uint32Array(3)]],
        ['fdNumber', [bad]],
        ['close', [bad]],
        ['closeSync', [bad]],
        ['bind', [bad, fd]],
        ['bindSync', [fd, bad]],
        ['attach', [bad, 1]],
        ['detachSync', [bad]],
        ['destroy', [bad, 1]],
        ['ioasAlloc', [bad]],
        ['getDeviceInfo', [bad, 24, new Uint32Array(128)]],
        ['watchFolder', [bad, '/']],
        ['waitForChangeSync', [bad, 1]],
        ['pread', [bad, 0, 0, 0, new Uint8Array(4)]],
        ['pwrite', [bad, 0, 0, 0, new Uint8Array(4)]],
        ['pwriteSync', [bad, 0, 0, 0, new Uint8Array(4)]],
      ]),
      ...badNumbers.flatMap((bad): [keyof Binding, unknown[]][] => [
        ['open', ['/dev/null', bad]],
        ['attachSync', [fd, bad]],
        ['destroySync', [fd, bad]],
        ['waitForChangeSync', [fd, bad]],
        ['getRegionInfo', [fd, bad, 32, new Uint32Array(128)]],
        ['getRegionInfo', [fd, 0, bad, new Uint32Array(128)]],
        ['getDeviceInfo', [fd, bad, new Uint32Array(128)]],
        ['getIrqInfos', [fd, bad, new Int32Array(1), new Uint32Array(128)]],
        ['pread', [fd, bad, 0, 0, new Uint8Array(4)]],
        ['pwrite', [fd, 0, bad, 0, new Uint8Array(4)]],
      ]),
      ...[undefined, -1, 1.5, NaN, 2 ** 53, '1', 1n].flatMap(
        (bad): [keyof Binding, unknown[]][] => [
          ['pread', [fd, 0, 0, bad, new Uint8Array(4)]],
          ['pwriteSync', [fd, 0, 0, bad, new Uint8Array(4)]],
        ],
      ),
      ...[undefined, new Uint32Array(1), new ArrayBuffer(4), [1], 'x'].flatMap(
        (bad): [keyof Binding, unknown[]][] => [
          ['pread', [fd, 0, 0, 0, bad]],
          ['pwrite', [fd, 0, 0, 0, bad]],
          ['pwriteSync', [fd, 0, 0, 0, bad]],
        ],
      ),
      // Past what the kernel's signed 64 bits can say.
      ['pread', [fd, 2 ** 31, 0, 0, new Uint8Array(4)]],
      ['pread', [fd, 2 ** 31 - 1, 2 ** 32 - 1, 1, new Uint8Array(4)]],
      ...badRooms.flatMap((bad): [keyof Binding, unknown[]][] => [
        ['getDeviceInfo', [fd, 24, bad]],
        ['getRegionInfo', [fd, 0, 32, bad]],
        ['getRegionInfos', [fd, 1, new Int32Array(1), bad]],
        ['getIrqInfos', [fd, 1, new Int32Array(1), bad]],
        ['fstat', [fd, bad instanceof Uint32Array ? new Uint32Array(2) : bad]],
      ]),
      ['getRegionInfos', [fd, 1, new Uint32Array(1), new Uint32Array(8)]],
      ['getRegionInfos', [fd, 2, new Int32Array(2), new Uint32Array(15)]],
      ['getRegionInfos', [fd, 2, new Int32Array(1), new Uint32Array(16)]],
      ['getDeviceInfo', [fd, 23, new Uint32Array(128)]],
      ['getDeviceInfo', [fd, 516, new Uint32Array(128)]],
      ['open', ['/dev/null\0x', 0]],
      ['open', [7, 0]],
      ['readSmallFile', [7]],
      ['readSmallFile', ['/dev/null\0x']],
      ['listFolder', [undefined]],
      ['watchFolder', [fd, '/\0x']],
      ['waitForChangeSync', [fd, 2 ** 31]],
    ];
    for (const [name, args] of cases) {
      const native = binding()[name] as (...args: unknown[]) => unknown;
      assert.equal(native(...args), undefined, `${name}(${inspect(args)})`);
    }
    binding().closeSync(fd);
  });
});
