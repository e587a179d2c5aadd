/** A console of a machine in a Worker: what the guest prints is acknowledged once it has been dealt with, and the guest waits for that. */
import { Console } from '../devices/serial/console.ts';

/** Takes what the guest printed; the guest may print more once the promise, if there is one, has resolved. */
export type OutputSink = (bytes: Uint8Array) => void | Promise<void>;

export class RemoteConsole extends Console {
  readonly #sinks = new Set<OutputSink>();

  constructor(
    name: string,
    input: (bytes: Uint8Array) => void,
    private readonly taken: (lengthBytes: number) => void,
  ) {
    super(name, input);
  }

  /** The guest printed. */
  received(bytes: Uint8Array): void {
    this.deliver(bytes);
    const pending = [...this.#sinks].map((sink) => sink(bytes)).filter((wait) => wait !== undefined);
    if (pending.length === 0) this.taken(bytes.length);
    else void Promise.allSettled(pending).then(() => this.taken(bytes.length));
  }

  /** Gives everything printed from now on to a terminal, which may be slow; returns a function that ends it. */
  attach(sink: OutputSink): () => void {
    this.#sinks.add(sink);
    return () => {
      this.#sinks.delete(sink);
    };
  }
}
