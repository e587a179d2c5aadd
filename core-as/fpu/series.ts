/**
 * Constants and power series for the transcendental instructions, as 128-bit fixed-point numbers: "Q1.127" has one
 * integer bit. A pair of u64 (high, low) stands for each; functions return the high half and leave the low one in
 * seriesLow.
 */
import { multiply128High, wideLow } from './wide';

/** 1 / n!, n = 0 to 28, Q1.127. */
export const INVERSE_FACTORIALS: usize = memory.data<u64>([
  0x8000000000000000, 0x0000000000000000, 0x8000000000000000, 0x0000000000000000, 0x4000000000000000,
  0x0000000000000000, 0x1555555555555555, 0x5555555555555555, 0x0555555555555555, 0x5555555555555555,
  0x0111111111111111, 0x1111111111111111, 0x002d82d82d82d82d, 0x82d82d82d82d82d8, 0x0006806806806806,
  0x8068068068068068, 0x0000d00d00d00d00, 0xd00d00d00d00d00d, 0x0000171de3a556c7, 0x338faac1c88e5001,
  0x0000024fc9f6ef13, 0xeb8e5de02da7d4cd, 0x00000035cc8acfea, 0x89c71fce8fc97070, 0x000000047bb63bfe,
  0x3625ed5136a61eb4, 0x000000005849184e, 0xa1b425f28e0cc749, 0x00000000064e5d2a, 0x301f27482eb7c517,
  0x00000000006b9fcf, 0x9ccee07c476195ac, 0x000000000006b9fc, 0xf9ccee07c476195b, 0x000000000000654b,
  0x1dc0c2b529ac9814, 0x00000000000005a0, 0x9e18ee5f65deec01, 0x000000000000004b, 0xd26d1a05055c9328,
  0x0000000000000003, 0xca8574804044a0f5, 0x0000000000000000, 0x2e371dedb9eae318, 0x0000000000000000,
  0x0219c72db6ff0a53, 0x0000000000000000, 0x001761b41316381a, 0x0000000000000000, 0x0000f96780cb97ac,
  0x0000000000000000, 0x000009f9e66e8b30, 0x0000000000000000, 0x000000623a17f1a9, 0x0000000000000000,
  0x00000003a356385c, 0x0000000000000000, 0x000000002143144c,
]);

/** 1 / (2 n + 1), n = 0 to 19, Q1.127. */
export const INVERSE_ODD: usize = memory.data<u64>([
  0x8000000000000000, 0x0000000000000000, 0x2aaaaaaaaaaaaaaa, 0xaaaaaaaaaaaaaaab, 0x1999999999999999,
  0x999999999999999a, 0x1249249249249249, 0x2492492492492492, 0x0e38e38e38e38e38, 0xe38e38e38e38e38e,
  0x0ba2e8ba2e8ba2e8, 0xba2e8ba2e8ba2e8c, 0x09d89d89d89d89d8, 0x9d89d89d89d89d8a, 0x0888888888888888,
  0x8888888888888889, 0x0787878787878787, 0x8787878787878788, 0x06bca1af286bca1a, 0xf286bca1af286bca,
  0x0618618618618618, 0x6186186186186186, 0x0590b21642c8590b, 0x21642c8590b21643, 0x051eb851eb851eb8,
  0x51eb851eb851eb85, 0x04bda12f684bda12, 0xf684bda12f684bda, 0x0469ee58469ee584, 0x69ee58469ee5846a,
  0x0421084210842108, 0x4210842108421084, 0x03e0f83e0f83e0f8, 0x3e0f83e0f83e0f84, 0x03a83a83a83a83a8,
  0x3a83a83a83a83a84, 0x03759f22983759f2, 0x2983759f2298375a, 0x0348348348348348, 0x3483483483483483,
]);

/** arctan(n / 16), n = 0 to 16, Q1.127. */
export const ARCTANGENTS: usize = memory.data<u64>([
  0x0000000000000000, 0x0000000000000000, 0x07fd56edcb3f7a71, 0xb6593c96e071706b, 0x0feadd4d5617b6e3,
  0x2c897989f3e888ef, 0x17b97b4bce5b0226, 0x8f6169f103938e91, 0x1f5b75f92c80dd62, 0xadb8f3debef442fd,
  0x26c4ee6e0fd7979a, 0x716aed26349ebcca, 0x2dec3283c9bde11c, 0xe2a8c848b73f9121, 0x34c9dd879847f96d,
  0x909f257a40079c4e, 0x3b58ce0ac3769ed1, 0x5bf9117b2f0ea341, 0x4195fa536cc33f15, 0x25b504e5b0d28ae0,
  0x47802eaf7bfacfcd, 0xae41af0b32e21ba4, 0x4d17c07338deed10, 0x21137c711027f9de, 0x525e3e8c9a7b8492,
  0x0cd43f9522bed64f, 0x5756261c5a6c6040, 0x0a392f179f290385, 0x5c029f15e118cf39, 0xe596d2a90852221f,
  0x606742dc56293320, 0x44eeb16237497d12, 0x6487ed5110b4611a, 0x62633145c06e0e69,
]);

/** ln 2, Q0.128. */
export const LN2_HIGH: u64 = 0xb17217f7d1cf79ab;
export const LN2_LOW: u64 = 0xc9e3b39803f2f6af;

/** 2 / ln 2, Q2.126. */
export const TWO_OVER_LN2_HIGH: u64 = 0xb8aa3b295c17f0bb;
export const TWO_OVER_LN2_LOW: u64 = 0xbe87fed0691d3e89;

/** pi, Q2.126. */
export const PI_HIGH: u64 = 0xc90fdaa22168c234;
export const PI_LOW: u64 = 0xc4c6628b80dc1cd1;

/** Low half of the last result. */
export let seriesLow: u64 = 0;

/**
 * Horner's scheme over a table of Q1.127 coefficients: c[first] + x (c[first + step] + x (... c[last])), with minus
 * signs instead if `alternating`. x is Q0.128; every partial sum must lie in [0, 2).
 */
export function series(table: usize, first: u32, step: u32, last: u32, xHigh: u64, xLow: u64, alternating: bool): u64 {
  let address = <u32>table + (last << 4);
  const stop = <u32>table + (first << 4);
  let high = load<u64>(address);
  let low = load<u64>(address, 8);
  while (address !== stop) {
    address -= step << 4;
    const productHigh = multiply128High(high, low, xHigh, xLow);
    const productLow = wideLow;
    const coefficientHigh = load<u64>(address);
    const coefficientLow = load<u64>(address, 8);
    if (alternating) {
      low = coefficientLow - productLow;
      high = coefficientHigh - productHigh - <u64>(coefficientLow < productLow);
    } else {
      low = coefficientLow + productLow;
      high = coefficientHigh + productHigh + <u64>(low < coefficientLow);
    }
  }
  seriesLow = low;
  return high;
}
