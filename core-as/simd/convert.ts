/** Conversions between integers and floating point, rounding to integers, and the estimates (SDM Vol. 2 CVTxxx, ROUNDxx, RCPxx). */
import { R_GPR } from '../layout';
import { RESULT, writeResult } from './float';
import * as op from './operations';
import {
  FLAG_INVALID,
  FLAG_PRECISION,
  FORMAT_DOUBLE,
  FORMAT_HALF,
  FORMAT_SINGLE,
  ROUND_DOWN,
  ROUND_NEAREST,
  ROUND_UP,
  ROUND_ZERO,
  denormalsAreZeros,
  floatBegin,
  floatCommit,
  floatRaise,
  floatRounding,
  floatSetRounding,
  indefinite,
  infinityBits,
  isDenormal,
  isNan,
  isSignaling,
  quietBit,
  signBit,
  softConvert,
  softFromInteger,
} from './softfloat';

const INDEFINITE_32: u32 = 0x80000000;
const INDEFINITE_64: u64 = 0x8000000000000000;

function roundTo(value: f64, mode: u32): f64 {
  switch (mode) {
    case ROUND_NEAREST:
      return nearest<f64>(value);
    case ROUND_DOWN:
      return floor<f64>(value);
    case ROUND_UP:
      return ceil<f64>(value);
    default:
      return trunc<f64>(value);
  }
}

/** A double, or a single promoted, to a signed integer. Out of range, infinity and NaN give the integer indefinite. */
export function floatToInteger(value: f64, mode: u32, wide: bool): u64 {
  const rounded = roundTo(value, mode);
  const limit: f64 = wide ? 9223372036854775808.0 : 2147483648.0;
  // Written so that NaN fails.
  if (!(rounded >= -limit && rounded < limit)) {
    floatRaise(FLAG_INVALID);
    return wide ? INDEFINITE_64 : INDEFINITE_32;
  }
  if (rounded !== value) floatRaise(FLAG_PRECISION);
  return wide ? <u64>(<i64>rounded) : <u64>(<u32>(<i32>rounded));
}

/** The operand of a conversion to integer: DAZ turns a denormal to zero, DE is never raised. */
function single(address: u32): f64 {
  const bits = load<u32>(address);
  if (denormalsAreZeros() && isDenormal(bits, FORMAT_SINGLE)) return 0;
  return <f64>reinterpret<f32>(bits);
}
function double(address: u32): f64 {
  const bits = load<u64>(address);
  if (denormalsAreZeros() && isDenormal(bits, FORMAT_DOUBLE)) return 0;
  return reinterpret<f64>(bits);
}

/** Promotion is exact; only NaNs, infinities and denormals need a look at the rules. */
function singleToDouble(bits: u32): u64 {
  if (((bits >> 23) & 0xff) - 1 < 0xfe) return reinterpret<u64>(<f64>reinterpret<f32>(bits));
  return softConvert(bits, FORMAT_SINGLE, FORMAT_DOUBLE);
}

/** A number whose demotion is neither tiny nor too great converts natively. */
function doubleToSingle(bits: u64): u32 {
  if (floatRounding() === ROUND_NEAREST) {
    const value = reinterpret<f64>(bits);
    const demoted = <f32>value;
    const field = (reinterpret<u32>(demoted) >> 23) & 0xff;
    if (field - 2 < 0xfd) {
      if (<f64>demoted !== value) floatRaise(FLAG_PRECISION);
      return reinterpret<u32>(demoted);
    }
  }
  return <u32>softConvert(bits, FORMAT_DOUBLE, FORMAT_SINGLE);
}

/** A 32-bit integer to single precision: rounded natively in the common mode, exactness seen by converting back. */
function integerToSingle(value: i32): u32 {
  if (floatRounding() !== ROUND_NEAREST) return <u32>softFromInteger(value, FORMAT_SINGLE);
  const converted = <f32>value;
  if (<f64>converted !== <f64>value) floatRaise(FLAG_PRECISION);
  return reinterpret<u32>(converted);
}

/** Conversions that fill a vector register; `source` is an address, `first` the register that scalar forms merge into. */
export function executeConvert(
  cpu: u32,
  operation: u32,
  destination: u32,
  first: u32,
  source: u32,
  vex: bool,
  wide: bool,
  w: bool,
): bool {
  const result = cpu + RESULT;
  const lanes: u32 = wide ? 2 : 1;
  let whole = wide;
  floatBegin(cpu);
  switch (operation) {
    case op.OP_CVTPS2PD:
      for (let i: u32 = 0; i < lanes << 1; ++i) {
        store<u64>(result + (i << 3), singleToDouble(load<u32>(source + (i << 2))));
      }
      break;
    case op.OP_CVTPD2PS:
      store<u64>(result, 0, 8);
      for (let i: u32 = 0; i < lanes << 1; ++i) {
        store<u32>(result + (i << 2), doubleToSingle(load<u64>(source + (i << 3))));
      }
      whole = false;
      break;
    case op.OP_CVTSS2SD:
      v128.store(result, v128.load(first));
      store<u64>(result, singleToDouble(load<u32>(source)));
      whole = false;
      break;
    case op.OP_CVTSD2SS:
      v128.store(result, v128.load(first));
      store<u32>(result, doubleToSingle(load<u64>(source)));
      whole = false;
      break;
    case op.OP_CVTDQ2PS:
      for (let i: u32 = 0; i < lanes << 2; ++i) {
        store<u32>(result + (i << 2), integerToSingle(load<i32>(source + (i << 2))));
      }
      break;
    case op.OP_CVTPS2DQ:
    case op.OP_CVTTPS2DQ: {
      const mode = operation === op.OP_CVTTPS2DQ ? ROUND_ZERO : floatRounding();
      for (let i: u32 = 0; i < lanes << 2; ++i) {
        store<u32>(result + (i << 2), <u32>floatToInteger(single(source + (i << 2)), mode, false));
      }
      break;
    }
    case op.OP_CVTDQ2PD:
      for (let i: u32 = 0; i < lanes << 1; ++i) store<f64>(result + (i << 3), <f64>load<i32>(source + (i << 2)));
      break;
    case op.OP_CVTPD2DQ:
    case op.OP_CVTTPD2DQ: {
      const mode = operation === op.OP_CVTTPD2DQ ? ROUND_ZERO : floatRounding();
      store<u64>(result, 0, 8);
      for (let i: u32 = 0; i < lanes << 1; ++i) {
        store<u32>(result + (i << 2), <u32>floatToInteger(double(source + (i << 3)), mode, false));
      }
      whole = false;
      break;
    }
    case op.OP_CVTSI2SS:
      v128.store(result, v128.load(first));
      store<u32>(
        result,
        w ? <u32>softFromInteger(load<i64>(source), FORMAT_SINGLE) : integerToSingle(load<i32>(source)),
      );
      whole = false;
      break;
    case op.OP_CVTSI2SD:
      v128.store(result, v128.load(first));
      if (w) store<u64>(result, softFromInteger(load<i64>(source), FORMAT_DOUBLE));
      else store<f64>(result, <f64>load<i32>(source));
      whole = false;
      break;
    default: // VCVTPH2PS
      for (let i: u32 = 0; i < lanes << 2; ++i) {
        store<u32>(result + (i << 2), <u32>softConvert(load<u16>(source + (i << 1)), FORMAT_HALF, FORMAT_SINGLE));
      }
  }
  if (!floatCommit(cpu)) return false;
  writeResult(cpu, destination, vex, whole);
  return true;
}

/** VCVTPS2PH: rounding by imm8[1:0], or by MXCSR if imm8[2]. The result's 8 or 16 bytes stay at cpu + RESULT. */
export function executeConvertToHalf(cpu: u32, source: u32, imm: u32, wide: bool): bool {
  floatBegin(cpu);
  if (!(imm & 4)) floatSetRounding(imm & 3);
  const count: u32 = wide ? 8 : 4;
  for (let i: u32 = 0; i < count; ++i) {
    const half = softConvert(load<u32>(source + (i << 2)), FORMAT_SINGLE, FORMAT_HALF);
    store<u16>(cpu + RESULT + (i << 1), <u32>half);
  }
  return floatCommit(cpu);
}

/** CVTSS2SI, CVTSD2SI and their truncating forms, into a general register. */
export function executeConvertToGpr(cpu: u32, operation: u32, register: u32, source: u32, w: bool): bool {
  floatBegin(cpu);
  const truncates = operation === op.OP_CVTTSS2SI || operation === op.OP_CVTTSD2SI;
  const isSingle = operation === op.OP_CVTSS2SI || operation === op.OP_CVTTSS2SI;
  const value = isSingle ? single(source) : double(source);
  const result = floatToInteger(value, truncates ? ROUND_ZERO : floatRounding(), w);
  if (!floatCommit(cpu)) return false;
  store<u64>(cpu + (register << 3), result, R_GPR);
  return true;
}

/** MMX conversions: two elements either way; the result stays at cpu + RESULT. */
export function executeConvertMmx(cpu: u32, operation: u32, source: u32): bool {
  const result = cpu + RESULT;
  floatBegin(cpu);
  const truncates = operation === op.OP_CVTTPS2PI || operation === op.OP_CVTTPD2PI;
  const mode = truncates ? ROUND_ZERO : floatRounding();
  for (let i: u32 = 0; i < 2; ++i) {
    switch (operation) {
      case op.OP_CVTPI2PS:
        store<u32>(result + (i << 2), integerToSingle(load<i32>(source + (i << 2))));
        break;
      case op.OP_CVTPI2PD:
        store<f64>(result + (i << 3), <f64>load<i32>(source + (i << 2)));
        break;
      case op.OP_CVTPS2PI:
      case op.OP_CVTTPS2PI:
        store<u32>(result + (i << 2), <u32>floatToInteger(single(source + (i << 2)), mode, false));
        break;
      default:
        store<u32>(result + (i << 2), <u32>floatToInteger(double(source + (i << 3)), mode, false));
    }
  }
  return floatCommit(cpu);
}

// ---------------------------------------------------------------------------------------------------------------------
// ROUNDxx

/** imm8[1:0] rounding, imm8[2] MXCSR's instead, imm8[3] PE suppressed. */
function roundElement(bits: u64, imm: u32, format: u32): u64 {
  if (isNan(bits, format)) {
    if (isSignaling(bits, format)) floatRaise(FLAG_INVALID);
    return bits | quietBit(format);
  }
  if (denormalsAreZeros() && isDenormal(bits, format)) return bits & signBit(format);
  const mode = imm & 4 ? floatRounding() : imm & 3;
  const value = format === FORMAT_DOUBLE ? reinterpret<f64>(bits) : <f64>reinterpret<f32>(<u32>bits);
  const rounded = roundTo(value, mode);
  if (rounded !== value && !(imm & 8)) floatRaise(FLAG_PRECISION);
  return format === FORMAT_DOUBLE ? reinterpret<u64>(rounded) : <u64>reinterpret<u32>(<f32>rounded);
}

export function executeRound(
  cpu: u32,
  operation: u32,
  destination: u32,
  first: u32,
  second: u32,
  imm: u32,
  vex: bool,
  wide: bool,
): bool {
  const result = cpu + RESULT;
  const scalar = operation === op.OP_ROUNDSS || operation === op.OP_ROUNDSD;
  const bytes: u32 = wide && !scalar ? 32 : 16;
  floatBegin(cpu);
  if (scalar) {
    v128.store(result, v128.load(first));
    if (operation === op.OP_ROUNDSS) store<u32>(result, <u32>roundElement(load<u32>(second), imm, FORMAT_SINGLE));
    else store<u64>(result, roundElement(load<u64>(second), imm, FORMAT_DOUBLE));
  } else if (operation === op.OP_ROUNDPS) {
    for (let at: u32 = 0; at < bytes; at += 4) {
      store<u32>(result + at, <u32>roundElement(load<u32>(second + at), imm, FORMAT_SINGLE));
    }
  } else {
    for (let at: u32 = 0; at < bytes; at += 8) {
      store<u64>(result + at, roundElement(load<u64>(second + at), imm, FORMAT_DOUBLE));
    }
  }
  if (!floatCommit(cpu)) return false;
  writeResult(cpu, destination, vex, wide && !scalar);
  return true;
}

// ---------------------------------------------------------------------------------------------------------------------
// Estimates: no flags, MXCSR's rounding is ignored, denormals count as zeros both ways. The architecture bounds the relative error
// by 1.5 * 2^-12 and leaves the bits open; here they are the correctly rounded values.

function reciprocal(bits: u32): u32 {
  if (isNan(bits, FORMAT_SINGLE)) return bits | (<u32>quietBit(FORMAT_SINGLE));
  const sign = bits & 0x80000000;
  if (bits << 1 === 0 || isDenormal(bits, FORMAT_SINGLE)) return sign | (<u32>infinityBits(FORMAT_SINGLE));
  const result = reinterpret<u32>(<f32>1 / reinterpret<f32>(bits));
  return isDenormal(result, FORMAT_SINGLE) ? sign : result;
}

function reciprocalSquareRoot(bits: u32): u32 {
  if (isNan(bits, FORMAT_SINGLE)) return bits | (<u32>quietBit(FORMAT_SINGLE));
  const sign = bits & 0x80000000;
  if (bits << 1 === 0 || isDenormal(bits, FORMAT_SINGLE)) return sign | (<u32>infinityBits(FORMAT_SINGLE));
  if (sign) return <u32>indefinite(FORMAT_SINGLE);
  return reinterpret<u32>(<f32>(<f64>1 / sqrt<f64>(<f64>reinterpret<f32>(bits))));
}

export function executeEstimate(
  cpu: u32,
  operation: u32,
  destination: u32,
  first: u32,
  second: u32,
  vex: bool,
  wide: bool,
): void {
  const result = cpu + RESULT;
  const isRoot = operation === op.OP_RSQRTPS || operation === op.OP_RSQRTSS;
  const scalar = operation === op.OP_RCPSS || operation === op.OP_RSQRTSS;
  const bytes: u32 = scalar ? 4 : wide ? 32 : 16;
  if (scalar) v128.store(result, v128.load(first));
  for (let at: u32 = 0; at < bytes; at += 4) {
    const bits = load<u32>(second + at);
    store<u32>(result + at, isRoot ? reciprocalSquareRoot(bits) : reciprocal(bits));
  }
  writeResult(cpu, destination, vex, wide && !scalar);
}

/** The conversion's destination is an MMX register. */
export function isConvertToMmx(operation: u32): bool {
  return operation >= op.OP_CVTPS2PI && operation <= op.OP_CVTTPD2PI;
}
