/** XT codes (scan code set 1, with 0x80 for the E0 prefix): how keys are named between users and keyboards. */
import { translateToSet1 } from '../platform/scancodes.ts';

const E0 = 0x80;
/** Above this set 1 codes mean releases. */
const MAKE_CODES = 0x80;

/** Set 2 codes by XT code without the prefix. Where the 8042 translates two codes to the same one the lower one is a key's. */
const SET2 = new Map<number, number>();
for (let code = 0x84; code >= 1; code--) {
  const xt = translateToSet1(code);
  if (xt < MAKE_CODES) SET2.set(xt, code);
}

/** The set 2 code of a key. */
export function set2OfXtCode(code: number): { readonly code: number; readonly extended: boolean } | undefined {
  const set2 = SET2.get(code & ~E0);
  return set2 === undefined ? undefined : { code: set2, extended: (code & E0) !== 0 };
}

/** The XT code of a set 2 code. */
export function xtCodeOfSet2(code: number, extended: boolean): number | undefined {
  const xt = translateToSet1(code);
  return xt < MAKE_CODES ? xt | (extended ? E0 : 0) : undefined;
}
