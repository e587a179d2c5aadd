/** PCLMULQDQ: the 128-bit product of two polynomials over GF(2) (SDM Vol. 2). */

/**
 * Low 64 bits of a carry-less product. Each factor is split into four with three zero bits between any two digits; a digit
 * of an ordinary product of two such parts is a sum of at most 16 ones, so carries cannot reach the next digit that is kept
 * (a sum of 16 only occurs where its carry leaves the 64 bits).
 */
function productLow(x: u64, y: u64): u64 {
  const mask0: u64 = 0x1111111111111111;
  const mask1 = mask0 << 1;
  const mask2 = mask0 << 2;
  const mask3 = mask0 << 3;
  const x0 = x & mask0;
  const x1 = x & mask1;
  const x2 = x & mask2;
  const x3 = x & mask3;
  const y0 = y & mask0;
  const y1 = y & mask1;
  const y2 = y & mask2;
  const y3 = y & mask3;
  const z0 = (x0 * y0) ^ (x1 * y3) ^ (x2 * y2) ^ (x3 * y1);
  const z1 = (x0 * y1) ^ (x1 * y0) ^ (x2 * y3) ^ (x3 * y2);
  const z2 = (x0 * y2) ^ (x1 * y1) ^ (x2 * y0) ^ (x3 * y3);
  const z3 = (x0 * y3) ^ (x1 * y2) ^ (x2 * y1) ^ (x3 * y0);
  return (z0 & mask0) | (z1 & mask1) | (z2 & mask2) | (z3 & mask3);
}

function reverseBits(x: u64): u64 {
  x = ((x >> 1) & 0x5555555555555555) | ((x & 0x5555555555555555) << 1);
  x = ((x >> 2) & 0x3333333333333333) | ((x & 0x3333333333333333) << 2);
  x = ((x >> 4) & 0x0f0f0f0f0f0f0f0f) | ((x & 0x0f0f0f0f0f0f0f0f) << 4);
  return bswap<u64>(x);
}

/** Bit 0 of `selector` picks a's quadword, bit 4 b's. */
export function carrylessMultiply(a: v128, b: v128, selector: u32): v128 {
  const x = <u64>(selector & 1 ? i64x2.extract_lane(a, 1) : i64x2.extract_lane(a, 0));
  const y = <u64>(selector & 16 ? i64x2.extract_lane(b, 1) : i64x2.extract_lane(b, 0));
  // Reversed factors give the reversed 127-bit product, whose low end is the high end wanted.
  const high = reverseBits(productLow(reverseBits(x), reverseBits(y))) >> 1;
  return i64x2.replace_lane(i64x2.splat(<i64>productLow(x, y)), 1, <i64>high);
}
