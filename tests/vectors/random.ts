/**
 * The random numbers behind the vectors. A vector does not store its input registers: they follow from its seed, so this file
 * is part of the data's format. Changing what it returns makes every recorded vector wrong.
 */

/** A counter run through a 32-bit mixing function (murmur3's finaliser, other constants). */
export class Prng {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** 32 random bits, unsigned. */
  next(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    let z = this.#state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  }

  /** 0 ... bound - 1. */
  below(bound: number): number {
    return this.next() % bound;
  }

  chance(oneIn: number): boolean {
    return this.below(oneIn) === 0;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }
}

/** FNV-1a of a form's name: the seed its vectors count from. */
export function seedOfName(name: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < name.length; at++) hash = Math.imul(hash ^ name.charCodeAt(at), 0x01000193);
  return hash >>> 0;
}

/** Seed of the n-th vector of a form. */
export function seedOfVector(formSeed: number, ordinal: number): number {
  return (formSeed + Math.imul(ordinal + 1, 0x85ebca6b)) >>> 0;
}

/** Low and high halves of values at which instructions change their behaviour. */
const CORNERS = new Uint32Array([
  0, 0, 1, 0, 2, 0, 0xffffffff, 0xffffffff, 0xfffffffe, 0xffffffff, 0x7f, 0, 0x80, 0, 0xff, 0, 0x100, 0, 0xffffff80,
  0xffffffff, 0x7fff, 0, 0x8000, 0, 0xffff, 0, 0x10000, 0, 0xffff8000, 0xffffffff, 0x7fffffff, 0, 0x80000000, 0,
  0xffffffff, 0, 0, 1, 0x80000000, 0xffffffff, 0xffffffff, 0x7fffffff, 0, 0x80000000, 1, 0x80000000, 0x55555555,
  0x55555555, 0xaaaaaaaa, 0xaaaaaaaa, 0x0f0f0f0f, 0x0f0f0f0f, 0x01234567, 0x89abcdef, 0, 0xffffffff, 0xfffffffe,
  0x7fffffff, 0x00ff00ff, 0x00ff00ff,
]);
const CORNER_COUNT = CORNERS.length / 2;

/** Writes a 64-bit value (low half, high half): half of them random bits, the others corner cases of every operand size. */
export function drawValue(prng: Prng, into: Uint32Array, at: number): void {
  let low = prng.next();
  let high = prng.next();
  const choice = prng.next();
  const detail = (choice >>> 8) & 0xffff;
  switch (choice & 15) {
    case 0:
    case 1: {
      const corner = detail % CORNER_COUNT;
      low = CORNERS[corner * 2] as number;
      high = CORNERS[corner * 2 + 1] as number;
      break;
    }
    case 2: {
      // A small number, either sign.
      low = (detail & 63) - 32;
      high = low < 0 ? -1 : 0;
      break;
    }
    case 3:
      // A corner case in the low half, random bits above.
      low = CORNERS[(detail % CORNER_COUNT) * 2] as number;
      break;
    case 4: {
      const corner = CORNERS[(detail % CORNER_COUNT) * 2] as number;
      low = (low & 0xffff0000) | (corner & 0xffff);
      break;
    }
    case 5: {
      // Corner cases in both low bytes: AL and AH.
      const first = CORNERS[((detail & 0xff) % CORNER_COUNT) * 2] as number;
      const second = CORNERS[((detail >>> 8) % CORNER_COUNT) * 2] as number;
      low = (low & 0xffff0000) | (first & 0xff) | ((second & 0xff) << 8);
      break;
    }
    case 6: {
      // One bit set, or one bit clear.
      const bit = detail & 63;
      low = bit < 32 ? 1 << bit : 0;
      high = bit < 32 ? 0 : 1 << (bit - 32);
      if (detail & 64) {
        low = ~low;
        high = ~high;
      }
      break;
    }
    case 7:
      // 32 bits extended by zeros or by the sign.
      high = detail & 1 && low & 0x80000000 ? -1 : 0;
      break;
    default:
      break;
  }
  into[at] = low;
  into[at + 1] = high;
}

/** CF PF AF ZF SF DF OF. */
export const DRAWN_FLAGS = 0xcd5;

/** Slots of a register file: the 16 general registers in encoding order, then the bases of FS and GS. */
export const FS_BASE = 16;
export const GS_BASE = 17;
export const REGISTER_COUNT = 18;

/** The input registers (low half, high half each) that follow from a seed; returns the input flags. */
export function drawRegisters(seed: number, into: Uint32Array): number {
  const prng = new Prng(seed);
  for (let register = 0; register < 16; register++) drawValue(prng, into, register * 2);
  for (let register = FS_BASE; register <= GS_BASE; register++) {
    into[register * 2] = prng.next();
    into[register * 2 + 1] = prng.next() & 0x7fff;
  }
  return prng.next() & DRAWN_FLAGS;
}

/** Fills memory patches from a vector's seed, in the order in which the vector lists them. */
export class MemoryPrng {
  readonly #prng: Prng;
  readonly #value = new Uint32Array(2);

  constructor(seed: number) {
    this.#prng = new Prng(seed ^ 0xa5a5a5a5);
  }

  fill(into: Uint8Array): void {
    for (let at = 0; at < into.length; at += 8) {
      drawValue(this.#prng, this.#value, 0);
      for (let byte = 0; byte < 8 && at + byte < into.length; byte++) {
        into[at + byte] = (this.#value[byte >> 2] as number) >>> ((byte & 3) * 8);
      }
    }
  }
}
