import { VfioError } from './errors.ts';

/** Runtimes that imitate Node, and lack functions of libuv that the addon calls: they would die of it. */
const others = ['bun', 'deno'] as const;

/**
 * The package can be imported everywhere; only what reaches for a device needs Linux, and Node itself.
 *
 * @throws VfioError `ERR_VFIO_UNSUPPORTED_PLATFORM`, `ERR_VFIO_UNSUPPORTED_RUNTIME`
 */
export function requirePlatform(): void {
  if (process.platform !== 'linux') {
    throw new VfioError({
      code: 'ERR_VFIO_UNSUPPORTED_PLATFORM',
      message: `VFIO is an interface of the Linux kernel; this is ${process.platform}`,
    });
  }
  const runtime = others.find((name) => process.versions[name] !== undefined);
  if (runtime === undefined) return;
  throw new VfioError({
    code: 'ERR_VFIO_UNSUPPORTED_RUNTIME',
    message: `the addon needs functions of libuv that ${runtime} ${process.versions[runtime]} may lack: it runs under Node only`,
  });
}
