/** Titles of tests of devices that the fake kernel side cannot run, and why not. */
const reasons: [why: string, titles: string[]][] = [
  [
    'other processes and threads have the real kernel',
    [
      'end with a worker that takes them',
      'says how much this user may pin',
      'is over when the process is killed',
      'reads by a loop of its own, and by workers',
      'lends queues to workers',
      'has a command',
      'is held by another process',
      'lspci',
      'is printed by vfio config',
    ],
  ],
  [
    'it is about QEMU, or the lab',
    [
      'is rung for by prepared accesses, and found by a poll',
      'the memory stays, the kernel tells',
      'ends what is under way when its device is unplugged',
      'too many vectors',
      'stops trying when the device is being removed',
      'a hot reset of several devices',
      'says that the device was asked back when it is unplugged',
      'is an unbound cdev until it is bound',
      'has the capabilities that QEMU’s models have',
    ],
  ],
  [
    'the fake kernel side has none of this: mdevs, ROMs, an IOMMU in sysfs, huge pages, page faults, low power',
    [
      'mtty',
      'mdpy',
      'mbochs',
      'a ROM',
      'ignores what is written, and open leaves nothing open',
      'is explained where there is none',
      'or nothing to map',
      'reaches huge pages',
      'has the registers of the IOMMU that is in front of a device',
      'has options, a page table of its own',
      'low power',
    ],
  ],
  ['it takes long', ['leaves nothing behind in 10,000', 'is lean where nothing happens']],
];

const escaped = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');

/** An expression that finds them. */
export const leftOut: string = reasons
  .flatMap(([, titles]) => titles)
  .map(escaped)
  .join('|');
