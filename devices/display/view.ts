/** One viewer's account of a display: which parts of the picture it has not been shown yet. */
import { scrollSource, scrollTarget, type Frame, type FrameChange, type Scroll } from './frame.ts';
import { TileMap, type Rectangle } from './tile-map.ts';

/** What a viewer has to do to show the present picture. */
export interface FrameUpdate {
  /** The picture has another size than at the last update or, before the first one, when the view was opened. */
  readonly resized: boolean;
  /** Rows to move first, in what the viewer shows. Never set for a view that does not take scrolls. */
  readonly scroll: Scroll | undefined;
  /** Then the parts to draw from {@link Frame.pixels}. They do not overlap. */
  readonly rectangles: readonly Rectangle[];
}

/** What a view needs of its display. */
export interface ViewOwner {
  readonly frame: Frame;
  /** A view waits for a change, or waits no longer. */
  viewChanged(): void;
  closeView(view: DisplayView): void;
}

export class DisplayView {
  /** The viewer can move rows of its own picture ({@link FrameUpdate.scroll}). */
  takesScrolls = false;
  #pending: TileMap;
  #scroll: Scroll | undefined;
  #resized = false;
  #wanted = false;
  /** The part of the picture that the viewer waits for; undefined: any. */
  #within: Rectangle | undefined;

  /** Made by Display.openView(). `onFrame` is called once for each {@link want}. */
  constructor(
    private readonly owner: ViewOwner,
    private readonly onFrame: () => void,
  ) {
    this.#pending = this.#everything();
  }

  get frame(): Frame {
    return this.owner.frame;
  }

  /** The viewer waits for a change. */
  get wanted(): boolean {
    return this.#wanted;
  }

  /** Calls back once as soon as there is something to take in that part of the picture, at once if there is something already. */
  want(within?: Rectangle): void {
    this.#wanted = true;
    this.#within = within;
    this.owner.viewChanged();
    this.#deliver();
  }

  /** Marks a part of the picture as not shown. */
  invalidate(rectangle: Rectangle): void {
    this.#pending.setRectangle(rectangle);
  }

  /**
   * What the viewer has to do now; the view counts it as done. With `within` other parts stay for later, unless the picture has another size.
   * Undefined when there is nothing.
   */
  take(within?: Rectangle): FrameUpdate | undefined {
    const resized = this.#resized;
    const scroll = this.#scroll;
    this.#resized = false;
    this.#scroll = undefined;
    let tiles = this.#pending;
    if (within && !resized) tiles = this.#pending.takeWithin(within);
    else this.#pending = new TileMap(this.frame.width, this.frame.height);
    if (!resized && !scroll && tiles.isEmpty) return undefined;
    return { resized, scroll, rectangles: tiles.rectangles() };
  }

  /** The display's picture has changed. */
  frameChanged({ scroll, tiles }: FrameChange): void {
    if (scroll) {
      const { width } = this.frame;
      // What the viewer shows in the source must be what the picture held there.
      const exact = !this.#scroll && !this.#resized && !this.#pending.touches(scrollSource(scroll, width));
      if (this.takesScrolls && this.#wanted && exact) this.#scroll = scroll;
      else this.#pending.setRectangle(scrollTarget(scroll, width));
    }
    this.#pending.add(tiles);
    this.#deliver();
  }

  /** The display's picture has a new size, or was replaced as a whole. */
  frameReplaced(): void {
    this.#resized ||= this.#pending.width !== this.frame.width || this.#pending.height !== this.frame.height;
    this.#scroll = undefined;
    this.#pending = this.#everything();
    this.#deliver();
  }

  close(): void {
    this.#wanted = false;
    this.owner.closeView(this);
  }

  #everything(): TileMap {
    const tiles = new TileMap(this.frame.width, this.frame.height);
    tiles.setAll();
    return tiles;
  }

  #deliver(): void {
    if (!this.#wanted) return;
    const changed = this.#within ? this.#pending.touches(this.#within) : !this.#pending.isEmpty;
    if (!changed && !this.#resized && !this.#scroll) return;
    this.#wanted = false;
    this.owner.viewChanged();
    this.onFrame();
  }
}
