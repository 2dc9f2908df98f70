// Run in a worker by test/unit/workers.test.ts: keeps slow calls in flight until it is terminated.
import { constants } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { binding, type NativeFd } from '../../lib/binding.ts';

const native = binding();

function callForEver(): void {
  const fd = native.open('/dev/full', constants.O_RDWR);
  if (fd === undefined || fd < 0) throw new Error(`open answered ${fd}`);
  void native.bind(fd as NativeFd, fd as NativeFd);
  void native.readFolders(['/proc/self', '/sys/bus'], ['exe@', 'status', './']);
  void native.close(fd as NativeFd)?.then(callForEver);
}

for (let chain = 0; chain < 8; chain++) callForEver();
parentPort?.postMessage('running');
