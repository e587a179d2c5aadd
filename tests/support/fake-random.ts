/** Repeatable random numbers for fuzz tests (xorshift32). */
export class FakeRandom {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 1;
  }

  /** 32 random bits, unsigned. */
  u32(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return x >>> 0;
  }

  /** An integer in [0, limit). */
  below(limit: number): number {
    return this.u32() % limit;
  }

  pick<T>(values: readonly [T, ...T[]]): T {
    return values[this.below(values.length)] ?? values[0];
  }

  /** A value of the kind that finds bugs: 0, 1, all ones, powers of two and their neighbours, or anything. */
  nasty(): number {
    switch (this.below(6)) {
      case 0:
        return this.below(4);
      case 1:
        return 0xffffffff - this.below(4);
      case 2:
        return 2 ** this.below(32) - 1;
      case 3:
        return 2 ** this.below(32);
      case 4:
        return this.below(0x10000);
      default:
        return this.u32();
    }
  }
}
