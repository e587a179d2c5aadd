/** A machine's display as a program uses it: look at it, type, point, and wait for what it shows. */
import type { Display } from './display.ts';
import { keysymOf } from '../input/key-names.ts';
import type { InputSession } from '../input/input-router.ts';
import {
  DEFAULT_TIMEOUT_MS,
  DisplayTimeoutError,
  DisplayUser,
  timeLimit,
  type Image,
  type WaitOptions,
} from './display-user.ts';
import { fontOf, type TextOptions } from './screen-text.ts';
import type { Rectangle } from './tile-map.ts';

export class MachineDisplay extends DisplayUser {
  readonly #session: InputSession;

  constructor(readonly display: Display) {
    super();
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

  key(key: string | number, down: boolean): void {
    this.#session.key(keysymOf(key), 0, down);
  }

  /** Types text with the keyboard layout of -K; a line feed is Enter. Throws RangeError at a character that no key writes. */
  type(text: string): void {
    for (const character of text.normalize('NFC')) {
      if (!this.display.input.type(character)) {
        throw new RangeError(`no key of layout ${this.display.input.layout.name} writes ${JSON.stringify(character)}`);
      }
    }
  }

  pointer(x: number, y: number, buttons = this.buttons): void {
    const { width, height } = this.size;
    this.buttons = buttons;
    this.#session.pointer(buttons, x, y, width, height);
  }

  async waitForImage(accept: (image: Image) => boolean, options: WaitOptions = {}): Promise<Image> {
    options.signal?.throwIfAborted();
    const { over, end } = timeLimit(options);
    let wake: () => void = () => {};
    const view = this.display.openView(() => wake());
    try {
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
      end();
      view.close();
    }
  }

  /** Lines of a text console, without blanks at their ends; U+FFFD stands for what the font does not have. Throws ConsoleFontError. */
  text(options: TextOptions): string[] {
    return fontOf(options).readLines(this.image());
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
