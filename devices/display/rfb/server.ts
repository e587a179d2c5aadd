/**
 * Who may see a display over RFB. As in bhyve one viewer at a time does, and others wait for it to go; `maxViewers` allows more. Only clients
 * that are through the handshake wait or are shown anything, so one that hangs in the middle of it keeps nobody out for long.
 */
import type { Display } from '../display.ts';
import { RfbSession, type RfbTransport, type SessionOptions } from './session.ts';

/** Connections at a time, in whatever state. */
const MAX_CONNECTIONS = 32;
/** A client has this long to get through the handshake; a user who types a password is one of them. */
const HANDSHAKE_MS = 60_000;
/** Connections that have not got through it; beyond that the one that has tried for the longest time goes. */
const MAX_HANDSHAKES = 8;

export interface RfbServerOptions extends SessionOptions {
  readonly maxViewers?: number;
}

/** What the host calls while a connection lives. */
export interface RfbConnection {
  receive(bytes: Uint8Array): void;
  /** The far end went. */
  closed(): void;
}

export class RfbServer {
  /** Connections that broke the protocol, took too long or were too many. */
  refused = 0;
  readonly #sessions = new Set<RfbSession>();
  /** In the handshake, the oldest first. */
  readonly #handshakes = new Map<RfbSession, ReturnType<typeof setTimeout>>();
  readonly #waiting: RfbSession[] = [];
  readonly #firstViewer: Promise<void>;
  #viewerCame: () => void = () => {};

  constructor(
    private readonly display: Display,
    private readonly options: RfbServerOptions = {},
  ) {
    this.#firstViewer = new Promise((resolve) => {
      this.#viewerCame = resolve;
    });
  }

  /** Resolves when a viewer has been shown the display for the first time. */
  get firstViewer(): Promise<void> {
    return this.#firstViewer;
  }

  /** Viewers that see the display now. */
  get viewers(): number {
    return [...this.#sessions].filter((session) => session.entered).length;
  }

  /** A client has connected. Undefined when there are too many; the transport is closed then. */
  accept(transport: RfbTransport): RfbConnection | undefined {
    if (this.#sessions.size >= MAX_CONNECTIONS) {
      this.refused++;
      transport.close();
      return undefined;
    }
    if (this.#handshakes.size >= MAX_HANDSHAKES) {
      const [oldest] = this.#handshakes.keys();
      if (oldest) this.#refuse(oldest);
    }
    const log = (text: string): void => {
      this.refused++;
      this.options.log?.(text);
    };
    const session = new RfbSession(this.display, transport, { ...this.options, log });
    this.#sessions.add(session);
    this.#handshakes.set(
      session,
      setTimeout(() => this.#refuse(session), HANDSHAKE_MS),
    );
    session.onReady = () => this.#ready(session);
    session.onClosed = () => this.#gone(session);
    session.start();
    return { receive: (bytes) => session.receive(bytes), closed: () => session.close() };
  }

  /** Ends all sessions. */
  close(): void {
    for (const session of [...this.#sessions]) session.close();
  }

  #refuse(session: RfbSession): void {
    this.refused++;
    session.close();
  }

  #ready(session: RfbSession): void {
    clearTimeout(this.#handshakes.get(session));
    this.#handshakes.delete(session);
    this.#waiting.push(session);
    this.#admit();
  }

  #gone(session: RfbSession): void {
    clearTimeout(this.#handshakes.get(session));
    this.#handshakes.delete(session);
    this.#sessions.delete(session);
    const index = this.#waiting.indexOf(session);
    if (index !== -1) this.#waiting.splice(index, 1);
    this.#admit();
  }

  #admit(): void {
    while (this.#waiting.length > 0 && this.viewers < (this.options.maxViewers ?? 1)) {
      this.#waiting.shift()?.enter();
      this.#viewerCame();
    }
  }
}
