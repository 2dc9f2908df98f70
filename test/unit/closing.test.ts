import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { describe, it } from 'mocha';
import { GroupDevice } from '../../lib/backend/group_device.ts';
import { binding, type NativeFd } from '../../lib/core/binding.ts';
import { check } from '../../lib/core/call.ts';
import { VfioError } from '../../lib/core/errors.ts';
import { FdMessage } from '../../lib/handover/socket.ts';
import { withBinding } from '../support/fake_binding.ts';
import { assertNoMore, libraryFds } from '../support/proc.ts';

const { EIO } = constants.errno;

/** The kernel frees a descriptor also where it answers an error to its closing. */
function failingFirst<Result>(close: (fd: NativeFd) => Result, failed: Result) {
  let calls = 0;
  return (fd: NativeFd): Result => {
    const result = close(fd);
    calls++;
    return calls === 1 ? failed : result;
  };
}

function openNull(): NativeFd {
  return check(binding().open('/dev/null', 0), { syscall: 'open' }) as NativeFd;
}

const forms = {
  close: (): Parameters<typeof withBinding>[0] => {
    const { close } = binding();
    return { close: failingFirst((fd) => close(fd), Promise.resolve(-EIO)) };
  },
  closeSync: (): Parameters<typeof withBinding>[0] => {
    const { closeSync } = binding();
    return { closeSync: failingFirst((fd) => closeSync(fd), -EIO) };
  },
};

for (const [form, fakes] of Object.entries(forms)) {
  const name = form as keyof typeof forms;

  describe(`${name}() where a descriptor does not close well`, () => {
    it('closes the other descriptors of a message', async () => {
      const before = libraryFds();
      const message = FdMessage.of(new Uint8Array(1), [openNull(), openNull(), openNull()], 'test');
      await assert.rejects(
        withBinding(fakes(), async () => {
          await message[name]();
        }),
        isEio,
      );
      assertNoMore(libraryFds(), before);
    });

    it('leaves the group of a device all the same, and closes what it owns', async () => {
      const did: string[] = [];
      const broken = new VfioError({ code: 'EIO', message: 'broken' });
      const fail = (): never => {
        did.push('device');
        throw broken;
      };
      const device = groupDevice(did, {
        close: () => Promise.resolve().then(fail),
        closeSync: fail,
      });
      await assert.rejects(
        Promise.resolve().then(() => device[name]()),
        broken,
      );
      assert.deepEqual(did, ['device', 'group', 'container']);
    });
  });
}

/** Of what closing takes, and no more. */
function groupDevice(did: string[], fd: object): GroupDevice {
  const own = {
    close: () => Promise.resolve().then(() => did.push('container')),
    closeSync: () => did.push('container'),
  };
  function* leave(): Generator<never, void> {
    did.push('group');
    yield* [];
  }
  const container = { own, groups: { leave } };
  const parts = [{ fd }, {}, {}, container, { kind: 'group' }] as unknown;
  return new GroupDevice(...(parts as ConstructorParameters<typeof GroupDevice>));
}

function isEio(error: unknown): boolean {
  return error instanceof VfioError && error.code === 'EIO';
}
