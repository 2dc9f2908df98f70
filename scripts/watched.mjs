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

/** Each fault begins with such a line and has a stack; of leaks each place is one. */
function splitReports(text) {
  const starts =
    /^(?=(?:Direct|Indirect) leak of |.*(?:ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:))/m;
  return text.split(starts).filter((part) => starts.test(part) && /^ *#\d+ /m.test(part));
}

/**
 * Whether a report is about our addon: of a leak, that the memory was asked for there, by malloc or
 * through the C++ library, and not by what it called of Node; of anything else, that it has to do
 * with Node's process, since the programs that tests start have faults of their own.
 */
export function isOf(report, library) {
  const frames = report.split('\n').filter((line) => /^ *#\d+ /.test(line));
  if (!/ leak of /.test(report)) return frames.some((line) => /\/node\+0x|\.node\+0x/.test(line));
  const asked = frames.find((line) => !/\/lib(?:asan|stdc\+\+|c)\.so/.test(line)) ?? '';
  return asked.includes(`/${library}+0x`);
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
