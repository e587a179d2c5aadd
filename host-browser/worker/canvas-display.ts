/** The display backend of a page: canvases that are drawn in this Worker, and the page's keys and pointer. */
import type { DisplayBackend } from '../../devices/backends/display.ts';
import type { Display } from '../../devices/display/display.ts';
import { encodePng } from '../../devices/display/png.ts';
import type { Rectangle } from '../../devices/display/tile-map.ts';
import type { DisplayView } from '../../devices/display/view.ts';
import type { InputSession } from '../../devices/input/input-router.ts';
import type { DisplayPicture } from '../port/protocol.ts';
import { CanvasPainter } from './canvas-painter.ts';

/** Typed text goes to the guest at the speed of a fast typist, so that no keyboard's queue overflows. */
const TYPED_AT_ONCE = 4;
const TYPING_PAUSE_MS = 40;

export class CanvasDisplay implements DisplayBackend {
  readonly firstViewer: Promise<void>;
  #viewerCame: () => void = () => undefined;
  #display: Display | undefined;
  #input: InputSession | undefined;
  readonly #painters = new Set<CanvasPainter>();
  /** Notices changes for {@link picture}; looks at the framebuffer only while somebody waits. */
  #watch: DisplayView | undefined;
  #changed: (() => void)[] = [];
  #serial = 0;
  #typing: Promise<void> = Promise.resolve();

  constructor(private readonly resized: (size: { readonly width: number; readonly height: number }) => void) {
    this.firstViewer = new Promise((resolve) => {
      this.#viewerCame = resolve;
    });
  }

  show(display: Display): void {
    this.#display = display;
    this.#input = display.input.openSession();
    this.#watch = display.openView(() => {
      for (const wake of this.#changed.splice(0)) wake();
    });
  }

  get #shown(): Display {
    if (!this.#display) throw new Error('the machine has no display');
    return this.#display;
  }

  /** Width and height in pixels, as the guest has set them. */
  get size(): { readonly width: number; readonly height: number } {
    const display = this.#shown;
    display.refresh();
    return { width: display.frame.width, height: display.frame.height };
  }

  /** Draws on a canvas from now on. A start that waits for a viewer waits no longer. */
  attach(canvas: OffscreenCanvas): void {
    this.#painters.add(
      new CanvasPainter(this.#shown, canvas, (width, height) => {
        this.resized({ width, height });
      }),
    );
    this.#viewerCame();
  }

  /**
   * The picture, or a part of it. With the serial number of an earlier picture it resolves when the display has changed since.
   * Rejects with RangeError when the part is not on the display.
   */
  async picture(part: Rectangle | undefined, changedSince: number | undefined): Promise<DisplayPicture> {
    const display = this.#shown;
    this.#look();
    while (changedSince === this.#serial) {
      await new Promise<void>((resolve) => {
        this.#changed.push(resolve);
        this.#watch?.want();
      });
      this.#look();
    }
    const { frame } = display;
    const { x, y, width, height } = part ?? { x: 0, y: 0, width: frame.width, height: frame.height };
    if (![x, y, width, height].every(Number.isInteger) || x < 0 || y < 0 || width < 0 || height < 0) {
      throw new RangeError('a part of a display has whole numbers');
    }
    if (x + width > frame.width || y + height > frame.height) {
      throw new RangeError(`${width}x${height} at ${x},${y} is not on a display of ${frame.width}x${frame.height}`);
    }
    const pixels = new Uint32Array(width * height);
    for (let row = 0; row < height; row++) {
      const from = (y + row) * frame.width + x;
      for (let column = 0; column < width; column++) {
        pixels[row * width + column] = (frame.pixels[from + column] ?? 0) & 0xffffff;
      }
    }
    return { width, height, pixels, serial: this.#serial };
  }

  #look(): void {
    this.#shown.refresh();
    if (this.#watch?.take()) this.#serial++;
  }

  /** The picture as a PNG file. */
  async png(): Promise<Uint8Array> {
    const { width, height, pixels } = await this.picture(undefined, undefined);
    return encodePng(width, height, pixels);
  }

  /** A key by keysym, and by XT code where its place is known (0 otherwise). */
  key(keysym: number, code: number, down: boolean): void {
    this.#input?.key(keysym, code, down);
  }

  pointer(buttons: number, x: number, y: number): void {
    const { width, height } = this.#shown.frame;
    this.#input?.pointer(buttons, x, y, width, height);
  }

  /** The page lost the focus: everything that it held comes up. */
  releaseInput(): void {
    this.#input?.close();
  }

  /** Types text with the layout of -K. Rejects with RangeError, and types nothing, when no key writes one of its characters. */
  type(text: string): Promise<void> {
    const { input } = this.#shown;
    const characters = [...text.normalize('NFC').replaceAll('\r\n', '\n')];
    const unknown = characters.find((character) => input.layout.strokesOf(character) === undefined);
    if (unknown !== undefined) {
      return Promise.reject(new RangeError(`no key of layout ${input.layout.name} writes ${JSON.stringify(unknown)}`));
    }
    // One text after the other.
    this.#typing = this.#typing.then(async () => {
      for (let at = 0; at < characters.length; at += TYPED_AT_ONCE) {
        for (const character of characters.slice(at, at + TYPED_AT_ONCE)) input.type(character);
        await new Promise((resolve) => setTimeout(resolve, TYPING_PAUSE_MS));
      }
    });
    return this.#typing;
  }

  close(): Promise<void> {
    for (const painter of this.#painters) painter.close();
    this.#watch?.close();
    return Promise.resolve();
  }
}
