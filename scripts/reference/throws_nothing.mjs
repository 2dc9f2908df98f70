// What has no `@throws` because it throws nothing: getters of what is known, mostly. Whatever else of
// the public interface has none is an error of `npm run lint:docs`.

const members = {
  'vfio.VfioCdev': ['device', 'name', 'path', 'major', 'minor'],
  'vfio.VfioDevice': [
    'device',
    'name',
    'path',
    'major',
    'minor',
    'backend',
    'requestEvents',
    'feature',
  ],
  'vfio.Interrupt': ['index', 'name', 'count', 'flags', 'enabled', 'vectors'],
  'vfio.InterruptVector': ['ref', 'unref', 'removeAllListeners'],
  'vfio.MigrationSource': ['more'],
  'vfio.VfioError': ['constructor', 'toJSON'],
  'vfio.DirtyPages': ['[iterator]'],
  'vfio.DmaBuffer': ['size', 'mappings', 'disposed'],
  'vfio.DmaBlock': ['mapped'],
  'vfio.DmaPoll': ['head', 'first'],
  'vfio.EventQueue': ['id'],
  'vfio.HwQueue': ['index'],
  'vfio.NestedHwpt': ['ioas'],
  'vfio.Vdevice': ['virtId'],
  'vfio.Viommu': ['data'],
  'vfio.Hwpt': ['ioas'],
  'vfio.AddressSpace': ['mappings'],
  'vfio.IovaAllocator': ['free'],
  'vfio.DmaMapping': ['mapped'],
  'vfio.PeerMapping': ['iova', 'size', 'mapped', 'revoked'],
  'vfio.FdListener': ['path'],
  'vfio.DeviceWatch': ['[asyncIterator]'],
  'vfio.MappedRegion': ['name', 'offset', 'size', 'closed', 'barrier'],
  'vfio.Region': ['index', 'name', 'size', 'flags', 'capabilities'],
  'vfio.FigureCounter': ['read', 'stop', '[dispose]'],
  'vfio/testing.FakeDevice': ['configBytes', 'isOpen', 'assertIntx', 'requestRemoval', 'unplug'],
  'vfio/testing.FakeHost': ['sysfsRoot', 'devRoot', 'devices', 'openDevices'],
  'vfio/testing.Injection': ['hits', 'remove'],
};

export const throwsNothing = [
  ...Object.entries(members).flatMap(([owner, names]) => names.map((name) => `${owner}.${name}`)),
  'vfio.countFigures',
];
