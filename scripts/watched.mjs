// Builds of the addon that watch what runs (CMakePresets.json), and what their runtimes report.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { requireCommands } from './commands.mjs';
import { runOrExit } from './run.mjs';

/** Builds a preset; answers the paths of the addon and of the planted faults. */
export function buildWatched(preset) {
  requireCommands(`check:${preset}`, {
    cmake: 'cmake',
    'g++': 'g++',
    make: 'make',
    addr2line: 'binutils',
  });
  runOrExit('cmake', ['--preset', preset, '--log-level=WARNING']);
  runOrExit('cmake', ['--build', '--preset', preset, '--', '--silent']);
  return {
    addon: resolve(`build-${preset}/vfio.node`),
    planted: resolve(`build-${preset}/planted.node`),
  };
}

/** The runtime of a sanitizer, which Node is not linked to and so has to be given beforehand. */
export function runtimeOf(library) {
  const { stdout } = spawnSync('g++', [`-print-file-name=${library}`], { encoding: 'utf8' });
  return realpathSync(stdout.trim());
}

/** A new folder for reports, which goes with this process. */
export function reportFolder() {
  const folder = mkdtempSync(join(tmpdir(), 'vfio-reports-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** What the runtimes wrote: a report for each fault, with the lines of our sources. */
export function reportsIn(folder) {
  const texts = readdirSync(folder).map((name) => readFileSync(join(folder, name), 'utf8'));
  return texts.flatMap((text) => splitReports(text));
}

/** Each fault begins with such a line; a process that leaks has one block for each place. */
function splitReports(text) {
  const starts =
    /^(?=(?:Direct|Indirect) leak of |.*(?:ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:))/m;
  return text.split(starts).filter((part) => starts.test(part));
}

/** Whether one of the innermost frames of the first stack is in the library: its name is enough. */
export function isOf(report, library, frames) {
  const first = report.split(/\n\s*\n/)[0] ?? '';
  return first
    .split('\n')
    .filter((line) => /^ *#\d+ /.test(line))
    .slice(0, frames)
    .some((line) => line.includes(`/${library}+0x`));
}

/** With the names and lines that belong to the places in our addon. */
export function readable(report) {
  return report.replace(/\((\/\S+\.node)\+(0x[0-9a-f]+)\)/g, (place, file, offset) => {
    const args = ['--demangle', '--functions', '--pretty-print', '--basenames', '-e', file];
    const { status, stdout } = spawnSync('addr2line', [...args, offset], { encoding: 'utf8' });
    return status === 0 ? stdout.trim() : place;
  });
}

/** Ends the check where a fault that is planted is not found: it would find no other either. */
export function requirePlanted({ planted, faults, env, folder, isFound }) {
  for (const [fault, kind] of Object.entries(faults)) {
    const program = `require(${JSON.stringify(planted)}).${fault}()`;
    const child = { encoding: 'utf8', env: { ...process.env, ...env } };
    const { stderr } = spawnSync(process.execPath, ['-e', program], child);
    const reports = [...reportsIn(folder), ...splitReports(stderr)];
    if (!reports.some((report) => report.includes(kind) && isFound(report))) {
      console.error(`the planted fault '${fault}' was not found: this check watches nothing`);
      console.error(stderr);
      process.exit(1);
    }
    for (const name of readdirSync(folder)) rmSync(join(folder, name));
  }
  console.log(`planted faults that were found: ${Object.keys(faults).join(', ')}`);
}
