/** 128-bit integer arithmetic out of 64-bit pieces. Second results are left in the module's globals. */

/** Second (low or remainder) half of the last result of the functions below. */
export let wideLow: u64 = 0;
/** Remainder of divide128, and of squareRoot128 with wideCarry as its bit 64. */
export let wideRemainder: u64 = 0;
export let wideCarry: u64 = 0;

/** High 64 bits of a 64 x 64 bit product (the low ones are `a * b`). */
// @ts-ignore: decorator
@inline
export function multiplyHigh(a: u64, b: u64): u64 {
  const a0 = a & 0xffffffff;
  const a1 = a >> 32;
  const b0 = b & 0xffffffff;
  const b1 = b >> 32;
  const low = a0 * b0;
  const middle = a1 * b0 + (low >> 32);
  const cross = a0 * b1 + (middle & 0xffffffff);
  return a1 * b1 + (middle >> 32) + (cross >> 32);
}

/**
 * (high:low) / divisor, the remainder in wideRemainder. The divisor has bit 63 set and exceeds `high`
 * (Knuth, TAOCP 4.3.1, algorithm D with two digits of 32 bits).
 */
export function divide128(high: u64, low: u64, divisor: u64): u64 {
  const d1 = divisor >> 32;
  const d0 = divisor & 0xffffffff;
  let digit = high / d1;
  let rest = high - digit * d1;
  // The estimate is at most two too large.
  while (digit >> 32 || digit * d0 > ((rest << 32) | (low >> 32))) {
    digit--;
    rest += d1;
    if (rest >> 32) break;
  }
  const middle = ((high << 32) | (low >> 32)) - digit * divisor;
  let digit0 = middle / d1;
  rest = middle - digit0 * d1;
  while (digit0 >> 32 || digit0 * d0 > ((rest << 32) | (low & 0xffffffff))) {
    digit0--;
    rest += d1;
    if (rest >> 32) break;
  }
  wideRemainder = ((middle << 32) | (low & 0xffffffff)) - digit0 * divisor;
  return (digit << 32) + digit0;
}

/** High 128 bits of a 128 x 128 bit product, less than 2^-126 of its weight too small; the low half in wideLow. */
export function multiply128High(aHigh: u64, aLow: u64, bHigh: u64, bLow: u64): u64 {
  const high = multiplyHigh(aHigh, bHigh);
  const low = aHigh * bHigh;
  const cross1 = multiplyHigh(aHigh, bLow);
  const cross2 = multiplyHigh(aLow, bHigh);
  const sum = low + cross1;
  const carry1 = <u64>(sum < low);
  const total = sum + cross2;
  const carry2 = <u64>(total < sum);
  wideLow = total;
  return high + carry1 + carry2;
}

/**
 * Quotient of two 128-bit numbers as a fraction of 128 bits: (a / b) * 2^128, a < b, bit 127 of b set; the low half in
 * wideLow. At most a few units of the last place too large or small, which is far below what its callers keep.
 */
export function divide128By128(aHigh: u64, aLow: u64, bHigh: u64, bLow: u64): u64 {
  // First digit: an estimate from the top halves, corrected until the remainder is not negative.
  let digit1: u64;
  let r1: u64;
  let overflow: bool = false;
  if (aHigh >= bHigh) {
    digit1 = u64.MAX_VALUE;
    r1 = aLow + bHigh;
    overflow = r1 < aLow; // a remainder of 2^64 and more needs no correction
  } else {
    digit1 = divide128(aHigh, aLow, bHigh);
    r1 = wideRemainder;
  }
  let productHigh = multiplyHigh(digit1, bLow);
  let productLow = digit1 * bLow;
  while (!overflow && (r1 < productHigh || (r1 === productHigh && productLow !== 0))) {
    digit1--;
    productHigh -= <u64>(productLow < bLow);
    productLow -= bLow;
    r1 += bHigh;
    overflow = r1 < bHigh;
  }
  const restLow: u64 = 0 - productLow;
  const restHigh = r1 - productHigh - <u64>(productLow !== 0);
  // Second digit: the estimate is at most two units too large; nobody needs better.
  const digit0 = restHigh >= bHigh ? u64.MAX_VALUE : divide128(restHigh, restLow, bHigh);
  const correction = restHigh >= bHigh ? 0 : multiplyHigh(digit0, bLow) > wideRemainder ? <u64>1 : 0;
  wideLow = digit0 - (digit0 ? correction : 0);
  return digit1;
}

/**
 * Integer square root of high:low, high >= 2^62 (P. Zimmermann, Karatsuba Square Root, 1999, with 32-bit quarters). The
 * remainder, up to twice the root, is wideCarry:wideRemainder.
 */
export function squareRoot128(high: u64, low: u64): u64 {
  let s = <u64>sqrt<f64>(<f64>high);
  if (s > 0xffffffff) s = 0xffffffff;
  while (s * s > high) s--;
  while (s < 0xffffffff && (s + 1) * (s + 1) <= high) s++;
  const r = high - s * s;
  // (r * 2^32 + next quarter) / 2s, halved so that it fits.
  const numerator = (r << 31) | (low >> 33);
  let q = numerator / s;
  let u = ((numerator - q * s) << 1) | ((low >> 32) & 1);
  if (q > 0xffffffff) {
    q = 0xffffffff;
    u += s << 1;
  }
  let root = (s << 32) | q;
  const square = q * q;
  let restLow = (u << 32) | (low & 0xffffffff);
  let restHigh = <i64>(u >> 32) - <i64>(restLow < square);
  restLow -= square;
  while (restHigh < 0) {
    // (root - 1)^2 = root^2 - 2 root + 1
    root--;
    const add = (root << 1) | 1;
    const sum = restLow + add;
    restHigh += <i64>(root >> 63) + <i64>(sum < restLow);
    restLow = sum;
  }
  wideCarry = <u64>restHigh;
  wideRemainder = restLow;
  return root;
}
