import { escapeControls } from './controls.ts';

/** A warning of the process that has a `VFIO_…` code. Names of others are in it, so no terminal obeys it. */
export function processWarning(message: string, code: `VFIO_${string}`): void {
  process.emitWarning(escapeControls(message), { type: 'VfioWarning', code });
}
