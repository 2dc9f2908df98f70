import { Worker, type WorkerOptions } from 'node:worker_threads';

/** A worker that runs a TypeScript file: on Node 20 `--import tsx` does not reach workers. */
export function tsWorker(file: URL, options: WorkerOptions = {}): Worker {
  const boot = `
    import('tsx/esm/api')
      .then(({ register }) => (register(), import(${JSON.stringify(file.href)})))
      .catch((error) => setImmediate(() => { throw error; }));
  `;
  return new Worker(boot, { ...options, eval: true });
}
