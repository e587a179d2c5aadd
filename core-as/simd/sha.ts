/** SHA-1 and SHA-256 steps (FIPS 180-4; SDM Vol. 2 SHA1RNDS4 ... SHA256MSG2). Dword 3 of a register is the first in text order. */
import * as op from './operations';

// @ts-ignore: decorator
@inline
function dword0(a: v128): u32 {
  return <u32>i32x4.extract_lane(a, 0);
}
// @ts-ignore: decorator
@inline
function dword1(a: v128): u32 {
  return <u32>i32x4.extract_lane(a, 1);
}
// @ts-ignore: decorator
@inline
function dword2(a: v128): u32 {
  return <u32>i32x4.extract_lane(a, 2);
}
// @ts-ignore: decorator
@inline
function dword3(a: v128): u32 {
  return <u32>i32x4.extract_lane(a, 3);
}

// @ts-ignore: decorator
@inline
function dwords(d3: u32, d2: u32, d1: u32, d0: u32): v128 {
  const low = ((<u64>d1) << 32) | d0;
  return i64x2.replace_lane(i64x2.splat(<i64>low), 1, <i64>(((<u64>d3) << 32) | d2));
}

/** SHA1RNDS4: four rounds; the caller has added E to the first message word. */
export function sha1Rounds4(state: v128, words: v128, roundGroup: u32): v128 {
  let a = dword3(state);
  let b = dword2(state);
  let c = dword1(state);
  let d = dword0(state);
  let e: u32 = 0;
  for (let round: u32 = 0; round < 4; ++round) {
    const word =
      round === 0 ? dword3(words) : round === 1 ? dword2(words) : round === 2 ? dword1(words) : dword0(words);
    let f: u32;
    let k: u32;
    switch (roundGroup & 3) {
      case 0:
        f = (b & c) ^ (~b & d);
        k = 0x5a827999;
        break;
      case 1:
        f = b ^ c ^ d;
        k = 0x6ed9eba1;
        break;
      case 2:
        f = (b & c) ^ (b & d) ^ (c & d);
        k = 0x8f1bbcdc;
        break;
      default:
        f = b ^ c ^ d;
        k = 0xca62c1d6;
    }
    const next = f + rotl<u32>(a, 5) + word + e + k;
    e = d;
    d = c;
    c = rotl<u32>(b, 30);
    b = a;
    a = next;
  }
  return dwords(a, b, c, d);
}

/** SHA256RNDS2: two rounds; the implicit XMM0 holds message words plus round constants. */
function sha256Rounds2(cdgh: v128, abef: v128, wordsPlusK: v128): v128 {
  let a = dword3(abef);
  let b = dword2(abef);
  let c = dword3(cdgh);
  let d = dword2(cdgh);
  let e = dword1(abef);
  let f = dword0(abef);
  let g = dword1(cdgh);
  let h = dword0(cdgh);
  for (let round: u32 = 0; round < 2; ++round) {
    const sigma1 = rotr<u32>(e, 6) ^ rotr<u32>(e, 11) ^ rotr<u32>(e, 25);
    const sigma0 = rotr<u32>(a, 2) ^ rotr<u32>(a, 13) ^ rotr<u32>(a, 22);
    const word = round ? dword1(wordsPlusK) : dword0(wordsPlusK);
    const t = ((e & f) ^ (~e & g)) + sigma1 + word + h;
    h = g;
    g = f;
    f = e;
    e = t + d;
    d = c;
    const next = t + ((a & b) ^ (a & c) ^ (b & c)) + sigma0;
    c = b;
    b = a;
    a = next;
  }
  return dwords(a, b, e, f);
}

// @ts-ignore: decorator
@inline
function smallSigma0(x: u32): u32 {
  return rotr<u32>(x, 7) ^ rotr<u32>(x, 18) ^ (x >> 3);
}

// @ts-ignore: decorator
@inline
function smallSigma1(x: u32): u32 {
  return rotr<u32>(x, 17) ^ rotr<u32>(x, 19) ^ (x >> 10);
}

/** SHA instructions without immediate; `xmm0` is read by SHA256RNDS2 only. */
export function shaStep(operation: u32, a: v128, b: v128, xmm0: v128): v128 {
  switch (operation) {
    case op.OP_SHA1NEXTE:
      return i32x4.replace_lane(b, 3, <i32>(dword3(b) + rotl<u32>(dword3(a), 30)));
    case op.OP_SHA1MSG1:
      // The dwords two places on: a's lower half, then b's upper half.
      return v128.xor(a, v128.shuffle<u64>(b, a, 1, 2));
    case op.OP_SHA1MSG2: {
      const w16 = rotl<u32>(dword3(a) ^ dword2(b), 1);
      const w17 = rotl<u32>(dword2(a) ^ dword1(b), 1);
      const w18 = rotl<u32>(dword1(a) ^ dword0(b), 1);
      return dwords(w16, w17, w18, rotl<u32>(dword0(a) ^ w16, 1));
    }
    case op.OP_SHA256RNDS2:
      return sha256Rounds2(a, b, xmm0);
    case op.OP_SHA256MSG1:
      return dwords(
        dword3(a) + smallSigma0(dword0(b)),
        dword2(a) + smallSigma0(dword3(a)),
        dword1(a) + smallSigma0(dword2(a)),
        dword0(a) + smallSigma0(dword1(a)),
      );
    case op.OP_SHA256MSG2: {
      const w16 = dword0(a) + smallSigma1(dword2(b));
      const w17 = dword1(a) + smallSigma1(dword3(b));
      const w18 = dword2(a) + smallSigma1(w16);
      return dwords(dword3(a) + smallSigma1(w17), w18, w17, w16);
    }
    default:
      return a;
  }
}
