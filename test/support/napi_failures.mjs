// Started by test/unit/napi_failures.test.ts, plain JavaScript so that its workers start soon: does
// a round of what the addon can do for each place at which Node-API fails, in workers that end
// after some rounds. Arguments: the addon's path, and how many calls fail from that place on.
import { once } from 'node:events';
import { readFileSync, readdirSync, readlinkSync, writeSync } from 'node:fs';
import process from 'node:process';
import { setTimeout } from 'node:timers';
import { fileURLToPath } from 'node:url';
import { SHARE_ENV, Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';

const roundsOfWorker = 40;

/** What a call answers; undefined where it throws, as it may when Node-API failed. */
function attempt(call) {
  try {
    return call();
  } catch {
    return undefined;
  }
}

/**
 * Whether it was settling itself that failed, or fails by now as all does: nobody waits then in
 * earnest.
 */
function cannotSettle() {
  const { NAPI_FAILED, NAPI_FAIL_COUNT } = process.env;
  return NAPI_FAILED === 'napi_resolve_deferred' || (NAPI_FAILED !== '' && NAPI_FAIL_COUNT !== '1');
}

/**
 * What a promise settles with. One that never settles would have the program of a user wait for
 * ever.
 */
async function settled(promise) {
  if (!(promise instanceof Promise)) return promise;
  let value = 'waiting';
  const settling = promise.catch(() => undefined).then((answer) => (value = answer));
  for (let waited = 0; value === 'waiting'; waited++) {
    if (waited > 50 && cannotSettle()) return undefined;
    if (waited > 2000) throw new Error('a promise did not settle');
    await Promise.race([settling, new Promise((done) => setTimeout(done, 5))]);
  }
  return value;
}

/**
 * Calls functions of an addon that was loaded anew; where loading failed half way, some are not
 * there.
 */
function load(path) {
  const addon = { exports: {} };
  let error;
  try {
    process.dlopen(addon, path);
  } catch (thrown) {
    error = thrown;
  }
  // Where nothing can be thrown any more, nobody runs on with half an addon.
  const mustThrow = process.env.NAPI_FAILED !== '' && process.env.NAPI_FAIL_COUNT === '1';
  if (mustThrow && error === undefined) throw new Error('a failure of loading was not told');
  return (name, ...args) => attempt(() => addon.exports[name](...args));
}

async function mapAndAccess(call) {
  const memory = call('memoryAllocateSync', 8192n, 0, 0);
  const file = call('dup', call('memoryFile', memory));
  call('fstat', file, new Uint32Array(3));
  const shown = call('memoryBuffer', memory, 0n, 4096n);
  if (shown instanceof ArrayBuffer) call('detachBuffer', shown);
  const taken = call('memoryTake', call('memoryOffer', memory), 4096);
  call('memoryRelease', taken);
  const mapping = call('map', file, 0, 0, 0, 8192, 0, 0);
  const mail = call('mailbox');
  if (mail instanceof ArrayBuffer && mapping > 0) {
    new Uint32Array(mail)[4] = mapping;
    for (const bits of [8, 16, 32, 64]) {
      call(`write${bits}`);
      call(`read${bits}`);
    }
  }
  mapByMail(call, file, memory);
  const offsets = Uint32Array.of(0, 8);
  call('writeBatch32', mapping, offsets, new Uint32Array(2));
  call('readBatch32', mapping, offsets, new Uint32Array(2));
  call('writeBlock', mapping, 0, new Uint8Array(16));
  call('readBlock', mapping, 0, new BigUint64Array(2));
  call('poll32Sync', mapping, 0, 0, 0, 1);
  await settled(call('poll32', mapping, 0, 0, 0, 1));
  call('exposeMapping', mapping);
  await settled(call('unmap', mapping));
  call('pread', file, 0, 0, 0, new Uint8Array(8));
  await settled(call('pwrite', file, 0, 0, 0, new Uint8Array(8)));
  call('memoryRelease', memory);
  await settled(call('close', file, undefined));
}

/** A file that is no iommufd: nothing can be said to be mapped. */
function mapByMail(call, file, memory) {
  const mail = call('mapMail');
  if (!(mail instanceof ArrayBuffer) || !(file > 0) || !(memory > 0)) return;
  new BigUint64Array(mail, 0, 3).set([0n, 4096n, 0n]);
  const words = new Int32Array(mail);
  words.set([file, 1, 6, memory], 6);
  for (const name of ['mapMemoryByMail', 'mapMemoryFileByMail', 'unmapByMail']) {
    words[10] = 1;
    call(name);
    if (words[10] === 0) throw new Error(`${name} says that it was made`);
  }
}

/** What the loop polls is found by the handle that it was given, whichever call failed. */
function mustBePolled(call, event, answer) {
  if (answer === 0 && call('eventfdRef', event, true) === 0)
    throw new Error('what is polled is not found by its handle');
}

/**
 * The callback has to come where nothing failed. Where something did it may not, and nobody waits
 * for long.
 */
async function interrupt(call) {
  const event = call('eventfdOpen');
  let came = false;
  const told = new Promise((done) => {
    mustBePolled(call, event, call('eventfdWatch', event, done));
  }).then(() => (came = true));
  // A method that was not made known leaves the callback in its place.
  call('eventfdMethod', event, {}, () => undefined);
  call('eventfdMethod', event, undefined, undefined);
  call('eventfdMethod', event, {}, function () {
    came = true;
  });
  call('eventfdWrite', event, 1);
  const orAfter = (time) => Promise.race([told, new Promise((done) => setTimeout(done, time))]);
  while (!came && process.env.NAPI_FAILED === '') await orAfter(5);
  if (!came) await orAfter(20);
  call('eventfdUnwatch', event);
  call('eventfdRead', event);
  const polled = call('fdPoll', event, 1, () => undefined);
  mustBePolled(call, event, polled);
  const copy = call('fdTake', call('fdOffer', event));
  call('closeSync', copy, undefined);
  const other = call('eventfdOpen');
  await settled(call('close', event, other));
  call('closeSync', event, undefined);
  call('closeSync', other, undefined);
}

async function handOver(call) {
  const ends = new Uint32Array(2);
  call('socketPair', ends);
  call('socketPeer', ends[0], new Int32Array(3));
  call('socketSend', ends[0], Uint8Array.of(1), Int32Array.of(0));
  const fds = new Uint32Array(253);
  const out = new Int32Array(2);
  call('socketReceive', ends[1], new Uint8Array(8), 1, fds, out);
  for (const fd of fds.filter((fd) => fd !== 0)) call('closeSync', fd, undefined);
  for (const end of ends) call('closeSync', end, undefined);
  const sharedCount = call('sharedCountNew');
  const counted = call('sharedCountTake', call('sharedCountOffer', sharedCount));
  call('sharedCountDrop', counted);
  call('sharedCountDrop', sharedCount);
}

async function look(call) {
  call('readSmallFile', '/proc/self/comm');
  call('listFolder', '/proc/self/task');
  call('readFoldersSync', ['/proc/self'], ['comm', 'exe@', 'task/']);
  await settled(call('readFolders', ['/proc/self'], ['comm', 'exe@', 'task/']));
  await settled(call('findEntries', ['/proc/self/fd'], Uint32Array.of(1, 3), ['pipe:[1]']));
  const watch = call('watchOpen');
  call('watchFolder', watch, '/tmp');
  call('waitForChangeSync', watch, 1);
  call('closeSync', watch, undefined);
  const uevents = call('ueventOpen', 65536);
  call('ueventReceive', uevents, new Uint8Array(8192));
  call('closeSync', uevents, undefined);
  const node = call('open', '/dev/null', 2);
  await settled(call('feature', node, 1, new Uint8Array(4)));
  await settled(call('ioasUnmap', node, 1, 0n, 4096n));
  await settled(call('dmaLoggingReport', node, BigUint64Array.of(0n, 4096n, 4096n)));
  call('memoryRelease', await settled(call('memoryAllocate', 4096n, 0, 0)));
  const zeros = call('open', '/dev/zero', 0);
  await settled(call('readData', zeros, 8));
  call('closeSync', zeros, undefined);
  await settled(call('close', node, undefined));
}

async function runRounds({ path, first, failing }) {
  for (let at = first; at < first + roundsOfWorker; at++) {
    writeSync(1, `${at} `);
    process.env.NAPI_FAIL_COUNT = failing;
    process.env.NAPI_FAILED = '';
    process.env.NAPI_FAIL_FROM = String(at);
    const call = load(path);
    for (const part of [mapAndAccess, interrupt, handOver, look]) await part(call);
    delete process.env.NAPI_FAIL_FROM;
    writeSync(1, `${process.env.NAPI_FAILED}\n`);
    if (process.env.NAPI_FAILED === '') break;
  }
  const isOver = process.env.NAPI_FAILED === '';
  process.env.NAPI_FAILED = '';
  // What ends with the worker meets failures as well: as many as the rounds, since a second one at
  // the same place, of the reference that an error needs, is none that Node has, and node-addon-api
  // aborts.
  const call = load(path);
  void call('poll32', call('map', call('open', '/dev/zero', 2), 0, 0, 0, 4096, 0, 0), 0, 1, 1, 50);
  call('eventfdWatch', call('eventfdOpen'), () => undefined);
  process.env.NAPI_FAIL_FROM = '1';
  parentPort.postMessage(isOver);
  process.exit();
}

function descriptors() {
  const targets = readdirSync('/proc/self/fd').map((fd) =>
    attempt(() => readlinkSync(`/proc/self/fd/${fd}`)),
  );
  return targets
    .filter((target) => target !== undefined && !target.startsWith('/proc/'))
    .sort()
    .join('\n');
}

function memories() {
  return readFileSync('/proc/self/maps', 'utf8').match(/memfd:vfio-dma/g)?.length ?? 0;
}

async function main([path, failing]) {
  let before;
  let isOver = false;
  for (let first = 1; !isOver; first += roundsOfWorker) {
    delete process.env.NAPI_FAIL_FROM;
    const data = { path, first, failing };
    const worker = new Worker(fileURLToPath(import.meta.url), { env: SHARE_ENV, workerData: data });
    worker.on('message', (over) => (isOver = over));
    const [status] = await once(worker, 'exit');
    if (status !== 0) throw new Error(`the worker ended with ${status}`);
    // After the first worker: what Node itself opens for workers is open then.
    before ??= descriptors();
    if (descriptors() !== before)
      throw new Error(`left open:\n${descriptors()}\nbefore:\n${before}`);
    if (memories() > 0) throw new Error('memory was left mapped');
  }
  writeSync(1, 'end\n');
}

if (isMainThread) await main(process.argv.slice(2));
else await runRounds(workerData);
