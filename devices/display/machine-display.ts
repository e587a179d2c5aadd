/** A machine's display as a program uses it: look at it, type, point, and wait for what it shows. */
import type { Display } from './display.ts';
import { keysymOfCharacter } from '../input/keysyms.ts';
import type { InputSession } from '../input/input-router.ts';
import { fontOf, linesHave, missingText, type TextOptions } from './screen-text.ts';
import type { Rectangle } from './tile-map.ts';

/** How long waits last that say nothing else. */
export const DEFAULT_TIMEOUT_MS = 30_000;
/** Between the parts of a click. */
export const CLICK_MS = 30;

/** Keys by the names of the DOM's KeyboardEvent.key, as X11 keysyms. */
const NAMED_KEYS: Readonly<Record<string, number>> = {
  Backspace: 0xff08,
  Tab: 0xff09,
  Enter: 0xff0d,
  Pause: 0xff13,
  Escape: 0xff1b,
  Home: 0xff50,
  ArrowLeft: 0xff51,
  ArrowUp: 0xff52,
  ArrowRight: 0xff53,
  ArrowDown: 0xff54,
  PageUp: 0xff55,
  PageDown: 0xff56,
  End: 0xff57,
  PrintScreen: 0xff61,
  Insert: 0xff63,
  ContextMenu: 0xff67,
  Shift: 0xffe1,
  Control: 0xffe3,
  CapsLock: 0xffe5,
  Alt: 0xffe9,
  AltGraph: 0xfe03,
  Meta: 0xffeb,
  Delete: 0xffff,
  ...Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`F${i + 1}`, 0xffbe + i])),
};

/** A picture: pixels 0x00RRGGBB, `width` a row. */
export interface Image {
  readonly width: number;
  readonly height: number;
  readonly pixels: Uint32Array;
}

export interface WaitOptions {
  /** Milliseconds; 30 seconds when absent. */
  readonly timeout?: number;
  readonly signal?: AbortSignal;
}

/** What was waited for did not come. */
export class DisplayTimeoutError extends Error {
  override readonly name = 'DisplayTimeoutError';
}

export class MachineDisplay {
  readonly #session: InputSession;
  #buttons = 0;

  constructor(readonly display: Display) {
    this.#session = display.input.openSession();
  }

  /** Width and height in pixels, as the guest has set them. */
  get size(): { readonly width: number; readonly height: number } {
    this.display.refresh();
    const { width, height } = this.display.frame;
    return { width, height };
  }

  /** The picture now, or a part of it. */
  image(part?: Rectangle): Image {
    this.display.refresh();
    const { frame } = this.display;
    const { x, y, width, height } = part ?? { x: 0, y: 0, width: frame.width, height: frame.height };
    if (x < 0 || y < 0 || x + width > frame.width || y + height > frame.height) {
      throw new RangeError(`${width}x${height} at ${x},${y} is not on a display of ${frame.width}x${frame.height}`);
    }
    const pixels = new Uint32Array(width * height);
    for (let row = 0; row < height; row++) {
      const from = (y + row) * frame.width + x;
      pixels.set(frame.pixels.subarray(from, from + width), row * width);
    }
    for (let i = 0; i < pixels.length; i++) pixels[i] = (pixels[i] ?? 0) & 0xffffff;
    return { width, height, pixels };
  }

  /** The picture now as a PNG file. */
  png(): Promise<Uint8Array> {
    return this.display.png();
  }

  /** Presses or releases a key: a character, a name of KeyboardEvent.key (`Enter`, `F2`), or an X11 keysym. */
  key(key: string | number, down: boolean): void {
    this.#session.key(keysymOf(key), 0, down);
  }

  /** Presses and releases keys together: `press('Control', 'Alt', 'Delete')`. */
  press(...keys: readonly (string | number)[]): void {
    for (const key of keys) this.key(key, true);
    for (const key of [...keys].reverse()) this.key(key, false);
  }

  /** Types text with the keyboard layout of -K; a line feed is Enter. Throws RangeError at a character that no key writes. */
  type(text: string): void {
    for (const character of text.normalize('NFC')) {
      if (!this.display.input.type(character)) {
        throw new RangeError(`no key of layout ${this.display.input.layout.name} writes ${JSON.stringify(character)}`);
      }
    }
  }

  /** Moves the pointer to a pixel and holds POINTER_* buttons there. */
  pointer(x: number, y: number, buttons = this.#buttons): void {
    const { width, height } = this.size;
    this.#buttons = buttons;
    this.#session.pointer(buttons, x, y, width, height);
  }

  /** Moves to a pixel, presses a button (1 left, 2 middle, 4 right) and lets go. */
  async click(x: number, y: number, button = 1): Promise<void> {
    this.pointer(x, y, this.#buttons);
    for (const buttons of [this.#buttons | button, this.#buttons & ~button]) {
      await new Promise((resolve) => setTimeout(resolve, CLICK_MS));
      this.pointer(x, y, buttons);
    }
  }

  /**
   * Resolves with the picture as soon as `accept` takes it; it is asked now and after every change. Rejects with
   * {@link DisplayTimeoutError}, or with the signal's reason.
   */
  async waitForImage(accept: (image: Image) => boolean, options: WaitOptions = {}): Promise<Image> {
    const { timeout = DEFAULT_TIMEOUT_MS, signal } = options;
    signal?.throwIfAborted();
    let wake: () => void = () => {};
    let ended: (() => void) | undefined;
    const view = this.display.openView(() => wake());
    try {
      const over = new Promise<never>((_, reject) => {
        const timer = setTimeout(() => {
          reject(new DisplayTimeoutError(`the display did not show what was waited for within ${timeout} ms`));
        }, timeout);
        const abort = (): void => reject(signal?.reason as Error);
        signal?.addEventListener('abort', abort, { once: true });
        ended = () => {
          clearTimeout(timer);
          signal?.removeEventListener('abort', abort);
        };
      });
      over.catch(() => undefined);
      for (;;) {
        const image = this.image();
        if (accept(image)) return image;
        view.take();
        const changed = new Promise<void>((resolve) => {
          wake = resolve;
        });
        view.want();
        await Promise.race([changed, over]);
      }
    } finally {
      ended?.();
      view.close();
    }
  }

  /** Lines of a text console, without blanks at their ends; U+FFFD stands for what the font does not have. Throws ConsoleFontError. */
  text(options: TextOptions): string[] {
    return fontOf(options).readLines(this.image());
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

  /** Resolves when the picture has not changed for so long. */
  async waitForRest(quietMs: number, options: WaitOptions = {}): Promise<Image> {
    let last = this.image();
    let since = Date.now();
    const end = since + (options.timeout ?? DEFAULT_TIMEOUT_MS);
    for (;;) {
      options.signal?.throwIfAborted();
      if (Date.now() > end) throw new DisplayTimeoutError(`the display did not rest for ${quietMs} ms`);
      await new Promise((resolve) => setTimeout(resolve, Math.min(quietMs, 100)));
      const now = this.image();
      const same =
        now.pixels.length === last.pixels.length && now.pixels.every((pixel, at) => pixel === last.pixels[at]);
      if (!same) since = Date.now();
      else if (Date.now() - since >= quietMs) return now;
      last = now;
    }
  }
}

/** The X11 keysym of a character, or of a name of KeyboardEvent.key. Throws RangeError when there is none. */
export function keysymOf(key: string | number): number {
  if (typeof key === 'number') return key;
  const named = Object.hasOwn(NAMED_KEYS, key) ? NAMED_KEYS[key] : undefined;
  if (named !== undefined) return named;
  if ([...key].length !== 1) throw new RangeError(`there is no key ${JSON.stringify(key)}`);
  return keysymOfCharacter(key);
}
