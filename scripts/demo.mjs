// npm run demo: shows what a real VFIO device says. A device of this host that is bound to a VFIO
// driver and held by nobody; where there is none, two devices of the lab, which runs this file too.
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { commands } from '../dist/cli/commands.js';
import { run } from '../dist/cli/run.js';

/** The exit status of `vfio info` for a device that another program holds. */
const held = 3;

const out = {
  print: (text) => console.log(text),
  note: (text) => console.error(text),
  colour: process.stdout.isTTY && !process.env.NO_COLOR,
};

if (process.env.VFIO_LAB) await showLabDevices(['edu', 'nvme0']);
else if (!(await showHostDevice())) showLab();

async function showLabDevices(names) {
  const devices = JSON.parse(readFileSync(process.env.VFIO_LAB_DEVICES, 'utf8'));
  for (const name of names) {
    const { address } = devices.find((device) => device.name === name);
    console.log(`\n$ vfio info ${address}    # the lab's ${name}`);
    process.exitCode = (await run(['info', address], commands, out)) || process.exitCode;
  }
}

/** Opens the host's devices in turn until one answers; false where none does. */
async function showHostDevice() {
  for (const { bus, address } of hostDevices()) {
    if (bus !== 'pci' && bus !== 'mdev') continue;
    console.log(`Opening ${address}, a VFIO device of this host. Opening resets it.`);
    console.log(`\n$ vfio info ${address}`);
    const status = await run(['info', address], commands, out);
    if (status === 0) return true;
    const why = status === held ? 'is held by another program' : 'did not open';
    console.log(`\n${address} ${why}.\n`);
  }
  return false;
}

function hostDevices() {
  const folder = '/sys/class/vfio-dev';
  let names;
  try {
    names = readdirSync(folder);
  } catch (error) {
    if (error.code === 'ENOENT') return []; // a kernel without VFIO
    throw error;
  }
  return names.map((name) => ({
    bus: basename(readlinkSync(`${folder}/${name}/device/subsystem`)),
    address: basename(readlinkSync(`${folder}/${name}/device`)),
  }));
}

function showLab() {
  console.log(
    'This host has no VFIO device that could be opened. The lab has some: emulated devices',
  );
  console.log('in a virtual machine, under a real Linux kernel with the real VFIO.');
  const lab = ['run', '--silent', 'lab', '--', 'node', 'scripts/demo.mjs'];
  const { status, error } = spawnSync('npm', lab, { stdio: 'inherit' });
  if (error) throw error;
  process.exitCode = status ?? 1;
}
