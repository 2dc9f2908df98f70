import fs from 'node:fs';
import { binding } from '../../lib/core/binding.ts';
import { withBinding } from './fake_binding.ts';
import { tracedBinding } from './traced_binding.ts';

/** The functions of node:fs by which the library looks something up. */
const lookups = ['readlinkSync', 'realpathSync', 'statSync'] as const;

/** Runs `body` and tells every path that the library asks the kernel for meanwhile. */
export async function askedPaths(body: () => unknown): Promise<string[]> {
  const paths: string[] = [];
  const native = binding();
  const tracing = {
    ...tracedBinding((_name, call) => call()),
    ...Object.fromEntries(
      (['open', 'readSmallFile', 'listFolder', 'readFolders', 'readFoldersSync'] as const).map(
        (name) => [
          name,
          (first: string | string[], second: unknown): unknown => {
            paths.push(...(typeof first === 'string' ? [first] : joined(first, second)));
            return Reflect.apply(native[name], undefined, [first, second]);
          },
        ],
      ),
    ),
  };
  const originals = lookups.map((name) => [name, fs[name]] as const);
  for (const [name, run] of originals) {
    const traced = (path: string, ...more: unknown[]): unknown => {
      paths.push(path);
      return Reflect.apply(run, undefined, [path, ...more]);
    };
    // realpathSync has a form of its own, which asks for the same.
    Object.assign(fs, { [name]: Object.assign(traced, { native: traced }) });
  }
  try {
    await withBinding(tracing, body);
  } finally {
    Object.assign(fs, Object.fromEntries(originals));
  }
  return paths;
}

/** The paths of a batch: an entry's last character may be the mark of its kind. */
function joined(folders: string[], entries: unknown): string[] {
  return folders.flatMap((folder) =>
    (entries as string[]).map((entry) =>
      entry === './' ? folder : `${folder}/${entry.replace(/[@/]$/, '')}`,
    ),
  );
}
