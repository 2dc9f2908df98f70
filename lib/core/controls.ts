/**
 * What a terminal would obey, or show elsewhere than it stands: control characters, marks of
 * direction and others that are not seen, separators of lines, halves of surrogates; and what
 * stands where bytes were no UTF-8.
 */
const unprintable = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\ufffd]/gu;

/** Each of them as `\x1b`, `\u202e` or `\u{e0001}`. */
export function escapeControls(text: string): string {
  return text.replace(unprintable, (character) => {
    const code = character.codePointAt(0) ?? 0;
    const digits = code.toString(16);
    if (code < 0x100) return `\\x${digits.padStart(2, '0')}`;
    return code < 0x1_0000 ? `\\u${digits.padStart(4, '0')}` : `\\u{${digits}}`;
  });
}
