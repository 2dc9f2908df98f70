// What may import what, which `npm run lint` checks; docs/architecture.md says what each room is for.

/** The rooms of lib/, from the ground up: each imports only what stands before it. */
const layers = [
  ['core'],
  ['locate', 'info', 'pci'],
  ['diagnose'],
  ['region', 'interrupt'],
  ['feature'],
  ['iommu'],
  ['backend'],
  ['reset'],
  ['device'],
  ['handover'],
  ['host'],
  ['trace'],
];

/** addon.ts is a part of core that stands where the build finds it. */
const files = (room) => (room === 'core' ? '^lib/(core/|addon\\.ts$)' : `^lib/${room}/`);

const rooms = layers.flatMap((layer, at) =>
  layer.map((room) => {
    const below = layers.slice(0, at).flat();
    return {
      name: `below-${room}`,
      comment: `lib/${room} imports only ${['itself', ...below].join(', ')}`,
      severity: 'error',
      from: { path: files(room) },
      to: { path: '^lib/', pathNot: [room, ...below].map(files) },
    };
  }),
);

export default {
  forbidden: [
    {
      name: 'no-circle',
      comment: 'A circle, of types too, can only be read as a whole.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'known-room',
      comment: 'It is in none of the rooms above: give it its place there.',
      severity: 'error',
      from: {
        path: '^lib/',
        pathNot: [...layers.flat().map(files), '^lib/(cli|testing)/', '^lib/index\\.ts$'],
      },
      to: {},
    },
    ...rooms,
    {
      name: 'cli-uses-what-programs-use',
      comment:
        'The commands stand over the public surface; output.ts besides asks whether its reader is gone.',
      severity: 'error',
      from: { path: '^lib/cli/' },
      to: {
        path: '^lib/',
        pathNot: ['^lib/cli/', '^lib/index\\.ts$', '^lib/core/other_end\\.ts$'],
      },
    },
    {
      name: 'testing-stands-apart',
      comment: 'Only who imports vfio/testing loads it: nothing that programs use may.',
      severity: 'error',
      from: { path: '^lib/', pathNot: '^lib/testing/' },
      to: { path: '^lib/testing/' },
    },
    {
      name: 'testing-is-a-kernel',
      comment:
        'The fake kernel takes the place of the addon and of the roots, and imitates what is behind them.',
      severity: 'error',
      from: { path: '^lib/testing/' },
      to: {
        path: '^lib/',
        pathNot: ['^lib/(testing|core)/', '^lib/index\\.ts$', '^lib/locate/roots\\.ts$'],
      },
    },
    {
      name: 'lib-needs-nothing',
      comment: 'Neither tests nor tools nor packages: what is shipped needs Node alone.',
      severity: 'error',
      from: { path: '^lib/' },
      to: { pathNot: ['^lib/', '^vfio/package\\.json$'], dependencyTypesNot: ['core'] },
    },
    {
      name: 'locate-opens-no-device',
      comment: 'Descriptors of devices are made in iommu and backend.',
      severity: 'error',
      from: { path: '^lib/locate/' },
      to: { path: '^lib/core/(owned_fd|file_descriptor|caller)\\.ts$' },
    },
    {
      name: 'no-orphan',
      comment: 'Nothing imports it.',
      severity: 'error',
      from: { orphan: true, path: '^lib/' },
      to: {},
    },
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    exclude: { path: '^(node_modules|dist|build)' },
  },
};
