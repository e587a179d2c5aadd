/** One RFB client from its connection to its end. Nothing that it sends or leaves unread holds more memory than one band of the picture. */
import type { Display } from '../display.ts';
import type { Rectangle } from '../tile-map.ts';
import type { DisplayView } from '../view.ts';
import type { InputSession } from '../../input/input-router.ts';
import { ByteParser } from './byte-parser.ts';
import { ClientMessages, type ClientHandler } from './client-messages.ts';
import { Handshake, type Authentication } from './handshake.ts';
import { PixelFormat, PIXEL_FORMAT_BYTES } from './pixel-format.ts';
import * as P from './protocol.ts';
import { UpdateWriter, type Deflater } from './update-writer.ts';

/** bhyve tells every client this name, whatever the machine's. */
const DESKTOP_NAME = 'bhyve';

/** A connection to a client: bytes in order, both ways. */
export interface RfbTransport {
  /** Takes bytes, which are not changed afterwards. Resolves when the system took them, and also when the connection is over. */
  send(bytes: Uint8Array): Promise<void>;
  /** Ends the connection once what was sent has left; a far end that does not read is not waited for. */
  close(): void;
}

export interface SessionOptions {
  /** Undefined: any client may enter. */
  readonly authentication?: Authentication | undefined;
  /** A stream compressor in zlib format; absent where the host has none, and the client then gets no Zlib or ZRLE. */
  readonly deflater?: (() => Deflater) | undefined;
  /** Why the session ended, when the client is to blame. */
  readonly log?: ((text: string) => void) | undefined;
}

export class RfbSession implements ClientHandler {
  /** The client is authenticated and asks to be shown the display: the owner calls {@link enter} when it may be. */
  onReady: () => void = () => this.enter();
  onClosed: () => void = () => {};
  readonly #parser = new ByteParser();
  readonly #messages = new ClientMessages(this.#parser, this);
  readonly #writer: UpdateWriter;
  #view: DisplayView | undefined;
  #input: InputSession | undefined;
  #closed = false;
  /** The part of the picture that the client waits for. */
  #requested: Rectangle | undefined;
  #sending = false;
  #extendedKeys = false;

  constructor(
    private readonly display: Display,
    private readonly transport: RfbTransport,
    private readonly options: SessionOptions = {},
  ) {
    this.#writer = new UpdateWriter(display.frame, (bytes) => this.#sendBand(bytes), options.deflater);
  }

  start(): void {
    const handshake = new Handshake(
      this.#parser,
      (bytes) => void this.transport.send(bytes),
      this.options.authentication,
      () => this.onReady(),
    );
    handshake.start();
  }

  /** Bytes from the client. */
  receive(bytes: Uint8Array): void {
    if (this.#closed) return;
    try {
      this.#parser.receive(bytes);
    } catch (error) {
      if (!(error instanceof P.RfbError)) throw error;
      this.options.log?.(error.message);
      this.close();
    }
  }

  /** Ends the session, by either side. Keys that the client holds are released. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#view?.close();
    this.#input?.close();
    this.#writer.close();
    this.transport.close();
    this.onClosed();
  }

  /** The client sees the display. */
  get entered(): boolean {
    return this.#view !== undefined;
  }

  /** Shows the client the display (ServerInit) and listens to it from now on. */
  enter(): void {
    if (this.#closed || this.entered) return;
    this.display.refresh();
    this.#view = this.display.openView(() => void this.#update());
    this.#input = this.display.input.openSession();
    const name = new TextEncoder().encode(DESKTOP_NAME);
    const message = new Uint8Array(4 + PIXEL_FORMAT_BYTES + 4 + name.length);
    const fields = new DataView(message.buffer);
    const { width, height } = this.display.frame;
    fields.setUint16(0, width);
    fields.setUint16(2, height);
    PixelFormat.display().write(fields, 4);
    fields.setUint32(4 + PIXEL_FORMAT_BYTES, name.length);
    message.set(name, 8 + PIXEL_FORMAT_BYTES);
    this.#writer.toldSize(width, height);
    void this.transport.send(message);
    this.#messages.next();
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Messages of the client

  setPixelFormat(format: PixelFormat): void {
    this.#writer.setFormat(format);
  }

  setEncodings(encodings: readonly number[]): void {
    this.#writer.setEncodings(encodings);
    this.#extendedKeys = encodings.includes(P.ENCODING_QEMU_EXTENDED_KEY);
    if (this.#view) this.#view.takesScrolls = encodings.includes(P.ENCODING_COPY_RECT);
  }

  updateRequest(rectangle: Rectangle, incremental: boolean): void {
    const view = this.#view;
    if (!view) return;
    if (!incremental) view.invalidate(rectangle);
    this.#requested = this.#requested ? union(this.#requested, rectangle) : rectangle;
    if (!this.#sending) view.want(this.#requested);
  }

  key(keysym: number, code: number, down: boolean): void {
    this.#input?.key(keysym, this.#extendedKeys ? code : 0, down);
  }

  pointer(buttons: number, x: number, y: number): void {
    const { width, height } = this.display.frame;
    this.#input?.pointer(buttons, x, y, width, height);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Sending

  async #sendBand(bytes: Uint8Array): Promise<boolean> {
    if (this.#closed) return false;
    await this.transport.send(bytes);
    return !this.#closed;
  }

  /** Sends what the client has not seen, one update at a time: the next is not even encoded before the last has left. */
  async #update(): Promise<void> {
    const view = this.#view;
    const requested = this.#requested;
    if (!view || this.#sending || this.#closed || !requested) return;
    const update = view.take(requested);
    if (!update) return;
    this.#requested = undefined;
    this.#sending = true;
    let sent = false;
    try {
      sent = await this.#writer.write(update);
    } catch (error) {
      this.options.log?.(error instanceof Error ? error.message : String(error));
      this.close();
    }
    this.#sending = false;
    if (sent && this.#requested) view.want(this.#requested);
  }
}

function union(a: Rectangle, b: Rectangle): Rectangle {
  const x = Math.min(a.x, b.x);
  const y = Math.min(a.y, b.y);
  return {
    x,
    y,
    width: Math.max(a.x + a.width, b.x + b.width) - x,
    height: Math.max(a.y + a.height, b.y + b.height) - y,
  };
}
