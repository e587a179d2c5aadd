/** Waiting for text on a text console, over any display that gives its picture. */
import { ConsoleFont } from './console-font.ts';

/** How a text console is read. */
export interface TextOptions {
  /** Its font: a file in the format PSF, not compressed. */
  readonly font: ConsoleFont | Uint8Array;
}

/** The font of the options. Throws ConsoleFontError. */
export function fontOf({ font }: TextOptions): ConsoleFont {
  return font instanceof ConsoleFont ? font : ConsoleFont.fromPsf(font);
}

/** A text may go over line ends (`\n`). */
export function linesHave(lines: readonly string[], pattern: string | RegExp): boolean {
  const text = lines.join('\n');
  return typeof pattern === 'string' ? text.includes(pattern) : text.search(pattern) !== -1;
}

/** What a wait that was in vain says. */
export function missingText(lines: readonly string[], pattern: string | RegExp): string {
  const shown = lines.filter((line) => line !== '').join('\n');
  return `the display did not show ${typeof pattern === 'string' ? JSON.stringify(pattern) : String(pattern)}; it has:\n${shown}`;
}
