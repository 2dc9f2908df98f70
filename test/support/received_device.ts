import { type FdChannel, type UnpackedDevice, unpackDevice } from '../../lib/index.ts';

/** Takes the bound device that comes by a channel, and its address spaces. */
export async function receivedDevice(channel: FdChannel): Promise<UnpackedDevice> {
  const message = await channel.receive();
  if (!message) throw new Error('no message came');
  return unpackDevice(message.data, message.fds);
}
