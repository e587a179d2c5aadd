/** Words of a command line as a shell takes them apart (POSIX Shell Command Language, 2.2), without expansions. */

export class ShellWordError extends Error {
  override readonly name = 'ShellWordError';
}

export interface ShellWord {
  readonly text: string;
  /** Where it begins and ends in the line. */
  readonly start: number;
  readonly end: number;
}

/** The words of a line with their places. A quotation mark without its partner counts as one at the end of the line. */
export function locateWords(line: string): {
  readonly words: readonly ShellWord[];
  readonly openQuote: string | undefined;
} {
  const words: ShellWord[] = [];
  let text = '';
  let start = -1;
  let quote: string | undefined;
  for (let at = 0; at < line.length; at++) {
    const char = line[at] ?? '';
    const next = line[at + 1];
    if (quote !== undefined) {
      if (char === quote) quote = undefined;
      else if (char === '\\' && quote === '"' && next !== undefined && '"\\$`'.includes(next)) {
        text += next;
        at++;
      } else text += char;
    } else if (/\s/.test(char)) {
      if (start >= 0) words.push({ text, start, end: at });
      start = -1;
      text = '';
    } else {
      if (start < 0) start = at;
      if (char === "'" || char === '"') quote = char;
      else if (char === '\\' && next !== undefined) {
        // A backslash before the end of a line continues it on the next.
        if (next !== '\n') text += next;
        else if (text === '') start = -1;
        at++;
      } else text += char;
    }
  }
  if (start >= 0) words.push({ text, start, end: line.length });
  return { words, openQuote: quote };
}

/** The words of a line; throws {@link ShellWordError} when a quotation mark has no partner. */
export function splitWords(line: string): string[] {
  const { words, openQuote } = locateWords(line);
  if (openQuote !== undefined) throw new ShellWordError(`a ${openQuote} has no partner`);
  return words.map(({ text }) => text);
}

/** A word as a shell would take it back. */
export function quoteWord(word: string): string {
  return /^[\w,./:=@%+?&~-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** A line that {@link splitWords} takes apart into these words. */
export function joinWords(words: readonly string[]): string {
  return words.map(quoteWord).join(' ');
}
