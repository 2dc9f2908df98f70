/** A mistake on the command line, with Node's code, as mistakes in arguments of the library have it. */
export function usageError(name: string, expected: string, text: string): TypeError {
  const error = new TypeError(`${name} must be ${expected}, not '${text}'`);
  return Object.assign(error, { code: 'ERR_INVALID_ARG_VALUE' });
}
