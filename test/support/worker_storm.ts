// Run in a worker by test/unit/workers.test.ts: keeps slow calls in flight until it is terminated.

import { constants } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { binding, type NativeFd, type NativeMemory } from '../../lib/core/binding.ts';

const native = binding();

function callForEver(): void {
  const fd = native.open('/dev/full', constants.O_RDWR);
  if (fd === undefined || fd < 0) throw new Error(`open answered ${fd}`);
  void native.bind(fd as NativeFd, fd as NativeFd);
  void native.readFolders(['/proc/self', '/sys/bus'], ['exe@', 'status', './']);
  void native.ioasUnmap(fd as NativeFd, 1, 0n, 4096n);
  void native.memoryAllocate(65536n, 0, 1)?.then((memory) => {
    native.memoryBuffer(memory as NativeMemory, 0n, 65536n);
    void native.ioasMapMemory(fd as NativeFd, 1, 6, memory as NativeMemory, 0n, 4096n, 0n);
    native.memoryRelease(memory as NativeMemory);
  });
  void native.close(fd as NativeFd)?.then(callForEver);
}

for (let chain = 0; chain < 8; chain++) callForEver();

parentPort?.postMessage('running');
