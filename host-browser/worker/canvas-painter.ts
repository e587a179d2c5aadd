/** Draws a display on one canvas: the parts that changed, at most once for each frame that the browser shows. */
import type { Display } from '../../devices/display/display.ts';
import type { Rectangle } from '../../devices/display/tile-map.ts';
import type { DisplayView } from '../../devices/display/view.ts';

/** Where a Worker cannot wait for the browser's next frame. */
const FRAME_MS = 1000 / 60;

const OPAQUE = 0xff000000;

function nextFrame(callback: () => void): void {
  // A hidden page has no frames: nothing is drawn, nor looked at, until it is shown again.
  if (typeof globalThis.requestAnimationFrame === 'function') globalThis.requestAnimationFrame(callback);
  else setTimeout(callback, FRAME_MS);
}

/** Pixels 0xXXRRGGBB as a canvas has them: bytes red, green, blue, alpha. Both are little-endian on everything that browsers run on. */
export function canvasPixels(pixels: Uint32Array, into: Uint32Array): void {
  for (let i = 0; i < into.length; i++) {
    const pixel = pixels[i] ?? 0;
    into[i] = (OPAQUE | ((pixel & 0xff) << 16) | (pixel & 0xff00) | ((pixel >>> 16) & 0xff)) >>> 0;
  }
}

export class CanvasPainter {
  readonly #context: OffscreenCanvasRenderingContext2D;
  readonly #view: DisplayView;
  #closed = false;

  constructor(
    private readonly display: Display,
    private readonly canvas: OffscreenCanvas,
    /** The picture has this size from now on. */
    private readonly resized: (width: number, height: number) => void,
  ) {
    const context = canvas.getContext('2d', { alpha: false });
    if (!context) throw new Error('the canvas is used for something else');
    this.#context = context;
    this.#view = display.openView(() => this.#paint());
    this.#view.takesScrolls = true;
    display.refresh();
    this.#resize();
    this.#view.want();
  }

  #resize(): void {
    const { width, height } = this.display.frame;
    this.canvas.width = width;
    this.canvas.height = height;
    this.resized(width, height);
  }

  #paint(): void {
    if (this.#closed) return;
    const update = this.#view.take();
    if (update) {
      if (update.resized) this.#resize();
      const { width } = this.canvas;
      if (update.scroll) {
        const { y, sourceY, height } = update.scroll;
        this.#context.drawImage(this.canvas, 0, sourceY, width, height, 0, y, width, height);
      }
      for (const rectangle of update.rectangles) this.#draw(rectangle);
    }
    nextFrame(() => {
      if (!this.#closed) this.#view.want();
    });
  }

  #draw({ x, y, width, height }: Rectangle): void {
    const { frame } = this.display;
    const image = new ImageData(width, height);
    const into = new Uint32Array(image.data.buffer);
    for (let row = 0; row < height; row++) {
      const from = (y + row) * frame.width + x;
      canvasPixels(frame.pixels.subarray(from, from + width), into.subarray(row * width, (row + 1) * width));
    }
    this.#context.putImageData(image, x, y);
  }

  close(): void {
    this.#closed = true;
    this.#view.close();
  }
}
