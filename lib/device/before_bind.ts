import { invalidType } from '../arguments.ts';
import type { SysfsDevice } from '../locate/find_cdev.ts';
import type { DeviceNode } from './node.ts';

/** A device's node, open and not bound yet. */
export interface UnboundNode {
  /** The descriptor's number, which is the device's later, too. */
  readonly fd: number;
  readonly device: SysfsDevice;
  /** The node that was opened. */
  readonly path: string;
}

/** What to do before the device is bound. */
export interface BeforeBindOption<Result = void | PromiseLike<void>> {
  /**
   * Called between opening the node and binding it, for what has to come before binding: KVM, say, has
   * to be told of the descriptor by then (KVM_DEV_VFIO_FILE_ADD). What it returns is awaited; where it
   * fails the node is closed, and nothing was bound. Only of devices that are opened by their cdev.
   */
  beforeBind?: ((node: UnboundNode) => Result) | undefined;
}

/** @throws TypeError `ERR_INVALID_ARG_TYPE` */
export function checkBeforeBind({ beforeBind }: { beforeBind?: unknown }): void {
  if (beforeBind === undefined || typeof beforeBind === 'function') return;
  throw invalidType('beforeBind', 'a function', beforeBind);
}

export async function callBeforeBind(
  node: DeviceNode,
  { beforeBind }: BeforeBindOption<unknown>,
): Promise<void> {
  await beforeBind?.(unbound(node));
}

/** Nobody would wait for a promise. @throws TypeError `ERR_INVALID_RETURN_VALUE` */
export function callBeforeBindSync(
  node: DeviceNode,
  { beforeBind }: BeforeBindOption<unknown>,
): void {
  const result = beforeBind?.(unbound(node));
  if (typeof result !== 'object' || result === null || !('then' in result)) return;
  const message =
    'beforeBind of a blocking open must be done when it returns, and returned a promise';
  throw Object.assign(new TypeError(message), { code: 'ERR_INVALID_RETURN_VALUE' });
}

function unbound({ fd, location }: DeviceNode): UnboundNode {
  return { fd: fd.number, device: location.device, path: location.path };
}
