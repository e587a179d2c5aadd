/** What a program does with a display, be it in its own thread or a machine's Worker: typing and pointing in several steps, waiting for what is shown. */
import { fontOf, linesHave, missingText, type TextOptions } from './screen-text.ts';

/** How long waits last that say nothing else. */
export const DEFAULT_TIMEOUT_MS = 30_000;
/** Between the parts of a click. */
const CLICK_MS = 30;

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

/** A promise that never resolves, and rejects when a wait has lasted long enough or its signal says so; `end` lets go of both. */
export function timeLimit({ timeout = DEFAULT_TIMEOUT_MS, signal }: WaitOptions): {
  over: Promise<never>;
  end: () => void;
} {
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
  return { over, end };
}

export abstract class DisplayUser {
  /** Buttons that are held. */
  protected buttons = 0;

  /** Presses or releases a key: a character, a name of KeyboardEvent.key (`Enter`, `F2`), or an X11 keysym. */
  abstract key(key: string | number, down: boolean): void;

  /** Moves the pointer to a pixel and holds buttons there: 1 left, 2 middle, 4 right, 8 wheel up, 16 wheel down. */
  abstract pointer(x: number, y: number, buttons?: number): void;

  /**
   * Resolves with the picture as soon as `accept` takes it; it is asked now and after every change. Rejects with
   * {@link DisplayTimeoutError}, or with the signal's reason.
   */
  abstract waitForImage(accept: (image: Image) => boolean, options?: WaitOptions): Promise<Image>;

  /** Presses and releases keys together: `press('Control', 'Alt', 'Delete')`. */
  press(...keys: readonly (string | number)[]): void {
    for (const key of keys) this.key(key, true);
    for (const key of [...keys].reverse()) this.key(key, false);
  }

  /** Moves to a pixel, presses a button (1 left, 2 middle, 4 right) and lets go. */
  async click(x: number, y: number, button = 1): Promise<void> {
    this.pointer(x, y, this.buttons);
    for (const buttons of [this.buttons | button, this.buttons & ~button]) {
      await new Promise((resolve) => setTimeout(resolve, CLICK_MS));
      this.pointer(x, y, buttons);
    }
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
}
