/**
 * Latest wins: of the requests of one channel at most one is under way and one is waiting; a newer one takes the place of the one
 * that waits. So what is shown follows a slider as fast as the server answers, and ends at the newest value.
 */

export interface Ticket {
  channel: string;
  sequence: number;
  signal: AbortSignal;
}

type Work<T> = (ticket: Ticket) => Promise<T>;

interface Waiting {
  start: () => void;
  drop: () => void;
}

export class Channel {
  #sequence = 0;
  #running: AbortController | null = null;
  #waiting: Waiting | null = null;

  constructor(readonly name: string) {}

  /** Runs `work` and returns its result, or undefined if a newer call took its place or `cancel` was called. */
  run<T>(work: Work<T>): Promise<T | undefined> {
    this.#waiting?.drop();
    this.#waiting = null;
    return new Promise((resolve, reject) => {
      const start = () => void this.#start(work).then(resolve, reject);
      if (this.#running) this.#waiting = { start, drop: () => resolve(undefined) };
      else start();
    });
  }

  async #start<T>(work: Work<T>): Promise<T | undefined> {
    const controller = new AbortController();
    this.#running = controller;
    try {
      const result = await work({ channel: this.name, sequence: ++this.#sequence, signal: controller.signal });
      return controller.signal.aborted ? undefined : result;
    } catch (error) {
      if (controller.signal.aborted) return undefined;
      throw error;
    } finally {
      if (this.#running === controller) {
        this.#running = null;
        const next = this.#waiting;
        this.#waiting = null;
        next?.start();
      }
    }
  }

  /** Whether something is under way or waiting. */
  get busy(): boolean {
    return this.#running !== null;
  }

  /** Drops whatever is under way or waiting. */
  cancel(): void {
    this.#waiting?.drop();
    this.#waiting = null;
    this.#running?.abort();
    this.#running = null;
  }
}
