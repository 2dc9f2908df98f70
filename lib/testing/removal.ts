/** A day, of which a timer may not have many. */
const long = 86_400_000;

/** Somebody waits until a program has closed a device. */
export class Removal {
  readonly done: Promise<void>;
  #end = (): void => undefined;

  constructor() {
    // All else that waits for it does not keep the process: descriptors that the program watches
    // for requests are none of those for which a process stays.
    const timer = setInterval(() => undefined, long);
    this.done = new Promise((resolve) => {
      this.#end = () => {
        clearInterval(timer);
        resolve();
      };
    });
  }

  end(): void {
    this.#end();
  }
}
