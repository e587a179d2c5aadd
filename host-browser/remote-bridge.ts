/** The console of a machine that runs elsewhere, over the WebSocket that `-l com1,ws=ADDRESS:PORT` opens under Node. */
import type { TerminalConsole } from './terminal/terminal-view.ts';

/** Output of the other machine that a terminal has not dealt with: beyond this the socket is told to wait. */
const ACKNOWLEDGE_BYTES = 32 * 1024;

export interface BridgeEvents {
  opened(): void;
  /** The connection ended, or never came about; the sentence says why. */
  closed(reason: string): void;
}

/** A console behind a WebSocket. Binary messages are the bytes; a text message from here acknowledges how many have been shown. */
export class RemoteBridge implements TerminalConsole {
  readonly transcript = '';
  readonly #socket: WebSocket;
  readonly #encoder = new TextEncoder();
  #sink: ((bytes: Uint8Array) => void | Promise<void>) | undefined;
  /** What came before there was a terminal. */
  #early: Uint8Array[] = [];
  #unacknowledgedBytes = 0;

  /** Throws SyntaxError when the address is none of a WebSocket. */
  constructor(url: string, events: BridgeEvents) {
    this.#socket = new WebSocket(url, 'webhyve-console');
    this.#socket.binaryType = 'arraybuffer';
    let opened = false;
    this.#socket.addEventListener('open', () => {
      opened = true;
      events.opened();
    });
    this.#socket.addEventListener('message', ({ data }: MessageEvent) => {
      if (data instanceof ArrayBuffer) void this.#received(new Uint8Array(data));
    });
    this.#socket.addEventListener('close', ({ code, reason }) => {
      const text = opened
        ? reason || 'the connection ended'
        : 'no connection: nothing listens there, or it refuses the token or this page’s origin';
      events.closed(code === 1000 || opened ? text : `${text} (${code})`);
    });
  }

  async #received(bytes: Uint8Array): Promise<void> {
    if (!this.#sink) {
      this.#early.push(bytes);
      return;
    }
    await this.#sink(bytes);
    this.#unacknowledgedBytes += bytes.length;
    if (this.#unacknowledgedBytes < ACKNOWLEDGE_BYTES || this.#socket.readyState !== WebSocket.OPEN) return;
    this.#socket.send(String(this.#unacknowledgedBytes));
    this.#unacknowledgedBytes = 0;
  }

  attach(sink: (bytes: Uint8Array) => void | Promise<void>): () => void {
    this.#sink = sink;
    for (const bytes of this.#early.splice(0)) void this.#received(bytes);
    return () => {
      this.#sink = undefined;
    };
  }

  send(text: string): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(this.#encoder.encode(text));
  }

  close(): void {
    this.#socket.close(1000);
  }
}
