// Run as a child, or in a worker, by test/unit/faults.test.ts: maps a file, takes its pages away,
// and does what argv names.

import { execFileSync } from 'node:child_process';
import { truncateSync } from 'node:fs';
import { isMainThread, parentPort, workerData } from 'node:worker_threads';
import { OwnedFd } from '../../lib/core/owned_fd.ts';
import { OpenMappings, PeerMaps } from '../../lib/region/owner.ts';
import { Region } from '../../lib/region/region.ts';
import { tsWorker } from './ts_worker.ts';

const [scenario, path] = (isMainThread ? process.argv.slice(2) : workerData) as [string, string];

function mapVanished(): ReturnType<Region['map']> {
  const device = { bus: 'pci', address: '0000:3b:00.0', sysfsPath: '' };
  const location = { device, name: 'vfio7', major: 511, minor: 7, path };
  const fd = OwnedFd.open(path, 'the test file');
  const owner = {
    fd,
    location,
    mappings: new OpenMappings(),
    peers: new PeerMaps(),
    config: undefined,
  };
  const flags = ['read', 'write', 'mmap'];
  const info = { index: 0, name: 'bar0', size: 0x1000, offset: 0n, flags, capabilities: [] };
  truncateSync(path, 0x1000);
  const mapped = Region.of(owner, info).map();
  truncateSync(path, 0);
  return mapped;
}

function codeOf(access: () => unknown): string {
  try {
    access();
    return 'no error';
  } catch (error) {
    return (error as { code: string }).code;
  }
}

function faultOften(): string {
  const mapped = mapVanished();
  const codes = new Set<string>();
  for (let at = 0; at < 1000; at++) codes.add(codeOf(() => mapped.read32(at * 4)));
  return [...codes].join();
}

function inWorkers(count: number): Promise<unknown[]> {
  const files = Array.from({ length: count }, (_, at) => `${path}-${at}`);
  return Promise.all(
    files.map((file) => {
      const worker = tsWorker(new URL(import.meta.url), { workerData: ['fault', file] });
      return new Promise<unknown>((resolve, reject) => {
        let said: unknown;
        worker.on('message', (message: unknown) => (said = message));
        worker.on('error', reject);
        worker.on('exit', () => {
          resolve(said);
        });
      });
    }),
  );
}

function ignore(): void {
  // Nothing to do.
}

/** By the constructor of a library, which Node does not take for an addon and would unload. */
function putHandlerOverOurs(): void {
  const library = `${path}.so`;
  const source = new URL('passing_handler.c', import.meta.url).pathname;
  execFileSync('gcc', ['-shared', '-fPIC', '-Wl,-z,nodelete', '-o', library, source]);
  try {
    process.dlopen({ exports: {} }, library);
  } catch (error) {
    if (!String(error).includes('did not self-register')) throw error;
  }
}

const scenarios: Record<string, () => unknown> = {
  fault: faultOften,
  // The first to load the addon is a worker, and it is gone when we fault.
  'worker-first': async () => [...(await inWorkers(1)), faultOften()].join(),
  'workers-together': async () => {
    const workers = inWorkers(3);
    return [...(await workers), faultOften()].join();
  },
  'sent-signal': () => {
    mapVanished();
    process.kill(process.pid, 'SIGBUS');
  },
  // A listener that was there before: it gets what is not ours, and faults stay ours.
  'listened-signal': async () => {
    const heard = new Promise<string>((resolve) => process.once('SIGBUS', resolve));
    const code = faultOften();
    const awake = setTimeout(() => undefined, 60_000); // a listener alone keeps no process
    process.kill(process.pid, 'SIGBUS');
    const said = [code, await heard].join();
    clearTimeout(awake);
    return said;
  },
  // A listener that came after us has taken the handler away when it is gone.
  'listener-gone': () => {
    mapVanished();
    process.once('SIGBUS', ignore).off('SIGBUS', ignore);
    return faultOften();
  },
  'listener-stays': async () => {
    mapVanished();
    const heard = new Promise<string>((resolve) => process.on('SIGBUS', resolve));
    const code = faultOften();
    const awake = setTimeout(ignore, 60_000);
    process.kill(process.pid, 'SIGBUS');
    const said = [code, await heard].join();
    clearTimeout(awake);
    return said;
  },
  // Somebody who passes on to who was there before, which is us, and over whom we are put again.
  'circle-fault': () => {
    mapVanished();
    putHandlerOverOurs();
    return faultOften();
  },
  'circle-signal': () => {
    mapVanished();
    putHandlerOverOurs();
    faultOften();
    process.kill(process.pid, 'SIGBUS');
  },
  'unsafe-buffer': () => new Uint8Array(mapVanished().unsafeArrayBuffer())[0],
};

const said = await scenarios[scenario]?.();

if (isMainThread) console.log(said);
else parentPort?.postMessage(said);
