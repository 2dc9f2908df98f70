import fc from 'fast-check';
import { fakeAddress } from './fake_vfio.ts';
import type { Entry } from './tree.ts';

/** A file, a link, a folder, or nothing. */
type Node = Entry | { folder: Record<string, Node> } | undefined;

const link = (...targets: string[]): fc.Arbitrary<Node> =>
  fc.constantFrom(...targets).map((pointsTo) => ({ pointsTo }));

/** What has no place in sysfs, and could be there after all. */
const garbage: fc.Arbitrary<Node> = fc.oneof(
  fc.constantFrom(
    '',
    '\n',
    '-1\n',
    '0x\n',
    '99999999999999999999\n',
    '4294967295\n',
    '1:7\n',
    '..',
  ),
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.constant('long'.repeat(2000)),
  link(
    '..',
    '.',
    'nothing',
    '/',
    '/etc',
    '/etc/passwd',
    '../../../..',
    'bus/..',
    'bus/.',
    'uevent',
  ),
  fc.constant<Node>({ folder: {} }),
  fc.constant<Node>({ folder: { vfio0: 'a file', dev: '1:7\n' } }),
);

/** Mostly what belongs there; garbage sometimes, and sometimes nothing. */
function mostly(good: fc.Arbitrary<Node>): fc.Arbitrary<Node> {
  return fc.oneof(
    { weight: 6, arbitrary: good },
    { weight: 1, arbitrary: garbage },
    { weight: 1, arbitrary: fc.constant(undefined) },
  );
}

const text = (...texts: string[]): fc.Arbitrary<Node> =>
  mostly(fc.constantFrom(...texts.map((one) => `${one}\n`)));

const folder = (nodes: Record<string, fc.Arbitrary<Node>>): fc.Arbitrary<Node> =>
  fc.record(nodes).map((all) => ({ folder: all }));

const cdev = folder({ dev: text('1:7', '511:0', '1:3'), uevent: text('') });

const cdevs = mostly(
  fc
    .tuple(
      fc.constantFrom('vfio0', 'noiommu-vfio1', 'vfio', 'vfio0x', '..vfio0', 'vfio-dev'),
      mostly(cdev),
    )
    .map(([name, node]) => ({ folder: { [name]: node } })),
);

const device = folder({
  uevent: text('PCI_CLASS=10802'),
  subsystem: mostly(link('../../../../bus/pci', '../../../bus/mdev', '../../bus/platform')),
  iommu_group: mostly(link('../../../kernel/iommu_groups/7')),
  driver: mostly(link('../../drivers/vfio-pci', '../../drivers/nvme')),
  driver_override: text('(null)', 'vfio-pci'),
  vendor: text('0x1b36'),
  class: text('0x010802'),
  numa_node: text('-1', '0'),
  sriov_numvfs: text('0', '2', '65535', '999999999'),
  sriov_totalvfs: text('0', '4', '5', '65535'),
  physfn: mostly(link('../0000:3b:00.0')),
  virtfn0: mostly(link('../0000:3b:00.1')),
  virtfn1: mostly(link('../0000:3b:00.2')),
  'vfio-dev': cdevs,
  vfio: cdevs,
});

const mdev = '83b8f4f2-509f-382f-3c1e-e6bfe0fa1001';

/** A sysfs with some devices and /dev, of which anything may be missing or garbage. */
export const randomTree: fc.Arbitrary<Record<string, Entry>> = folder({
  sys: folder({
    bus: mostly(
      folder({
        pci: mostly(
          folder({ devices: mostly(folder({ [fakeAddress]: mostly(device), x: device })) }),
        ),
        mdev: mostly(folder({ devices: mostly(folder({ [mdev]: device })) })),
      }),
    ),
    dev: mostly(
      folder({
        char: mostly(
          folder({
            '1:7': mostly(
              link(
                `../../bus/pci/devices/${fakeAddress}/vfio-dev/vfio0`,
                `../../bus/mdev/devices/${mdev}/vfio-dev/vfio0`,
                '../../bus/pci/devices/x/vfio-dev/vfio0',
                'vfio0',
              ),
            ),
          }),
        ),
      }),
    ),
    class: folder({
      misc: mostly(folder({ iommu: mostly(folder({ dev: text('10:1', '1:7') })) })),
    }),
  }),
  dev: folder({
    vfio: mostly(
      folder({ devices: mostly(folder({ vfio0: mostly(link('/dev/full', '/dev/null')) })) }),
    ),
    char: mostly(folder({ '1:7': mostly(link('/dev/full')) })),
  }),
}).map((node) => Object.fromEntries(entriesOf(node, '')));

/** How a device of such a tree can be named. */
export const specsOf = (root: string): string[] => [
  fakeAddress,
  mdev,
  `${root}/sys/bus/pci/devices/${fakeAddress}/vfio-dev`,
  `${root}/sys/dev/char/1:7/device`,
  `${root}/dev/vfio/devices/vfio0`,
  `${root}/dev/char/1:7`,
];

function entriesOf(node: Node, path: string): [string, Entry][] {
  if (node === undefined) return [];
  if (typeof node === 'string' || 'pointsTo' in node) return [[path, node]];
  const entries = Object.entries(node.folder).flatMap(([name, inner]) =>
    entriesOf(inner, path === '' ? name : `${path}/${name}`),
  );
  return entries.length > 0 ? entries : [[`${path}/.empty`, '']];
}
