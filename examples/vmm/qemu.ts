// Gives a PCI device to a QEMU (9.0 and later) that opens nothing by itself, shows it on its
// guest's bus by QEMU's monitor, and has it back when QEMU ends.
//
//   node build-test/examples/vmm/qemu.js 0000:00:02.0 [qemu-system-x86_64]
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { Iommufd, openCdev, qemuArguments, VfioDevice } from 'vfio';

const [address = '0000:00:02.0', program = 'qemu-system-x86_64'] = process.argv.slice(2);

const iommufd = Iommufd.open();
const cdev = await openCdev(address);
const { args, fds } = qemuArguments({ cdev, iommufd }, { properties: { id: 'passed' } });
const machine = ['-machine', 'q35', '-accel', 'tcg', '-m', '64', '-nodefaults', '-display', 'none'];
const qemu = spawn(program, [...machine, '-qmp', 'stdio', ...args], {
  stdio: ['pipe', 'pipe', 'inherit', ...fds],
});
const ended = once(qemu, 'close') as Promise<[number | null]>;
// QEMU has its own now: with these open its end would not give the device back.
await Promise.all([cdev.close(), iommufd.close()]);

const [requests, replies] = [qemu.stdin, qemu.stdout];
if (!requests || !replies) throw new Error('QEMU was started without pipes');
const lines = createInterface({ input: replies })[Symbol.asyncIterator]();

/** What QEMU's monitor returns for a command. */
async function execute(command: string, given: Record<string, unknown> = {}): Promise<unknown> {
  requests?.write(`${JSON.stringify({ execute: command, arguments: given })}\n`);
  for (;;) {
    const line = await lines.next();
    if (line.done) throw new Error(`QEMU ended with ${(await ended).join()}`);
    const reply = JSON.parse(line.value) as Record<string, unknown>;
    if ('error' in reply) throw new Error(`${command}: ${JSON.stringify(reply['error'])}`);
    if ('return' in reply) return reply['return'];
  }
}

await execute('qmp_capabilities');
const listed = await execute('human-monitor-command', { 'command-line': 'info pci' });
console.log(String(listed).replaceAll('\r', '').trim());
await execute('quit');
const [status] = await ended;
console.log(`QEMU ended with ${status}`);

await using device = await VfioDevice.open(address);
console.log(`${device.device.address} is back`);
