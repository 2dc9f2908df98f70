import { cacheRoot } from './cache.ts';
import { LabError } from './failure.ts';
import { labHeaders } from './headers.ts';
import { prepareKernel } from './kernel/kernel.ts';
import { parseOptions, type Options } from './options.ts';
import { ensurePackages, RUN_NEEDS } from './packages.ts';
import { runInVm } from './runner.ts';
import { labVmm } from './vmm.ts';
import { deviceTable, helpText } from './usage.ts';

async function main(options: Options): Promise<number> {
  switch (options.action) {
    case 'help':
      process.stdout.write(helpText());
      return 0;
    case 'list':
      process.stdout.write(deviceTable(options.lane, options.rootNvme));
      return 0;
    case 'headers':
      process.stdout.write(`${await labHeaders(options.headers)}\n`);
      return 0;
    case 'vmm':
      process.stdout.write(`${await labVmm()}\n`);
      return 0;
    case 'prepare':
    case 'run':
      return withKernel(options);
  }
}

async function withKernel(options: Options): Promise<number> {
  const cache = cacheRoot();
  await ensurePackages(RUN_NEEDS);
  const kernel = await prepareKernel(cache, options.lane);
  return options.action === 'prepare' ? 0 : runInVm(cache, kernel, options);
}

try {
  process.exitCode = await main(parseOptions(process.argv.slice(2), process.env));
} catch (error) {
  if (!(error instanceof LabError)) throw error;
  process.stderr.write(`lab: ${error.message}\n`);
  process.exitCode = error.exitCode;
}
