import { util } from './builtins.ts';
import { escapeControls } from './controls.ts';

/** The most characters: an address, a path or a few numbers. */
const most = 120;

/**
 * What a value is, in a message: short whatever it is, on one line, and by no code of its own,
 * which could throw or say something else.
 */
export function shown(value: unknown): string {
  const text = util.inspect(value, {
    ...{ depth: 0, maxStringLength: 80, maxArrayLength: 4 },
    ...{ breakLength: Infinity, customInspect: false },
  });
  const short = text.length > most ? `${text.slice(0, most)}…` : text;
  return escapeControls(short);
}
