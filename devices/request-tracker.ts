/** Requests that a device has handed to a backend and that have not come back. Every device with I/O in flight keeps them here. */

interface Request {
  readonly settled: Promise<void>;
  abandoned: boolean;
}

export class RequestTracker {
  readonly #requests = new Set<Request>();

  /**
   * `bug` hears of exceptions out of completions: a completion must not throw. `hold` keeps the guest memory that was given out for a request
   * in its place (GuestMemory.hold).
   */
  constructor(
    private readonly bug: (error: unknown) => void,
    private readonly hold: () => () => void = () => () => undefined,
  ) {}

  /** Requests whose backend has not answered yet, abandoned ones included: their data may still move. */
  get inFlight(): number {
    return this.#requests.size;
  }

  /**
   * Follows a request, which has taken its views of guest memory just before. Exactly one of `done` and `failed` is called when the backend answers, unless the request was abandoned
   * meanwhile.
   */
  begin<T>(work: Promise<T>, done: (result: T) => void, failed: (error: unknown) => void): void {
    const release = this.hold();
    const finish = (complete: () => void): void => {
      this.#requests.delete(request);
      release();
      if (request.abandoned) return;
      try {
        complete();
      } catch (error) {
        this.bug(error);
      }
    };
    const request: Request = {
      abandoned: false,
      settled: work.then(
        (result) => finish(() => done(result)),
        (error: unknown) => finish(() => failed(error)),
      ),
    };
    this.#requests.add(request);
  }

  /** Resolves when no request is in flight, those that completions begin meanwhile included. */
  async drain(): Promise<void> {
    while (this.#requests.size > 0) await Promise.all([...this.#requests].map(({ settled }) => settled));
  }

  /** Drops the completions of all present requests. Their data may still move until the returned promise resolves. */
  async abandon(): Promise<void> {
    const present = [...this.#requests];
    for (const request of present) request.abandoned = true;
    await Promise.all(present.map(({ settled }) => settled));
  }
}
