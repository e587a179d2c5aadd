/** The display of a machine in a Worker: shown on canvases, looked at, typed into and pointed at from the page. */
import {
  DEFAULT_TIMEOUT_MS,
  DisplayTimeoutError,
  DisplayUser,
  timeLimit,
  type Image,
  type WaitOptions,
} from '../devices/display/display-user.ts';
import { fontOf, type TextOptions } from '../devices/display/screen-text.ts';
import type { Rectangle } from '../devices/display/tile-map.ts';
import { keysymOf } from '../devices/input/key-names.ts';
import { xtCodeOfDomCode } from './display/key-codes.ts';
import type { DisplayDescription, DisplayPicture, MachinePort } from './port/protocol.ts';

const REST_LOOK_MS = 100;

export class RemoteDisplay extends DisplayUser {
  #size: { readonly width: number; readonly height: number };
  #position = { x: 0, y: 0 };
  readonly #listeners = new Set<() => void>();
  /** Name of the keyboard layout that characters are looked up in (-K). */
  readonly keyboardLayout: string;

  constructor(
    { width, height, keyboardLayout }: DisplayDescription,
    private readonly port: MachinePort,
  ) {
    super();
    this.#size = { width, height };
    this.keyboardLayout = keyboardLayout;
  }

  /** Width and height in pixels, as the guest has set them. */
  get size(): { readonly width: number; readonly height: number } {
    return this.#size;
  }

  /** Calls back whenever the size has changed; returns a function that ends it. */
  onResize(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** The guest has set another size. */
  resized(size: { readonly width: number; readonly height: number }): void {
    this.#size = size;
    for (const listener of [...this.#listeners]) listener();
  }

  /**
   * Draws on a canvas from now on, in the machine's Worker. A canvas can be given away once, and must have had no context before. A machine
   * whose fbuf has `wait` starts with its first canvas.
   */
  async attach(canvas: HTMLCanvasElement | OffscreenCanvas): Promise<void> {
    const surface = canvas instanceof OffscreenCanvas ? canvas : canvas.transferControlToOffscreen();
    await this.port.call('attach-canvas', { canvas: surface }, [surface]);
  }

  key(key: string | number, down: boolean): void {
    this.port.tell('key', { keysym: keysymOf(key), code: 0, down });
  }

  /** Presses or releases the key at a place of the keyboard, by KeyboardEvent.code (`KeyZ`). False: there is no such key. */
  physicalKey(code: string, down: boolean): boolean {
    const xtCode = xtCodeOfDomCode(code);
    if (xtCode !== undefined) this.port.tell('key', { keysym: 0, code: xtCode, down });
    return xtCode !== undefined;
  }

  /**
   * Types text with the keyboard layout of -K; a line feed is Enter. Resolves when the last key was sent. Rejects with RangeError, and types
   * nothing, when no key writes one of the characters.
   */
  async type(text: string): Promise<void> {
    await this.port.call('type-text', { text });
  }

  pointer(x: number, y: number, buttons = this.buttons): void {
    this.buttons = buttons;
    this.#position = { x, y };
    this.port.tell('pointer', { buttons, x, y });
  }

  /** Where the pointer was moved to last. */
  get position(): { readonly x: number; readonly y: number } {
    return this.#position;
  }

  /** Lets go of everything that was pressed and not released. */
  release(): void {
    this.buttons = 0;
    this.port.tell('release-input', {});
  }

  /** The picture now, or a part of it. */
  image(part?: Rectangle): Promise<Image> {
    return this.#picture({ part });
  }

  /** The picture now as a PNG file. */
  png(): Promise<Uint8Array> {
    return this.port.call('display-png', {});
  }

  #picture(request: { part?: Rectangle | undefined; changedSince?: number }): Promise<DisplayPicture> {
    return this.port.call('display-picture', request);
  }

  async waitForImage(accept: (image: Image) => boolean, options: WaitOptions = {}): Promise<Image> {
    options.signal?.throwIfAborted();
    const { over, end } = timeLimit(options);
    try {
      let picture = await Promise.race([this.#picture({}), over]);
      while (!accept(picture)) {
        picture = await Promise.race([this.#picture({ changedSince: picture.serial }), over]);
      }
      return picture;
    } finally {
      end();
    }
  }

  /** Lines of a text console, without blanks at their ends; U+FFFD stands for what the font does not have. Rejects with ConsoleFontError. */
  async text(options: TextOptions): Promise<string[]> {
    return fontOf(options).readLines(await this.image());
  }

  /** Resolves with the picture when it has not changed for so many milliseconds. */
  async waitForRest(quietMs: number, options: WaitOptions = {}): Promise<Image> {
    let last = await this.#picture({});
    let since = performance.now();
    const end = since + (options.timeout ?? DEFAULT_TIMEOUT_MS);
    for (;;) {
      options.signal?.throwIfAborted();
      if (performance.now() > end) throw new DisplayTimeoutError(`the display did not rest for ${quietMs} ms`);
      await new Promise((resolve) => setTimeout(resolve, Math.min(quietMs, REST_LOOK_MS)));
      const now = await this.#picture({});
      if (now.serial !== last.serial) since = performance.now();
      else if (performance.now() - since >= quietMs) return now;
      last = now;
    }
  }
}
