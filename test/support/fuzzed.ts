// Loaded by `npm run check:fuzz`: all properties begin with the seed that it says, and those that do not
// say how often they are tried are tried so often. What fails tells its seed and path, which
// `fc.assert` takes.
import fc from 'fast-check';

fc.configureGlobal({
  seed: Number(process.env['VFIO_TEST_SEED']),
  numRuns: Number(process.env['VFIO_TEST_RUNS']),
});
