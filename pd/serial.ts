/** Tasks that must not overlap: each gets a `done` to call once. */
export class Serial {
  readonly #tasks: ((done: () => void) => void)[] = [];
  #running = false;

  run(task: (done: () => void) => void): void {
    this.#tasks.push(task);
    this.#next();
  }

  #next(): void {
    while (!this.#running) {
      const task = this.#tasks.shift();
      if (task === undefined) return;
      this.#running = true;
      task(() => {
        this.#running = false;
        this.#next();
      });
    }
  }
}
