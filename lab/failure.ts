/**
 * The exit codes of the lab itself. Everything else is the command's own. 124 and 125 are what
 * timeout(1) and docker(1) use for the same purposes.
 */
export const EXIT_DEADLINE = 124;
export const EXIT_LAB_FAILED = 125;
export const EXIT_USAGE = 2;

/** Something the lab, not the command in it, could not do. Its message is for a person. */
export class LabError extends Error {
  readonly exitCode: number;

  constructor(message: string, exitCode: number = EXIT_LAB_FAILED, options?: ErrorOptions) {
    super(message, options);
    this.name = 'LabError';
    this.exitCode = exitCode;
  }
}
