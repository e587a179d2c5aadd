/** Numbers as the C library reads them: strtoul(3) with base 0 and the `%d` of sscanf(3). */

export interface ScannedInteger {
  readonly value: bigint;
  /** Index of the first character that was not used. */
  readonly end: number;
}

const BASE_ZERO = /^[\t-\r ]*([+-]?)(0[xX][0-9a-fA-F]+|[0-9]+)/;

/** strtol(3) with base 0: leading blanks, sign, `0x` hexadecimal, `0` octal. Undefined when there are no digits. */
export function scanInteger(text: string): ScannedInteger | undefined {
  const match = BASE_ZERO.exec(text);
  if (!match) return undefined;
  const [whole, sign, digits = ''] = match;
  let end = whole.length;
  let magnitude: bigint;
  if (/^0[xX]/.test(digits)) {
    magnitude = BigInt(digits);
  } else if (digits.startsWith('0')) {
    const octal = /^[0-7]+/.exec(digits)?.[0] ?? '0';
    magnitude = BigInt(`0o${octal}`);
    end -= digits.length - octal.length;
  } else {
    magnitude = BigInt(digits);
  }
  return { value: sign === '-' ? -magnitude : magnitude, end };
}

/** The whole text as an integer within [minimum, maximum], as strtol(3) with base 0 reads it; undefined otherwise. */
export function parseInteger(text: string, minimum: number, maximum: number): number | undefined {
  // strtol(3) takes an empty text for 0; no caller's range that excludes 0 can tell the difference.
  const scanned = text === '' ? { value: 0n, end: 0 } : scanInteger(text);
  if (!scanned || scanned.end !== text.length) return undefined;
  if (scanned.value < BigInt(minimum) || scanned.value > BigInt(maximum)) return undefined;
  return Number(scanned.value);
}

/** sscanf(text, "%d:%d:..."): the decimal numbers that matched, at most `count`; what follows them is ignored. */
export function scanColonNumbers(text: string, count: number): number[] {
  const numbers: number[] = [];
  let rest = text;
  while (numbers.length < count) {
    const match = /^[\t-\r ]*([+-]?\d+)/.exec(rest);
    if (!match) break;
    numbers.push(Number(match[1]));
    rest = rest.slice(match[0].length);
    if (!rest.startsWith(':')) break;
    rest = rest.slice(1);
  }
  return numbers;
}

/** strsep(3): splits at the first comma; the rest is undefined when there is none. */
export function splitComma(text: string): [head: string, rest: string | undefined] {
  const comma = text.indexOf(',');
  return comma === -1 ? [text, undefined] : [text.slice(0, comma), text.slice(comma + 1)];
}
