/** What the tables of wide forms are made of. */
import { type Encoding, type ModrmSpec, type Operand, VectorBuilder, modrmInstruction } from '../assemble.ts';
import { imageOffsetOf } from '../windows.ts';
import type { Prng } from '../random.ts';
import type { WideRule } from './rules.ts';
import { STATE_FPR, STATE_FSW, STATE_WORDS, StyledMemory, drawState, putExtended, type Extended } from './state.ts';

/** Input of one wide vector while it is being made. */
export class WideBuilder extends VectorBuilder {
  /** The state with this vector's own words from MXCSR on; general registers are in {@link registers}. */
  readonly state = new Uint32Array(STATE_WORDS);
  readonly wordOverrides = new Map<number, number>();
  readonly #styled: StyledMemory;

  constructor(
    seed: number,
    prng: Prng,
    readonly style: number,
  ) {
    super(seed, prng);
    const drawn = new Uint32Array(STATE_WORDS);
    drawState(seed, style, drawn);
    this.state.set(drawn);
    this.#styled = new StyledMemory(seed, style, drawn);
  }

  setWord(word: number, value: number): void {
    this.state[word] = value;
    this.wordOverrides.set(word, value >>> 0);
  }

  override fill(address: bigint, lengthBytes: number): Uint8Array {
    const offset = imageOffsetOf(address);
    if (offset < 0) return new Uint8Array(0);
    let length = 0;
    while (length < lengthBytes && imageOffsetOf(address + BigInt(length)) === offset + length) length++;
    const bytes = new Uint8Array(length);
    this.#styled.fill(bytes);
    this.patches.push({ imageOffset: offset, lengthBytes: length, bytes: undefined });
    this.patched.push({ imageOffset: offset, bytes });
    return bytes;
  }

  /** Physical register of ST(i). */
  stackWord(index: number): number {
    return STATE_FPR + ((((this.state[STATE_FSW] as number) >> 11) + index) & 7) * 3;
  }

  setStack(index: number, value: Extended): void {
    const words = new Uint32Array(3);
    putExtended(words, 0, value);
    words.forEach((word, at) => this.setWord(this.stackWord(index) + at, word));
  }
}

export interface WideEncoding {
  readonly code: readonly number[];
  readonly codeOffset: number;
  readonly style: number;
  /** Traps in the middle of the instruction are not its end (gathers). */
  readonly repeat?: boolean;
  prepare(vector: WideBuilder): void;
}

export interface WideForm {
  /** Unique; seeds of the vectors derive from it. */
  readonly id: string;
  readonly rule: WideRule;
  /** Whether a vector says something about every processor; all do unless given. */
  readonly accepts?: (vector: WideBuilder) => boolean;
  make(prng: Prng): WideEncoding;
}

/** An instruction with a ModRM byte; `after` runs when its operand is in place. */
export function wideModrm(
  prng: Prng,
  style: number,
  spec: ModrmSpec,
  after?: (vector: WideBuilder, operand: Operand) => void,
): WideEncoding {
  let placed: Operand | undefined;
  const made = modrmInstruction(prng, {
    ...spec,
    prepare: (_vector, operand) => {
      placed = operand;
    },
  });
  return withStyle(made, style, (vector) => {
    if (placed) after?.(vector, placed);
  });
}

export function withStyle(made: Encoding, style: number, after?: (vector: WideBuilder) => void): WideEncoding {
  return {
    code: made.code,
    codeOffset: made.codeOffset,
    style,
    prepare(vector) {
      made.prepare(vector);
      after?.(vector);
    },
  };
}
