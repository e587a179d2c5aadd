/**
 * A machine's display: the guest's framebuffer on one side, any number of viewers (RFB clients, a canvas, a test) on the other. It looks
 * at the framebuffer only while somebody waits for a change.
 */
import type { InputRouter } from '../input/input-router.ts';
import type { PageRange } from '../bus/device-ram.ts';
import { Frame, MAX_HEIGHT, MAX_WIDTH } from './frame.ts';
import { encodePng } from './png.ts';
import { DisplayView, type ViewOwner } from './view.ts';

/** Between two looks at the framebuffer: 30 a second as in bhyve, 60 for a while after the picture changed or a key was pressed. */
const REFRESH_MS = 1000 / 30;
const BUSY_REFRESH_MS = 1000 / 60;
const BUSY_FOR_LOOKS = 60;
const PAGE_BYTES = 4096;
const MAX_TOUCHED_RANGES = 1024;
const EVERY_PAGE: PageRange = { firstPage: 0, pageCount: 0x10000 };

/** What a display shows. Width and height may change at any time; a display clamps them to what `pixels` holds. */
export interface Framebuffer {
  /** Size in pixels that the guest asked for; 0 while it has chosen none. */
  readonly width: number;
  readonly height: number;
  /** Pixels 0xXXRRGGBB from the start of the framebuffer, `width` a row. The guest writes to it at any moment. */
  readonly pixels: Uint32Array;
  /** Pages written since the last call. */
  takeDirty(): PageRange[];
}

export class Display implements ViewOwner {
  readonly frame = new Frame();
  readonly #views = new Set<DisplayView>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #lastLookMs = -Infinity;
  /** Looks left at the higher rate. */
  #busyLooks = 0;
  #closed = false;
  #touched: PageRange[] = [];

  constructor(
    private readonly framebuffer: Framebuffer,
    /** Where a viewer's keys and pointer go. */
    readonly input: InputRouter,
  ) {
    this.#resizeIfAsked();
    input.onInput = () => this.#becomeBusy();
  }

  /** Viewers that are connected. */
  get viewCount(): number {
    return this.#views.size;
  }

  /** Adds a viewer. `onFrame` is called once for each DisplayView.want(), when there is something to take. */
  openView(onFrame: () => void): DisplayView {
    const view = new DisplayView(this, onFrame);
    this.#views.add(view);
    return view;
  }

  /** Brings {@link frame} up to date now, whether or not somebody waits. */
  refresh(): void {
    if (this.#resizeIfAsked()) return;
    const written = [...this.#touched, ...this.framebuffer.takeDirty()];
    this.#touched = [];
    const change = this.frame.update(this.framebuffer.pixels, written);
    if (!change) return;
    this.#busyLooks = BUSY_FOR_LOOKS;
    for (const view of [...this.#views]) view.frameChanged(change);
  }

  /** The picture as a PNG file. */
  png(): Promise<Uint8Array> {
    this.refresh();
    return encodePng(this.frame.width, this.frame.height, this.frame.pixels.slice());
  }

  /** The framebuffer was written by other means than the guest's stores to RAM, which `takeDirty` tells. */
  touched(offset: number, lengthBytes: number): void {
    const firstPage = Math.floor(offset / PAGE_BYTES);
    const pageCount = Math.floor((offset + lengthBytes - 1) / PAGE_BYTES) - firstPage + 1;
    // Neighbouring stores are one range; a picture that is drawn this way is drawn slowly anyway.
    const last = this.#touched.at(-1);
    if (last && last.firstPage <= firstPage && firstPage + pageCount <= last.firstPage + last.pageCount) return;
    if (this.#touched.length >= MAX_TOUCHED_RANGES) this.#touched = [EVERY_PAGE];
    else this.#touched.push({ firstPage, pageCount });
  }

  /** The framebuffer was replaced as a whole: a reset, or a snapshot was restored. */
  replaced(): void {
    if (this.#resizeIfAsked()) return;
    this.framebuffer.takeDirty();
    this.frame.resize(this.frame.width, this.frame.height, this.framebuffer.pixels);
    for (const view of [...this.#views]) view.frameReplaced();
  }

  /** Ends the looking. Viewers are the host's to disconnect. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#views.clear();
  }

  viewChanged(): void {
    const wanted = [...this.#views].some((view) => view.wanted);
    if (wanted && this.#timer === undefined && !this.#closed) this.#schedule();
  }

  closeView(view: DisplayView): void {
    this.#views.delete(view);
  }

  #schedule(): void {
    const intervalMs = this.#busyLooks > 0 ? BUSY_REFRESH_MS : REFRESH_MS;
    // From look to look: the time that a viewer takes to draw is not added.
    const delayMs = Math.max(0, this.#lastLookMs + intervalMs - performance.now());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#lastLookMs = performance.now();
      if (this.#busyLooks > 0) this.#busyLooks--;
      if (![...this.#views].some((view) => view.wanted)) return;
      this.refresh();
      this.viewChanged();
    }, delayMs);
  }

  #becomeBusy(): void {
    this.#busyLooks = BUSY_FOR_LOOKS;
  }

  /** True when the picture got another size. A guest may ask for anything; no row may reach outside the framebuffer. */
  #resizeIfAsked(): boolean {
    const { pixels } = this.framebuffer;
    const width = Math.min(this.framebuffer.width, MAX_WIDTH);
    if (width === 0) return false;
    const height = Math.min(this.framebuffer.height, MAX_HEIGHT, Math.floor(pixels.length / width));
    if (height === 0 || (width === this.frame.width && height === this.frame.height)) return false;
    this.framebuffer.takeDirty();
    this.frame.resize(width, height, pixels);
    for (const view of [...this.#views]) view.frameReplaced();
    return true;
  }
}
