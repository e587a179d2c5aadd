/** A host for the user-mode network whose clock, sockets and resolver a test holds in its hands. */
import type {
  BootFile,
  HostDatagramEvents,
  HostDatagrams,
  HostStream,
  HostStreamEvents,
  NatHost,
} from '../../devices/net/nat/host.ts';
import { addressAnswer } from '../../devices/net/nat/dns-message.ts';

export class FakeStream implements HostStream {
  pendingBytes = 0;
  readonly written: Uint8Array[] = [];
  ended = false;
  held = false;
  /** How it was destroyed; undefined while it lives. */
  destroyed: 'reset' | 'closed' | undefined;

  constructor(
    readonly address: string,
    readonly port: number,
    readonly events: HostStreamEvents | undefined,
  ) {}

  write(bytes: Uint8Array): void {
    this.written.push(bytes);
  }

  end(): void {
    this.ended = true;
  }

  hold(held: boolean): void {
    this.held = held;
  }

  destroy(reset: boolean): void {
    this.destroyed = reset ? 'reset' : 'closed';
  }

  /** All bytes that came from the guest. */
  get text(): string {
    return this.written.map((bytes) => new TextDecoder().decode(bytes)).join('');
  }
}

export class FakeDatagrams implements HostDatagrams {
  readonly sent: { readonly bytes: Uint8Array; readonly address: string; readonly port: number }[] = [];
  closed = false;

  constructor(readonly events: HostDatagramEvents) {}

  send(bytes: Uint8Array, address: string, port: number): void {
    this.sent.push({ bytes, address, port });
  }

  close(): void {
    this.closed = true;
  }
}

interface Timer {
  readonly atMs: number;
  readonly callback: () => void;
}

export class FakeNatHost implements NatHost {
  now = 0;
  readonly streams: FakeStream[] = [];
  readonly sockets: FakeDatagrams[] = [];
  /** What listens, by address and port. */
  readonly listening = new Map<string, (stream: HostStream, peer: string, peerPort: number) => HostStreamEvents>();
  readonly files = new Map<string, Uint8Array>();
  readonly #timers = new Set<Timer>();

  nowMs(): number {
    return this.now;
  }

  after(delayMs: number, callback: () => void): () => void {
    const timer = { atMs: this.now + delayMs, callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  get timerCount(): number {
    return this.#timers.size;
  }

  /** Lets time go by, timers called in their order. */
  advance(milliseconds: number): void {
    const end = this.now + milliseconds;
    for (;;) {
      let next: Timer | undefined;
      for (const timer of this.#timers) if (timer.atMs <= end && (!next || timer.atMs < next.atMs)) next = timer;
      if (!next) break;
      this.#timers.delete(next);
      this.now = Math.max(this.now, next.atMs);
      next.callback();
    }
    this.now = end;
  }

  random(into: Uint8Array): void {
    into.fill(0x11);
  }

  connectTcp(address: string, port: number, events: HostStreamEvents): FakeStream {
    const stream = new FakeStream(address, port, events);
    this.streams.push(stream);
    return stream;
  }

  listenTcp(
    address: string,
    port: number,
    accept: (stream: HostStream, peer: string, peerPort: number) => HostStreamEvents,
  ): Promise<() => Promise<void>> {
    this.listening.set(`${address}:${port}`, accept);
    return Promise.resolve(() => {
      this.listening.delete(`${address}:${port}`);
      return Promise.resolve();
    });
  }

  openUdp(_family: 4 | 6, events: HostDatagramEvents): FakeDatagrams {
    const socket = new FakeDatagrams(events);
    this.sockets.push(socket);
    return socket;
  }

  listenUdp(_address: string, _port: number, events: HostDatagramEvents): Promise<FakeDatagrams> {
    return Promise.resolve(this.openUdp(4, events));
  }

  resolveDns(query: Uint8Array): Promise<Uint8Array> {
    return Promise.resolve(addressAnswer(query, ['192.0.2.1']));
  }

  readonly ping = (): Promise<boolean> => Promise.resolve(true);

  readonly openBootFile = (name: string): Promise<BootFile | undefined> => {
    const bytes = this.files.get(name);
    return Promise.resolve(
      bytes && {
        sizeBytes: bytes.length,
        read: (offset, lengthBytes) => Promise.resolve(bytes.slice(offset, offset + lengthBytes)),
        close: () => undefined,
      },
    );
  };
}
