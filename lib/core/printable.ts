import { invalidType } from './arguments.ts';
import { escapeControls } from './controls.ts';

/**
 * A text as it may be shown on a terminal or in a log: control characters, marks that turn the
 * direction of text, and others that are not seen become `\x1b`, `\u202e` or `\u{e0001}`. For text
 * of others, such as the name of a process. Messages and hints of this package's errors have been
 * through it; facts and lists hold what was read, as it is.
 *
 * @throws TypeError `ERR_INVALID_ARG_TYPE`
 */
export function printable(text: string): string {
  if (typeof text !== 'string') throw invalidType('text', 'a string', text);
  return escapeControls(text);
}
