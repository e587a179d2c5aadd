/** Counters at 0x4000 (manual, 13.7): read to clear, stuck at their end rather than starting over. */
import type { StateFields } from '../../platform/state-fields.ts';
import type { StateValue } from '../../snapshot.ts';
import { STATISTICS, STATISTICS_END } from './registers.ts';

const WORDS = (STATISTICS_END - STATISTICS) / 4;

// Places of the counters, as offsets from 0x4000.
export const MPC = 0x10;
/** Received by length: 64, 65-127, 128-255, 256-511, 512-1023, 1024-. */
const PRC64 = 0x5c;
const GPRC = 0x74;
const BPRC = 0x78;
const MPRC = 0x7c;
const GPTC = 0x80;
const GORC = 0x88;
const GOTC = 0x90;
export const RNBC = 0xa0;
export const RUC = 0xa4;
export const ROC = 0xac;
const TOR = 0xc0;
const TOT = 0xc8;
const TPR = 0xd0;
const TPT = 0xd4;
const PTC64 = 0xd8;
const MPTC = 0xf0;
const BPTC = 0xf4;
export const TSCTC = 0xf8;

/** The low words of counters of 64 bits, which are cleared with their high word. */
const WIDE = new Set([GORC, GOTC, TOR, TOT]);
/** With the frame check sequence, which counts. */
const FCS_BYTES = 4;
const LENGTHS = [64, 127, 255, 511, 1023] as const;

export class Statistics {
  readonly #words = new Uint32Array(WORDS);

  count(offset: number, by = 1): void {
    const word = offset >> 2;
    this.#words[word] = Math.min((this.#words[word] ?? 0) + by, 0xffffffff);
  }

  #countWide(offset: number, by: number): void {
    const word = offset >> 2;
    const sum = (this.#words[word] ?? 0) + by;
    this.#words[word] = sum % 2 ** 32;
    if (sum >= 2 ** 32) this.count(offset + 4);
  }

  #countLength(first: number, lengthBytes: number): void {
    let index = LENGTHS.findIndex((end) => lengthBytes <= end);
    if (index === -1) index = LENGTHS.length;
    this.count(first + 4 * index);
  }

  /** A good frame for the guest; `destination` are its first bytes. */
  received(frameBytes: number, destination: Uint8Array): void {
    const lengthBytes = frameBytes + FCS_BYTES;
    this.#countLength(PRC64, lengthBytes);
    this.count(GPRC);
    this.count(TPR);
    this.#countWide(GORC, lengthBytes);
    this.#countWide(TOR, lengthBytes);
    this.#countGroup(BPRC, MPRC, destination);
  }

  sent(frameBytes: number, destination: Uint8Array): void {
    const lengthBytes = frameBytes + FCS_BYTES;
    this.#countLength(PTC64, lengthBytes);
    this.count(GPTC);
    this.count(TPT);
    this.#countWide(GOTC, lengthBytes);
    this.#countWide(TOT, lengthBytes);
    this.#countGroup(BPTC, MPTC, destination);
  }

  #countGroup(broadcasts: number, multicasts: number, destination: Uint8Array): void {
    if (((destination[0] ?? 0) & 1) === 0) return;
    this.count(destination.subarray(0, 6).every((byte) => byte === 0xff) ? broadcasts : multicasts);
  }

  /** Reads and clears. `offset` counts from 0x4000 and is a multiple of 4. */
  read(offset: number): number {
    const word = offset >> 2;
    const value = this.#words[word] ?? 0;
    if (WIDE.has(offset)) return value;
    this.#words[word] = 0;
    if (WIDE.has(offset - 4)) this.#words[word - 1] = 0;
    return value;
  }

  reset(): void {
    this.#words.fill(0);
  }

  save(): StateValue {
    return [...this.#words];
  }

  prepareRestore(fields: StateFields, name: string): () => void {
    const words = fields.integers(name, WORDS, 0xffffffff);
    return () => {
      this.reset();
      this.#words.set(words);
    };
  }
}
