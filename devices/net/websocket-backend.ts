/**
 * The backend `ws=URL`: every binary message is one Ethernet frame, as v86's relay (websockproxy) has it. The host supplies the WebSocket
 * (RFC 6455; browsers have the class of the same name, Node takes it from a package). A connection that is lost is made again.
 */
import { NO_OFFLOAD, type NetworkBackend, type NetworkFrame, type NetworkPort } from '../backends/network.ts';
import { ETHERNET_HEADER_BYTES, MAX_FRAME_BYTES } from './ethernet.ts';
import { ReceiveQueue } from './receive-queue.ts';
import { joined } from './wire.ts';

/** What is used of a WebSocket: the standard class, or one with its shape. */
export interface FrameSocket {
  binaryType: string;
  readonly readyState: number;
  readonly bufferedAmount: number;
  onopen: (() => void) | null;
  onclose: (() => void) | null;
  onerror: (() => void) | null;
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  send(bytes: Uint8Array<ArrayBuffer>): void;
  close(): void;
}

export interface WebSocketHost {
  connect(url: string): FrameSocket;
  /** Calls back after the delay; the result cancels. */
  after(delayMs: number, callback: () => void): () => void;
}

const OPEN = 1;
/** Beyond this frames are lost rather than queued for seconds. */
const MAX_BUFFERED_BYTES = 2 * 1024 * 1024;
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 30_000;

export class WebSocketBackend implements NetworkBackend {
  readonly offload = NO_OFFLOAD;
  #port: NetworkPort | undefined;
  readonly #received = new ReceiveQueue();
  #socket: FrameSocket | undefined;
  #lost = 0;
  #malformed = 0;
  #connections = 0;
  #retryMs = FIRST_RETRY_MS;
  #cancelRetry: (() => void) | undefined;
  #closed = false;

  constructor(
    private readonly host: WebSocketHost,
    private readonly url: string,
  ) {
    this.#connect();
  }

  #connect(): void {
    const socket = this.host.connect(this.url);
    this.#socket = socket;
    socket.binaryType = 'arraybuffer';
    socket.onopen = (): void => {
      this.#retryMs = FIRST_RETRY_MS;
      this.#connections++;
      this.#port?.linkChanged(true);
    };
    socket.onmessage = ({ data }): void => this.#message(data);
    socket.onerror = (): void => undefined;
    socket.onclose = (): void => {
      if (this.#socket !== socket) return;
      this.#socket = undefined;
      if (this.#closed) return;
      this.#port?.linkChanged(false);
      this.#cancelRetry = this.host.after(this.#retryMs, () => this.#connect());
      this.#retryMs = Math.min(this.#retryMs * 2, LAST_RETRY_MS);
    };
  }

  #message(data: unknown): void {
    const isFrame =
      data instanceof ArrayBuffer && data.byteLength >= ETHERNET_HEADER_BYTES && data.byteLength <= MAX_FRAME_BYTES;
    if (isFrame) this.#received.push({ parts: [new Uint8Array(data)] });
    else this.#malformed++;
  }

  open(port: NetworkPort): void {
    this.#port = port;
    this.#received.attach(port);
    if (this.#socket?.readyState !== OPEN) port.linkChanged(false);
  }

  send({ parts }: NetworkFrame): boolean {
    const socket = this.#socket;
    if (socket?.readyState !== OPEN || socket.bufferedAmount > MAX_BUFFERED_BYTES) this.#lost++;
    // WebSockets take no shared memory, and the guest would change it under them.
    else socket.send(joined(parts));
    return true;
  }

  receiveReady(): void {
    this.#received.ready();
  }

  counters(): Record<string, number> {
    return {
      'relay connections': this.#connections,
      'frames lost': this.#lost,
      'malformed messages': this.#malformed,
      'receive queue drops': this.#received.dropped,
    };
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#cancelRetry?.();
    this.#socket?.close();
    return Promise.resolve();
  }
}
