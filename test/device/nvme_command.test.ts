import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { it } from 'mocha';
import { Qmp } from '../../lab/guest/qmp.ts';
import { bashArgs } from '../support/bash.ts';
import { describeLab } from '../support/devices.ts';
import { plug, unplug } from '../support/hotplug.ts';
import { addDisk, readsOf, untilUnplugged } from '../support/nvme_lab.ts';
import { root } from '../support/root.ts';

const size = 64 * 2 ** 20;

describeLab("the NVMe driver's command", ['nvme0', 'nvme-port', 'edu'], (lab) => {
  const spec = lab.nvme0;
  const port = lab['nvme-port'];

  const program = new URL('build-test/programs/nvme_command.js', root).pathname;
  const run = (args: string[], input?: Buffer): [number | null, Buffer, string] => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], { input });
    return [status, stdout, stderr.toString()];
  };

  it('says what a controller is, writes, reads and measures', () => {
    const { address } = spec;
    const identity =
      /^QEMU NVMe Ctrl, serial number nvme0, firmware \S+\nmoves 524288 bytes by one command at most\nnamespace 1: 131072 blocks of 512 bytes\n$/;
    for (const options of [[], ['--interrupts']]) {
      const [status, out, err] = run(['identify', address, ...options]);
      assert.equal(err, '');
      assert.match(out.toString(), identity);
      assert.equal(status, 0);
    }
    const data = Buffer.from(Array.from({ length: 1536 }, (_, at) => at % 199));
    const written = '3 blocks of 512 bytes written\n';
    const write = run(['write', address, '--block', '77'], data);
    assert.deepEqual(write, [0, Buffer.from(written), '']);
    assert.deepEqual(run(['read', address, '--block', '77', '--count', '3']), [0, data, '']);
    const bench = run(['bench', address, '--seconds', '0.2', '--workers', '2', '--depth', '4']);
    assert.match(bench[1].toString(), /^512 bytes, depth 4: \d+ reads a second, 0 errors\n$/);
    const interrupts = run(['bench', address, '--seconds', '0.2', '--interrupts']);
    assert.match(interrupts[1].toString(), /^512 bytes, depth 32: \d+ reads a second, 0 errors\n$/);
    assert.equal(interrupts[0], 0);
    const [help, text, err] = run(['--help']);
    assert.deepEqual([help, err], [0, '']);
    assert.match(text.toString(), /^usage: /);
  });

  it('says in one line what is wrong', () => {
    const { address } = spec;
    for (const [status, line, text] of [
      [2, 'format x', /there is no command 'format'/],
      [2, `read ${address} --block 8.5`, /--block/],
      [2, `read ${address} --block 131072`, /--block 131072: namespace 1 has 131072 blocks/],
      [2, `read ${address} --block 131071 --count 2`, /has 1 blocks from --block 131071 on, not 2/],
      [2, `bench ${address} --bytes 100`, /--bytes 100 is no multiple of the block size, 512/],
      [2, `bench ${address} --bytes 10485760`, /--bytes 10485760: one read moves 524288 at most/],
      [2, `bench ${address} --depth 65535`, /--depth 65535: the controller takes \d+ at most/],
      [2, `bench ${address} --workers 65535`, /--workers 65535: the controller gives \d+ I\/O/],
      [1, `read ${address} --namespace 7`, /there is no namespace 7/],
      [1, 'identify 00:1f.7', /00:1f\.7/],
      [
        1,
        `identify ${lab.edu.address}`,
        /00:02\.0 is no NVMe controller: its class is 00ff00, not/,
      ],
    ] as const) {
      const result = run(line.split(' '));
      assert.equal(result[1].toString(), '', line);
      assert.match(result[2], /^nvme: [^\n]+\n$/, line);
      assert.match(result[2], text);
      assert.equal(result[0], status, line);
    }
  });

  it('ends quietly when nobody reads, and tells of a full disk', () => {
    const shell = (script: string): string =>
      spawnSync('bash', bashArgs(script, 'bash', process.execPath, program, spec.address), {
        encoding: 'utf8',
      }).stdout;
    const quiet = shell(
      'exec 3>&1; { "$1" "$2" read "$3" --count 5000 2>&3; echo "$?" >&3; } | true',
    );
    assert.equal(quiet, '0\n');
    for (const what of ['read', 'identify', '--help']) {
      const full = shell(`"$1" "$2" ${what} "$3" 2>&1 >/dev/full; echo "$?"`);
      assert.match(full, /^nvme: ENOSPC[^\n]+\n1\n$/);
    }
  });

  for (const [how, options] of [
    ['', []],
    [' by interrupts', ['--interrupts']],
    [' by a worker', ['--workers', '1']],
  ] as const) {
    it(`gives its device back in mid-bench${how}`, async () => {
      const node = `bench${options.join('')}-${process.pid}`;
      await unplug(port);
      await addDisk({ driver: 'null-co', 'node-name': node, size, 'read-zeroes': true });
      await plug(port, { serial: 'bench', drive: node });
      try {
        await using qmp = await Qmp.connect();
        // A driver of the kernel may have had it, and read, before vfio-pci.
        const before = await readsOf(qmp, node);
        const args = [program, 'bench', port.address, '--seconds', '1000', ...options];
        const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
        const errors = text(child.stderr);
        const exit = once(child, 'exit');
        // It reads, or it has ended, and says why below.
        while (child.exitCode === null && (await readsOf(qmp, node)) === before) await delay(20);
        await qmp.execute('device_del', { id: port.name });
        assert.deepEqual(await exit, [1, null]);
        assert.equal(await errors, 'nvme: somebody wants the device back\n');
        await untilUnplugged(qmp, port);
      } finally {
        await plug(port, { serial: 'nvme-port' });
      }
    });
  }
});
