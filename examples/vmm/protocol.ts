// What the broker and its clients say to each other: one JSON object a message.
import type { DeviceDescription } from 'vfio';

/** From the client, once: the device that it wants. */
export interface Request {
  open: string;
}

/** From the broker: the device, whose descriptors are the message's; or why not. */
export type Answer = { ok: true; device: DeviceDescription } | { ok: false; why: string };

export function encode(message: Request | Answer): Uint8Array {
  return Buffer.from(JSON.stringify(message));
}

/** Whatever it is: the other side may be anybody. Undefined where it is no JSON. */
export function decode(data: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(data).toString());
  } catch {
    return undefined;
  }
}
