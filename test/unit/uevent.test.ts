import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { mostBytes, nodeIn, parseUevent, placeOf, type Uevent } from '../../lib/host/uevent.ts';

const lines = (head: string, values: Record<string, string>): Uint8Array =>
  Buffer.from(
    [head, ...Object.entries(values).map(([key, value]) => `${key}=${value}`), ''].join('\0'),
  );

/** A message as the kernel makes it. */
function message(action: string, devpath: string, more: Record<string, string>): Uint8Array {
  const all = { ACTION: action, DEVPATH: devpath, ...more, SEQNUM: '4711' };
  return lines(`${action}@${devpath}`, all);
}

function parsed(action: string, devpath: string, more: Record<string, string>): Uevent {
  return parseUevent(message(action, devpath, more)) ?? assert.fail(`${action}@${devpath}`);
}

const edu = '/devices/pci0000:00/0000:00:02.0';
const bind = message('bind', edu, { SUBSYSTEM: 'pci', DRIVER: 'vfio-pci', PCI_ID: '1234:11E8' });

describe("the kernel's messages about devices", () => {
  it('are read with all of their lines', () => {
    const event = parseUevent(bind) ?? assert.fail();
    const { values, ...more } = event;
    assert.deepEqual(more, { action: 'bind', devpath: edu, subsystem: 'pci', seqnum: 4711 });
    assert.deepEqual(
      [...values].map(([key, value]) => `${key}=${value}`).join(' '),
      `ACTION=bind DEVPATH=${edu} SUBSYSTEM=pci DRIVER=vfio-pci PCI_ID=1234:11E8 SEQNUM=4711`,
    );
    assert.deepEqual(placeOf(event), { bus: 'pci', address: '0000:00:02.0', driver: 'vfio-pci' });
    assert.equal(nodeIn(event), undefined);
  });

  it('tell of cdevs by the device that has them', () => {
    const numbers = { DEVNAME: 'vfio/devices/vfio0', MAJOR: '511', MINOR: '0' };
    const cdev = parsed('add', `${edu}/vfio-dev/vfio0`, { SUBSYSTEM: 'vfio-dev', ...numbers });
    assert.deepEqual(placeOf(cdev), { bus: 'pci', address: '0000:00:02.0', driver: undefined });
    assert.deepEqual(nodeIn(cdev), { name: 'vfio/devices/vfio0', major: 511, minor: 0 });
    const uuid = '6d747479-0000-4000-8000-000000000001';
    const folder = `/devices/virtual/mtty/mtty/${uuid}/vfio-dev/vfio7`;
    const mdev = parsed('remove', folder, { SUBSYSTEM: 'vfio-dev' });
    assert.deepEqual(placeOf(mdev), { bus: 'mdev', address: uuid, driver: undefined });
    const other = parsed('add', '/devices/a/fff51000.ethernet/vfio-dev/vfio1', { SUBSYSTEM: 'vfio-dev' }); // prettier-ignore
    const place = { bus: undefined, address: 'fff51000.ethernet', driver: undefined };
    assert.deepEqual(placeOf(other), place);
  });

  it('tell of drivers and of nodes of groups', () => {
    const driver = parsed('add', '/bus/pci/drivers/vfio-pci', { SUBSYSTEM: 'drivers' });
    assert.deepEqual(placeOf(driver), { bus: 'pci', address: undefined, driver: 'vfio-pci' });
    const group = parsed('add', '/devices/virtual/vfio/12', { SUBSYSTEM: 'vfio', DEVNAME: 'vfio/12', MAJOR: '510', MINOR: '3' }); // prettier-ignore
    assert.deepEqual(placeOf(group), { bus: undefined, address: undefined, driver: undefined });
    assert.deepEqual(nodeIn(group), { name: 'vfio/12', major: 510, minor: 3 });
  });

  it('are not told where they are of something else', () => {
    for (const [devpath, subsystem] of [
      ['/devices/virtual/net/lo', 'net'],
      ['/bus/usb/drivers/hub', 'drivers'],
      ['/module/vfio_pci', 'module'],
      ['/devices/virtual/misc/vfio', 'misc'],
      ['/drivers', 'drivers'],
    ] as const) {
      assert.equal(placeOf(parsed('add', devpath, { SUBSYSTEM: subsystem })), undefined, devpath);
    }
  });

  it('are read without the NUL at the end, and the first of two of a name counts', () => {
    const bare = parseUevent(bind.subarray(0, -1));
    assert.equal(bare?.seqnum, 4711);
    const twice = Buffer.concat([bind, Buffer.from('DRIVER=other\0ACTION=remove\0')]);
    assert.equal(parseUevent(twice)?.values.get('DRIVER'), 'vfio-pci');
    assert.equal(parseUevent(twice)?.action, 'bind');
  });

  const ok = { ACTION: 'add', DEVPATH: edu, SUBSYSTEM: 'pci', SEQNUM: '1' };
  for (const [title, bytes] of Object.entries({
    'no bytes': new Uint8Array(),
    'one NUL': Uint8Array.of(0),
    'only NULs': new Uint8Array(1000),
    'no values': Buffer.from(`add@${edu}`),
    "udevd's": Buffer.concat([Buffer.from('libudev\0\xfe\xed\xca\xfe', 'latin1'), bind]),
    'another head': lines(`remove@${edu}`, ok),
    'no head': lines('', ok),
    'no action': lines(`add@${edu}`, { ...ok, ACTION: '' }),
    'an action that is not known': lines(`fly@${edu}`, { ...ok, ACTION: 'fly' }),
    'a name of objects for an action': lines(`__proto__@${edu}`, { ...ok, ACTION: '__proto__' }),
    'no subsystem': lines(`add@${edu}`, { ...ok, SUBSYSTEM: '' }),
    'no number': lines(`add@${edu}`, { ...ok, SEQNUM: '' }),
    'a number that is none': lines(`add@${edu}`, { ...ok, SEQNUM: '0x1' }),
    'a number that is too long': lines(`add@${edu}`, { ...ok, SEQNUM: '9'.repeat(20) }),
    'a path that leads out': lines('add@/devices/../../etc', { ...ok, DEVPATH: '/devices/../../etc' }), // prettier-ignore
    'a path that is none': lines('add@devices', { ...ok, DEVPATH: 'devices' }),
    'a megabyte of As': Buffer.alloc(1 << 20, 'A'),
    'a megabyte of values': Buffer.concat([bind, Buffer.alloc(1 << 20, 'A=B\0')]),
  })) {
    it(`are not told where they are none: ${title}`, () => {
      assert.equal(parseUevent(bytes), undefined);
    });
  }

  it('may hold any bytes', () => {
    for (let round = 0; round < 2000; round++) {
      const bytes = Uint8Array.from(bind, (byte, at) =>
        Math.sin(round * 997 + at * 13) > 0.97 ? (round * 31 + at * 7) & 0xff : byte,
      );
      const event = parseUevent(bytes.subarray(0, 1 + ((round * 17) % bytes.length)));
      if (event === undefined) continue;
      assert.match(event.devpath, /^\/(?!.*\/\.\.?(?:\/|$))/);
      placeOf(event);
      nodeIn(event);
    }
    const long = Buffer.concat([bind, Buffer.alloc(mostBytes - bind.length, '=')]);
    assert.equal(parseUevent(long)?.action, 'bind');
  });

  it('have a node only where name and numbers are there', () => {
    const whole = {
      SUBSYSTEM: 'vfio-dev',
      DEVNAME: 'vfio/devices/vfio0',
      MAJOR: '511',
      MINOR: '0',
    };
    const path = `${edu}/vfio-dev/vfio0`;
    for (const bad of [
      { MAJOR: 'x' },
      { MINOR: '' },
      { DEVNAME: '../../etc/passwd' },
      { DEVNAME: '' },
    ]) {
      assert.equal(nodeIn(parsed('add', path, { ...whole, ...bad })), undefined);
    }
  });
});
