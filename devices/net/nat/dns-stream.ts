/** The name server's end of a TCP connection (RFC 7766): a stream of questions in, of answers out. */
import { DnsStreamReader, framedDns, type DnsForwarder } from './dns.ts';
import type { HostStream, HostStreamEvents } from './host.ts';

export class DnsStream implements HostStream {
  readonly pendingBytes = 0;
  readonly #reader = new DnsStreamReader();
  #open = 0;
  #ended = false;
  #destroyed = false;

  constructor(
    private readonly dns: DnsForwarder,
    private readonly events: HostStreamEvents,
  ) {
    void Promise.resolve().then(() => {
      if (!this.#destroyed) events.connected();
    });
  }

  write(bytes: Uint8Array): void {
    for (const query of this.#reader.push(bytes)) {
      this.#open++;
      void this.dns.answer(query, 'tcp').then((answer) => {
        this.#open--;
        if (this.#destroyed) return;
        if (answer) this.events.data(framedDns(answer));
        this.#endIfDone();
      });
    }
  }

  end(): void {
    this.#ended = true;
    this.#endIfDone();
  }

  #endIfDone(): void {
    if (!this.#ended || this.#open > 0 || this.#destroyed) return;
    this.#destroyed = true;
    this.events.ended();
    this.events.closed(undefined);
  }

  hold(): void {
    // Answers are few and short; they wait in the connection's queue.
  }

  destroy(): void {
    this.#destroyed = true;
  }
}
