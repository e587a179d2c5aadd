/** The display of a machine in a Worker: shown on canvases, looked at, typed into and pointed at from the page. */
import {
  CLICK_MS,
  DEFAULT_TIMEOUT_MS,
  DisplayTimeoutError,
  keysymOf,
  type Image,
  type WaitOptions,
} from '../devices/display/machine-display.ts';
import { fontOf, linesHave, missingText, type TextOptions } from '../devices/display/screen-text.ts';
import type { Rectangle } from '../devices/display/tile-map.ts';
import { xtCodeOfDomCode } from './display/key-codes.ts';
import type { DisplayDescription, DisplayPicture, MachinePort } from './port/protocol.ts';

const REST_LOOK_MS = 100;

export class RemoteDisplay {
  #size: { readonly width: number; readonly height: number };
  #buttons = 0;
  #position = { x: 0, y: 0 };
  readonly #listeners = new Set<() => void>();
  /** Name of the keyboard layout that characters are looked up in (-K). */
  readonly keyboardLayout: string;

  constructor(
    { width, height, keyboardLayout }: DisplayDescription,
    private readonly port: MachinePort,
  ) {
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

  /** Presses or releases a key: a character, a name of KeyboardEvent.key (`Enter`, `F2`), or an X11 keysym. */
  key(key: string | number, down: boolean): void {
    this.port.tell('key', { keysym: keysymOf(key), code: 0, down });
  }

  /** Presses or releases the key at a place of the keyboard, by KeyboardEvent.code (`KeyZ`). False: there is no such key. */
  physicalKey(code: string, down: boolean): boolean {
    const xtCode = xtCodeOfDomCode(code);
    if (xtCode !== undefined) this.port.tell('key', { keysym: 0, code: xtCode, down });
    return xtCode !== undefined;
  }

  /** Presses and releases keys together: `press('Control', 'Alt', 'Delete')`. */
  press(...keys: readonly (string | number)[]): void {
    for (const key of keys) this.key(key, true);
    for (const key of [...keys].reverse()) this.key(key, false);
  }

  /**
   * Types text with the keyboard layout of -K; a line feed is Enter. Resolves when the last key was sent. Rejects with RangeError, and types
   * nothing, when no key writes one of the characters.
   */
  async type(text: string): Promise<void> {
    await this.port.call('type-text', { text });
  }

  /** Moves the pointer to a pixel and holds buttons there: 1 left, 2 middle, 4 right, 8 wheel up, 16 wheel down. */
  pointer(x: number, y: number, buttons = this.#buttons): void {
    this.#buttons = buttons;
    this.#position = { x, y };
    this.port.tell('pointer', { buttons, x, y });
  }

  /** Where the pointer was moved to last. */
  get position(): { readonly x: number; readonly y: number } {
    return this.#position;
  }

  /** Moves to a pixel, presses a button (1 left, 2 middle, 4 right) and lets go. */
  async click(x: number, y: number, button = 1): Promise<void> {
    this.pointer(x, y, this.#buttons);
    for (const buttons of [this.#buttons | button, this.#buttons & ~button]) {
      await new Promise((resolve) => setTimeout(resolve, CLICK_MS));
      this.pointer(x, y, buttons);
    }
  }

  /** Lets go of everything that was pressed and not released. */
  release(): void {
    this.#buttons = 0;
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

  /**
   * Resolves with the picture as soon as `accept` takes it; it is asked now and after every change. Rejects with
   * {@link DisplayTimeoutError}, or with the signal's reason.
   */
  async waitForImage(accept: (image: Image) => boolean, options: WaitOptions = {}): Promise<Image> {
    const { timeout = DEFAULT_TIMEOUT_MS, signal } = options;
    signal?.throwIfAborted();
    let end: () => void = () => undefined;
    const over = new Promise<never>((_, reject) => {
      const timer = setTimeout(() => {
        reject(new DisplayTimeoutError(`the display did not show what was waited for within ${timeout} ms`));
      }, timeout);
      const abort = (): void => reject(signal?.reason as Error);
      signal?.addEventListener('abort', abort, { once: true });
      end = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
      };
    });
    over.catch(() => undefined);
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

  /**
   * Resolves with the lines of a text console as soon as they hold the text, which may go over line ends (`\n`), or match the expression. Rejects with
   * {@link DisplayTimeoutError}, whose message has what was shown.
   */
  async waitForText(pattern: string | RegExp, options: TextOptions & WaitOptions): Promise<string[]> {
    const font = fontOf(options);
    let lines: string[] = [];
    try {
      await this.waitForImage((image) => {
        lines = font.readLines(image);
        return linesHave(lines, pattern);
      }, options);
    } catch (error) {
      if (!(error instanceof DisplayTimeoutError)) throw error;
      throw new DisplayTimeoutError(missingText(lines, pattern));
    }
    return lines;
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
