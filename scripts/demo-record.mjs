// npm run demo:record: makes docs/demo.svg, which README shows, of commands that were run in the lab. What
// is in it is what they printed there.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { drawTerminal } from './demo-svg.mjs';

const file = 'docs/demo.svg';
const title =
  'A terminal: vfio lists devices, says which process holds one that does not open, opens it, and reads a register';

/** Before what the lab's part answers. */
const mark = 'recorded: ';

if (process.env.VFIO_LAB) console.log(mark + JSON.stringify(await record()));
else draw();

function draw() {
  const lab = ['run', '--silent', 'lab', '--', 'node', 'scripts/demo-record.mjs'];
  const stdio = ['ignore', 'pipe', 'inherit'];
  const { status, stdout, error } = spawnSync('npm', lab, { stdio, encoding: 'utf8' });
  if (error) throw error;
  const answer = stdout.split('\n').find((line) => line.startsWith(mark));
  if (status !== 0 || answer === undefined) throw new Error(`the lab recorded nothing: ${stdout}`);
  const svg = drawTerminal(JSON.parse(answer.slice(mark.length)), title);
  writeFileSync(file, svg);
  console.log(`${file}: ${svg.length} bytes`);
}

async function record() {
  // Their names are long, and say little to who has none.
  const mdevs = '/sys/bus/mdev/devices';
  for (const name of readdirSync(mdevs)) writeFileSync(`${mdevs}/${name}/remove`, '1');
  const devices = JSON.parse(readFileSync(process.env.VFIO_LAB_DEVICES, 'utf8'));
  const { address } = devices.find(({ name }) => name === 'nvme0');
  const short = address.replace('0000:', '');

  const program = `const { VfioDevice } = await import('./dist/index.js');
    const device = await VfioDevice.open('${address}'); console.log(device.path); setInterval(() => device, 1000);`;
  const holder = spawn(process.execPath, ['--input-type=module', '--eval', program]);
  await once(holder.stdout, 'data');

  const scenes = [run('npx vfio list'), run(`npx vfio info ${short}`)];
  scenes.push(run(`kill ${holder.pid}`));
  await once(holder, 'exit');
  scenes.push(run(`npx vfio info ${short}`));
  scenes.push(run(`npx vfio read ${short} bar0 8    # NVMe: the version, 1.4`));
  return scenes;
}

/** Runs what is typed, in which `npx vfio` is this checkout. */
function run(typed) {
  const line = typed.replace('npx vfio', `'${process.execPath}' dist/cli/main.js`);
  const { stdout, stderr, error } = spawnSync('sh', ['-c', line], { encoding: 'utf8' });
  if (error) throw error;
  const said = [
    { stream: 'err', text: stderr },
    { stream: 'out', text: stdout },
  ];
  return { typed, said: said.filter(({ text }) => text !== '') };
}
