/** FLD1, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2, FLDZ (SDM volume 1, section 8.3.4). */
import { BIAS, control, setResult } from './float80';
import { RC_MASK, RC_NEAREST, RC_UP } from './state';

/**
 * Loads constant n (the low three bits of the ModRM byte) rounded by FCW.RC. Significands are the values truncated to
 * 64 bits; the next bits say which way to the nearest.
 */
export function loadConstant(n: u32): void {
  const mode = control & RC_MASK;
  switch (n) {
    case 0:
      setResult(BIAS, 0x8000000000000000);
      break;
    case 1: // log2(10) = 1.A934F0979A3715FC9257...
      setResult(BIAS + 1, 0xd49a784bcd1b8afe + <u64>(mode === RC_UP));
      break;
    case 2: // log2(e) = B8AA3B295C17F0BBBE87...
      setResult(BIAS, 0xb8aa3b295c17f0bb + roundUpFromHalf(mode));
      break;
    case 3: // pi = C90FDAA22168C234C4C6...
      setResult(BIAS + 1, 0xc90fdaa22168c234 + roundUpFromHalf(mode));
      break;
    case 4: // log10(2) = 9A209A84FBCFF7988F89...
      setResult(BIAS - 2, 0x9a209a84fbcff798 + roundUpFromHalf(mode));
      break;
    case 5: // ln(2) = B17217F7D1CF79ABC9E3...
      setResult(BIAS - 1, 0xb17217f7d1cf79ab + roundUpFromHalf(mode));
      break;
    default:
      setResult(0, 0);
      break;
  }
}

/** One if a positive value whose next bits exceed one half of the last place is rounded away from zero. */
// @ts-ignore: decorator
@inline
function roundUpFromHalf(mode: u32): u64 {
  return mode === RC_NEAREST || mode === RC_UP ? 1 : 0;
}
