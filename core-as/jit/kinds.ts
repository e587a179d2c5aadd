/** What the translator asks about kinds of micro-ops. */
import { K } from '../cpu/uops';

/** Micro-ops that a helper runs as the interpreter would, on the registers in memory, unless they are translated all the same. */
// @ts-ignore: decorator
@inline
export function isRun(kind: i32): bool {
  return kind >= K.CALL_X;
}

export function isStore(kind: i32): bool {
  return kind >= K.ST8 && kind <= K.GSTI64;
}

export function isLoad(kind: i32): bool {
  return kind >= K.LD8 && kind <= K.GLDW64;
}

/** A load or store that applies segmentation and address size. */
export function isSegmented(kind: i32): bool {
  return (kind >= K.GLD8 && kind <= K.GLDW64) || kind >= K.GST8;
}

/** The last micro-op of a block. */
// @ts-ignore: decorator
@inline
export function endsBlock(kind: i32): bool {
  return kind === K.END || kind === K.JMP || kind === K.JMPR || (kind >= K.CALL && kind <= K.RETI);
}

// @ts-ignore: decorator
@inline
export function isConditional(kind: i32): bool {
  return kind >= K.JO && kind <= K.JNLE;
}
