// What gcov counted of native/.
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, readdirSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';

/**
 * The percentage of the lines of native/ that ran; prints that of each file, and writes the numbers
 * of the lines that did not to coverage/native.txt. `objects` is where the compiler put what gcov
 * needs; counts are there, and below `prefix`, where a process of the lab wrote them.
 */
export function nativeCoverage(objects, prefix) {
  const elsewhere = join(prefix, objects);
  if (existsSync(elsewhere)) copyNotes(objects, elsewhere);
  const files = new Map();
  for (const folder of [objects, elsewhere].filter(existsSync)) addCounts(folder, files);
  return summarize(files);
}

/** gcov looks for the notes of the compiler beside the counts. */
function copyNotes(from, to) {
  for (const name of readdirSync(from).filter((each) => each.endsWith('.gcno')))
    copyFileSync(join(from, name), join(to, name));
}

function addCounts(folder, files) {
  const counts = readdirSync(folder).filter((name) => name.endsWith('.gcda'));
  for (const name of counts) {
    const args = ['--json-format', '--stdout', join(folder, name)];
    const options = { encoding: 'utf8', maxBuffer: 1 << 28 };
    const { status, stdout, stderr } = spawnSync('gcov', args, options);
    if (status !== 0) throw new Error(`gcov: ${stderr}`);
    for (const json of stdout.split('\n').filter((line) => line !== '')) addFiles(json, files);
  }
}

/** A line is run where one of its instances is: of templates there are many. */
function addFiles(json, files) {
  const ours = resolve('native');
  for (const { file, lines } of JSON.parse(json).files) {
    if (!resolve(file).startsWith(`${ours}/`)) continue;
    const known = files.get(basename(file)) ?? new Map();
    files.set(basename(file), known);
    for (const { line_number: line, count } of lines)
      known.set(line, Math.max(known.get(line) ?? 0, count));
  }
}

function summarize(files) {
  const notRun = [];
  let [all, ran] = [0, 0];
  for (const [file, lines] of [...files].sort()) {
    const missing = [...lines].filter(([, count]) => count === 0).map(([line]) => line);
    all += lines.size;
    ran += lines.size - missing.length;
    const percent = ((lines.size - missing.length) / lines.size) * 100;
    console.log(`${file.padEnd(20)} ${percent.toFixed(1).padStart(6)} %`);
    if (missing.length > 0) notRun.push(`${file}: ${missing.sort((a, b) => a - b).join(' ')}\n`);
  }
  writeFileSync('coverage/native.txt', notRun.join(''));
  return all === 0 ? 0 : (ran / all) * 100;
}
