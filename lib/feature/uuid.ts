import { invalidType, invalidValue } from '../arguments.ts';

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** The 16 bytes of a UUID in the order of its text, as the kernel's uuid_t has them. */
export function parseUuid(name: string, text: unknown): Uint8Array {
  const expected = 'a UUID, such as 8699b0f6-5c57-4d4e-a371-4f0e0d3b5f1c';
  if (typeof text !== 'string') throw invalidType(name, expected, text);
  if (!uuid.test(text)) throw invalidValue(name, expected, text);
  return Uint8Array.from(Buffer.from(text.replaceAll('-', ''), 'hex'));
}
