/**
 * The register state of a wide vector (general, SSE, AVX and x87 registers) as 32-bit words, and the input state that follows from a
 * vector's seed and style. Like random.ts this is part of the data's format: changing what is drawn makes every recorded vector wrong.
 */
import { FS_BASE, Prng, REGISTER_COUNT, drawRegisters, drawValue } from '../random.ts';

/** Word offsets: the slots of random.ts (two words each), then the others. */
export const STATE_FLAGS = REGISTER_COUNT * 2;
export const STATE_MXCSR = STATE_FLAGS + 1;
/** 16 registers of 8 words. */
export const STATE_YMM = STATE_MXCSR + 1;
export const STATE_FCW = STATE_YMM + 128;
/** With TOP in bits 11-13. */
export const STATE_FSW = STATE_FCW + 1;
/** Bit n: physical register n is not empty. */
export const STATE_FTW = STATE_FSW + 1;
/** Physical registers R0-R7, 3 words each: significand low and high, sign and exponent. */
export const STATE_FPR = STATE_FTW + 1;
export const STATE_WORDS = STATE_FPR + 24;
/** Words that the harness's struct wide takes: everything from MXCSR on. */
export const WIDE_WORDS = STATE_WORDS - STATE_MXCSR;

/** What vector registers and memory operands hold: the low half of a style. */
export const DATA = {
  random: 0,
  singles: 1,
  doubles: 2,
  /** Small bytes, many of them zero: indices, strings. */
  small: 3,
  /** One small number a quadword: shift counts. */
  counts: 4,
  /** 16-bit values at the ends of their ranges, half-precision numbers. */
  halves: 5,
  /** The corner cases of general registers. */
  corners: 6,
  /** x87 double-extended numbers. */
  extended: 7,
  /** Packed decimal numbers. */
  decimal: 8,
} as const;

/** What the x87 registers hold: the high half of a style. */
export const X87 = {
  /** MMX data, no x87 exception pending. */
  mmx: 0x00,
  numbers: 0x10,
  /** Arguments of transcendental instructions. */
  angles: 0x20,
} as const;
/** ST(7) is empty as a rule, so that an instruction can push. */
export const X87_ROOM = 0x40;

const SINGLES = [
  0x00000000, 0x80000000, 0x3f800000, 0xbf800000, 0x00000001, 0x807fffff, 0x00800000, 0x80800001, 0x7f7fffff,
  0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc12345, 0x7f800001, 0xff812345, 0x3f000000, 0x3fc00000,
  0x40200000, 0x4f000000, 0xcf000000, 0x4effffff, 0x5f000000, 0xdf000000, 0x00ffffff, 0x34000000, 0x477fe000,
  0x477ff000, 0x38800000, 0x33800000,
];
/** Low and high halves. */
const DOUBLES: readonly (readonly [number, number])[] = [
  [0, 0x00000000],
  [0, 0x80000000],
  [0, 0x3ff00000],
  [0, 0xbff00000],
  [1, 0x00000000],
  [0xffffffff, 0x800fffff],
  [0, 0x00100000],
  [1, 0x80100000],
  [0xffffffff, 0x7fefffff],
  [0xffffffff, 0xffefffff],
  [0, 0x7ff00000],
  [0, 0xfff00000],
  [0, 0x7ff80000],
  [5, 0xfff81234],
  [1, 0x7ff00000],
  [0, 0xfff01234],
  [0, 0x3fe00000],
  [0, 0x3ff80000],
  [0, 0x40040000],
  [0, 0x41e00000],
  [0, 0xc1e00000],
  [0xffc00000, 0x41dfffff],
  [0, 0x43e00000],
  [0, 0xc3e00000],
  [0xffffffff, 0x001fffff],
  [0, 0x3cb00000],
  [0xefffffff, 0x47efffff],
  [0xffffffff, 0x380fffff],
  [0, 0x36a00000],
  [0, 0x38100000],
];
const HALVES = [0, 0x8000, 1, 0x83ff, 0x400, 0x7bff, 0xfc00, 0x7c00, 0x7e00, 0xfe01, 0x7c01, 0xfd55, 0x3c00];

const scratch = new DataView(new ArrayBuffer(8));

function singleOf(value: number): number {
  scratch.setFloat32(0, value);
  return scratch.getUint32(0);
}

function drawSingle(prng: Prng): number {
  const draw = prng.next();
  switch (draw & 7) {
    case 0:
    case 1:
      return SINGLES[(draw >>> 8) % SINGLES.length] ?? 0;
    case 2:
      return prng.next();
    case 3: // small integers and halves
      return singleOf((((draw >>> 8) & 63) - 32) / 2);
    case 4: {
      // about the ends of the exponent range
      const distance = (draw >>> 8) % 26;
      return (prng.next() & 0x807fffff) | ((draw & 0x80000 ? distance : 254 - distance) << 23);
    }
    default: // near 1, few significant bits half of the time
      return (prng.next() & (draw & 0x80000 ? 0x807fffff : 0x80700000)) | ((112 + ((draw >>> 8) % 40)) << 23);
  }
}

function drawDouble(prng: Prng, into: Uint32Array, at: number): void {
  const draw = prng.next();
  const detail = draw >>> 8;
  let low = prng.next();
  let high = prng.next();
  switch (draw & 7) {
    case 0:
    case 1:
      [low, high] = DOUBLES[detail % DOUBLES.length] as readonly [number, number];
      break;
    case 2:
      break;
    case 3:
      scratch.setFloat64(0, ((detail & 63) - 32) / 2);
      [high, low] = [scratch.getUint32(0), scratch.getUint32(4)];
      break;
    case 4: {
      const distance = detail % 56;
      high = (high & 0x800fffff) | ((draw & 0x80 ? distance : 2046 - distance) << 20);
      break;
    }
    case 5: // within the reach of single precision's ends
      high = (high & 0x800fffff) | ((870 + (detail % 300)) << 20);
      break;
    default:
      if (draw & 0x80) {
        low = 0;
        high &= 0x800e0000;
      } else high &= 0x800fffff;
      high |= (1000 + (detail % 72)) << 20;
  }
  into[at] = low;
  into[at + 1] = high;
}

/** Draws `count` quadwords of a style. */
function drawQuadwords(prng: Prng, data: number, into: Uint32Array, at: number, count: number): void {
  for (const end = at + count * 2; at < end; at += 2) {
    switch (data) {
      case DATA.singles:
        into[at] = drawSingle(prng);
        into[at + 1] = drawSingle(prng);
        break;
      case DATA.doubles:
        drawDouble(prng, into, at);
        break;
      case DATA.small: {
        const keep = prng.next();
        const [low, high] = [prng.next(), prng.next()];
        let first = 0;
        let second = 0;
        for (let byte = 0; byte < 4; byte++) {
          if ((keep >> (byte * 2)) & 3) first |= (((low >>> (byte * 8)) & 0xff) % 6) << (byte * 8);
          if ((keep >> (byte * 2 + 8)) & 3) second |= (((high >>> (byte * 8)) & 0xff) % 6) << (byte * 8);
        }
        into[at] = first;
        into[at + 1] = second;
        break;
      }
      case DATA.counts:
        into[at] = prng.below(72);
        into[at + 1] = prng.below(8) ? 0 : prng.below(72);
        break;
      case DATA.halves:
        for (let word = at; word < at + 2; word++) {
          const draw = prng.next();
          const low = HALVES[(draw & 0xff) % HALVES.length] as number;
          const high = HALVES[((draw >>> 8) & 0xff) % HALVES.length] as number;
          const random = prng.next();
          into[word] = ((draw >>> 16) % 3 ? low : random & 0xffff) | (((draw >>> 20) % 3 ? high : random >>> 16) << 16);
        }
        break;
      case DATA.corners:
        drawValue(prng, into, at);
        break;
      default:
        into[at] = prng.next();
        into[at + 1] = prng.next();
    }
  }
}

/** Copies and near copies, which random operands never are, and sums that cancel. */
function relate(prng: Prng, data: number, state: Uint32Array): void {
  const kind = prng.below(8);
  if (kind === 0) {
    for (let register = 1; register < 16; register++) {
      for (let word = 0; word < 8; word++) {
        const draw = prng.next();
        const from = state[STATE_YMM + word] as number;
        const at = STATE_YMM + register * 8 + word;
        if (draw & 7) state[at] = from;
        else if (draw & 8) state[at] = from ^ (1 << (draw >>> 27));
      }
    }
  } else if (kind === 1 && (data === DATA.singles || data === DATA.doubles)) {
    // About minus the product of two others: fused results show the low half of the product.
    const floats = new DataView(state.buffer, state.byteOffset);
    for (let target = 0; target < 16; target++) {
      if (prng.below(2)) continue;
      const c = (STATE_YMM + target * 8) * 4;
      const a = (STATE_YMM + prng.below(16) * 8) * 4;
      const b = (STATE_YMM + prng.below(16) * 8) * 4;
      for (let at = 0; at < 32; at += data === DATA.doubles ? 8 : 4) {
        if (data === DATA.doubles) {
          const product = floats.getFloat64(a + at, true) * -floats.getFloat64(b + at, true);
          if (!Number.isNaN(product)) floats.setFloat64(c + at, product, true);
        } else {
          const product = floats.getFloat32(a + at, true) * -floats.getFloat32(b + at, true);
          if (!Number.isNaN(product)) floats.setFloat32(c + at, product, true);
        }
      }
    }
  }
}

/** Half of the time the reset value, with and without sticky flags. */
export function drawMxcsr(prng: Prng): number {
  const draw = prng.next();
  const sticky = draw & 1 ? prng.next() & 63 : 0;
  if (draw & 2) return 0x1f80 | sticky;
  const masks = (draw >>> 4) % 3 ? 0x1f80 : prng.next() & 0x1f80;
  return (prng.next() & 0xe040) | sticky | masks;
}

// ---------------------------------------------------------------------------------------------------------------------
// x87

export interface Extended {
  significand: bigint;
  /** Sign (bit 15) and biased exponent. */
  se: number;
}

const INTEGER_BIT = 1n << 63n;

function draw64(prng: Prng): bigint {
  return (BigInt(prng.next()) << 32n) | BigInt(prng.next());
}

function drawFraction(prng: Prng): bigint {
  const bit = (): bigint => 1n << BigInt(prng.below(63));
  switch (prng.below(9)) {
    case 0:
      return 0n;
    case 1:
      return bit();
    case 2:
      return bit() | bit();
    case 3:
      return BigInt.asUintN(64, -bit());
    case 4:
      return 0xffffffffffffffffn >> BigInt(1 + prng.below(63));
    case 5:
      return draw64(prng) & 0xfffffffffffff800n;
    case 6:
      return draw64(prng) & 0xffffff0000000000n;
    case 7:
      return (draw64(prng) & 0xffffff0000000000n) | (prng.below(2) ? 0x8000000000n : 0x400n) | BigInt(prng.below(3));
    default:
      return draw64(prng);
  }
}

function drawExponent(prng: Prng): number {
  switch (prng.below(10)) {
    case 0:
      return 1 + prng.below(0x7ffe);
    case 1:
      return 1 + prng.below(0x48);
    case 2:
      return 0x7fb6 + prng.below(0x49);
    case 3: // binary32's limits
      return 0x3f81 - 30 + prng.below(36);
    case 4:
      return 0x407e - 3 + prng.below(6);
    case 5: // binary64's
      return 0x3c01 - 60 + prng.below(66);
    case 6:
      return 0x43fe - 3 + prng.below(6);
    case 7:
      return 0x3fff + prng.below(70);
    case 8:
      return 0x3fff - 70 + prng.below(140);
    default:
      return 0x3fff - 3 + prng.below(7);
  }
}

const INTEGERS = [
  1n,
  2n,
  3n,
  10n,
  0x7fffn,
  0x8000n,
  0x7fffffffn,
  0x80000000n,
  0x7fffffffffffffffn,
  0x8000000000000000n,
  999999999999999999n,
  1000000000000000000n,
];

/** About an integer, some with a fraction near a half. */
function drawIntegral(prng: Prng): Extended {
  let value = prng.below(2) ? prng.pick(INTEGERS) : draw64(prng) >> BigInt(prng.below(64));
  value = BigInt.asUintN(64, value + BigInt(prng.below(3)) - 1n) || 1n;
  const shift = 64 - value.toString(2).length;
  let significand = value << BigInt(shift);
  if (prng.below(2) && shift > 2) {
    significand |= BigInt(1 + prng.below(3)) << BigInt(shift - 2);
    if (prng.below(2)) significand = BigInt.asUintN(64, significand + BigInt(prng.below(3)) - 1n);
    significand |= INTEGER_BIT;
  }
  return { significand, se: 0x3fff + 63 - shift };
}

/** Any kind of operand, the unsupported encodings included. */
export function drawExtended(prng: Prng): Extended {
  const value: Extended = { significand: 0n, se: 0 };
  const fraction = drawFraction(prng);
  switch (prng.below(32)) {
    case 0:
    case 1: // zero
      break;
    case 2: // infinity
      value.significand = INTEGER_BIT;
      value.se = 0x7fff;
      break;
    case 3: // quiet NaN
      value.significand = 0xc000000000000000n | (fraction >> 2n);
      value.se = 0x7fff;
      break;
    case 4: // signaling NaN
      value.significand = INTEGER_BIT | (fraction >> 2n) | (1n << BigInt(prng.below(62)));
      value.se = 0x7fff;
      break;
    case 5:
    case 6: // denormal
      value.significand = fraction >> BigInt(1 + prng.below(63));
      break;
    case 7: // pseudo-denormal
      value.significand = fraction | INTEGER_BIT;
      break;
    case 8: // unnormal
      value.significand = fraction >> 1n;
      value.se = 1 + prng.below(0x7ffe);
      break;
    case 9: // pseudo-infinity, pseudo-NaN
      value.significand = fraction >> 1n;
      value.se = 0x7fff;
      break;
    case 10:
    case 11:
    case 12:
    case 13: {
      const integral = drawIntegral(prng);
      value.significand = integral.significand;
      value.se = integral.se;
      break;
    }
    case 14:
      value.significand = INTEGER_BIT;
      value.se = 0x3fff - 40 + prng.below(80);
      break;
    case 15:
      value.significand = INTEGER_BIT;
      value.se = 0x3fff;
      break;
    default:
      value.significand = fraction | INTEGER_BIT;
      value.se = drawExponent(prng);
  }
  if (prng.below(2)) value.se |= 0x8000;
  return value;
}

/** Operands at which transcendental instructions are defined, most of them. */
function drawAngle(prng: Prng): Extended {
  const value: Extended = { significand: drawFraction(prng) | INTEGER_BIT, se: 0 };
  switch (prng.below(6)) {
    case 0:
      value.se = 0x3fff - 70 + prng.below(72);
      break;
    case 1:
      value.se = 0x3fff + prng.below(63);
      break;
    case 2:
      value.se = 0x3fff - 4 + prng.below(6);
      break;
    case 3:
      value.se = 0x3ffd + prng.below(3);
      value.significand = draw64(prng) | INTEGER_BIT;
      break;
    case 4: // about a multiple of pi/2
      value.se = 0x4000 + prng.below(3);
      value.significand = 0xc90fdaa22168c235n + BigInt(prng.below(9)) - 4n;
      break;
    default:
      value.se = 0x3fff - 8 + prng.below(16);
      value.significand = draw64(prng) | INTEGER_BIT;
  }
  if (prng.below(2)) value.se |= 0x8000;
  return value;
}

export function putExtended(state: Uint32Array, at: number, value: Extended): void {
  state[at] = Number(value.significand & 0xffffffffn);
  state[at + 1] = Number(value.significand >> 32n);
  state[at + 2] = value.se;
}

export function drawControlWord(prng: Prng): number {
  let word = 0x40 | ((prng.below(4) ? 3 : prng.below(4)) << 8) | ((prng.below(2) ? 0 : prng.below(4)) << 10);
  word |= prng.below(2) ? 0x3f : prng.below(2) ? 0 : prng.below(64);
  if (prng.chance(16)) word |= 0x1000;
  return word;
}

/** A status word whose error summary agrees with the control word; TOP is drawn too. */
export function drawStatusWord(prng: Prng, controlWord: number): number {
  let word = prng.next() & 0x7f00;
  if (prng.chance(3)) word |= prng.next() & controlWord & 0x3f;
  if (prng.chance(24)) word |= prng.next() & 0x3f;
  if (prng.chance(8)) word |= 0x40;
  if (word & ~controlWord & 0x3f) word |= 0x8080;
  return word;
}

function drawX87(prng: Prng, style: number, state: Uint32Array): void {
  if ((style & 0x30) === X87.mmx) {
    const draw = prng.next();
    state[STATE_FCW] = 0x37f;
    state[STATE_FSW] = draw & 0x7f00;
    state[STATE_FTW] = draw & 0x10000 ? draw >>> 24 : draw & 0x20000 ? 0xff : 0;
    for (let register = 0; register < 8; register++) {
      state[STATE_FPR + register * 3 + 2] = draw & 0x40000 ? 0xffff : 0x3fff;
    }
    for (let register = 0; register < 8; register++) {
      state[STATE_FPR + register * 3] = prng.next();
      state[STATE_FPR + register * 3 + 1] = prng.next();
    }
    return;
  }
  const controlWord = drawControlWord(prng);
  const statusWord = drawStatusWord(prng, controlWord);
  const top = (statusWord >> 11) & 7;
  let tags = 0xff;
  if (style & X87_ROOM) tags &= ~(1 << ((top - 1) & 7));
  if (prng.chance(10)) tags ^= 1 << ((top + prng.below(2)) & 7);
  if (prng.chance(16)) tags = prng.next() & 0xff;
  state[STATE_FCW] = controlWord;
  state[STATE_FSW] = statusWord;
  state[STATE_FTW] = tags;
  const relation = prng.below(6);
  const first = style & X87.angles && prng.below(8) ? drawAngle(prng) : drawExtended(prng);
  for (let index = 0; index < 8; index++) {
    let value = first;
    if (index > 0) {
      if (relation === 0) value = { significand: first.significand, se: first.se ^ (prng.next() & 0x8000) };
      else if (relation === 1) {
        // Close operands: cancellation, remainders.
        const significand = BigInt.asUintN(64, first.significand + BigInt(prng.below(5)) - 2n);
        value = { significand, se: (first.se + prng.below(5) - 2) & 0xffff };
      } else value = style & X87.angles && prng.below(2) ? drawAngle(prng) : drawExtended(prng);
    }
    putExtended(state, STATE_FPR + ((top + index) & 7) * 3, value);
  }
}

/** Fills `state` with the input that follows from a seed and a style. */
export function drawState(seed: number, style: number, state: Uint32Array): void {
  state[STATE_FLAGS] = drawRegisters(seed, state);
  const prng = new Prng(seed ^ 0x3c6ef372);
  const data = style & 15;
  state[STATE_MXCSR] = drawMxcsr(prng);
  drawQuadwords(prng, data, state, STATE_YMM, 64);
  relate(prng, data, state);
  drawX87(prng, style, state);
}

/** Fills memory patches of a wide vector, in the order in which it lists them. */
export class StyledMemory {
  readonly #prng: Prng;
  readonly #data: number;
  readonly #words = new Uint32Array(4);
  readonly #bytes = new Uint8Array(this.#words.buffer);

  /** `state` is the vector's input before any of its own words. */
  constructor(
    seed: number,
    style: number,
    readonly state: Uint32Array,
  ) {
    this.#prng = new Prng(seed ^ 0x5a5a5a5a);
    this.#data = style & 15;
  }

  fill(into: Uint8Array): void {
    const prng = this.#prng;
    // Sometimes what a register holds.
    const copied = this.#data < DATA.extended && prng.below(8) === 0 ? STATE_YMM + prng.below(16) * 8 : -1;
    for (let at = 0; at < into.length;) {
      let step = 8;
      if (copied >= 0 && at < 32) {
        this.#words[0] = this.state[copied + (at >> 2)] as number;
        this.#words[1] = this.state[copied + (at >> 2) + 1] as number;
      } else if (this.#data === DATA.extended) {
        putExtended(this.#words, 0, drawExtended(prng));
        step = 10;
      } else if (this.#data === DATA.decimal) {
        const short = prng.below(4) ? 9 : prng.below(9);
        const anything = prng.chance(16);
        for (let byte = 0; byte < 9; byte++) {
          const digits = (prng.below(10) << 4) | prng.below(10);
          this.#bytes[byte] = anything ? prng.next() : byte < short ? digits : 0;
        }
        this.#bytes[9] = prng.below(8) ? prng.next() & 0x80 : prng.next();
        step = 10;
      } else drawQuadwords(prng, this.#data, this.#words, 0, 1);
      for (let byte = 0; byte < step && at < into.length; byte++) into[at++] = this.#bytes[byte] as number;
    }
  }
}

/** Name of a state word, for messages. */
export function wordName(word: number): string {
  if (word < FS_BASE * 2) return `gpr${word >> 1}${word & 1 ? '.high' : ''}`;
  if (word < STATE_FLAGS) return `base${word - FS_BASE * 2}`;
  if (word === STATE_FLAGS) return 'flags';
  if (word === STATE_MXCSR) return 'mxcsr';
  if (word < STATE_FCW) return `ymm${(word - STATE_YMM) >> 3}[${(word - STATE_YMM) & 7}]`;
  if (word === STATE_FCW) return 'fcw';
  if (word === STATE_FSW) return 'fsw';
  if (word === STATE_FTW) return 'ftw';
  return `r${Math.floor((word - STATE_FPR) / 3)}[${(word - STATE_FPR) % 3}]`;
}
