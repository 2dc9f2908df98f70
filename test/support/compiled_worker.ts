import { Worker } from 'node:worker_threads';
import { buildSync } from 'esbuild';
import { root } from './root.ts';

/**
 * Compiles a TypeScript file once; each call of what it returns is a worker that runs it. Where
 * there are hundreds, loading TypeScript in each would be most of their work.
 */
export function compiledWorker(file: URL): () => Worker {
  const { outputFiles } = buildSync({
    entryPoints: [file.pathname],
    bundle: true,
    platform: 'node',
    format: 'cjs',
    // Where the addon is looked for: seen from lib/.
    define: { 'import.meta.url': JSON.stringify(new URL('lib/addon.ts', root).href) },
    write: false,
  });
  const [code] = outputFiles;
  return () => new Worker(code?.text ?? '', { eval: true });
}
