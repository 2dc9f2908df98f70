import { readFileSync } from 'node:fs';
import { arch, cpus, loadavg, release } from 'node:os';

/** What the times were taken on. */
export interface Machine {
  kernel: string;
  architecture: string;
  processor: string;
  processors: number;
  /** The processor says that it is a virtual one. */
  virtual: boolean;
  node: string;
  /** How many wanted to run, on the average of the last minute. */
  load: number;
}

export function thisMachine(): Machine {
  const all = cpus();
  return {
    kernel: release(),
    architecture: arch(),
    processor: all[0]?.model.trim() ?? 'unknown',
    processors: all.length,
    virtual: /^flags.*\bhypervisor\b/m.test(readFileSync('/proc/cpuinfo', 'utf8')),
    node: process.version,
    load: loadavg()[0] ?? NaN,
  };
}

export function machineText(machine: Machine): string {
  const { kernel, architecture, processor, processors, virtual, node, load } = machine;
  const kind = virtual ? ', virtual' : '';
  return `Linux ${kernel} ${architecture}; ${processors} × ${processor}${kind}; Node ${node}; load ${load.toFixed(2)}`;
}
