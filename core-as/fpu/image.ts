/**
 * The x87 state in memory: FSTENV and FSAVE images (SDM volume 1, figures 8-9 to 8-12) and the x87 part of FXSAVE and
 * XSAVE areas (SDM volume 1, section 10.5.1 and table 13-1).
 */
import {
  FPU_CONTROL,
  FPU_CS,
  FPU_DP,
  FPU_DS,
  FPU_FOP,
  FPU_IP,
  FPU_REGISTERS,
  FPU_VALID,
  EX_ALL,
  initialize,
  setControlWord,
  setRegister,
  setStatusWord,
  signExponent,
  significand,
  stackRegister,
  x87StatusWord,
} from './state';

/**
 * The full tag word: 0 valid, 1 zero, 2 special (infinity, NaN, denormal, unsupported), 3 empty for each physical
 * register.
 */
function fullTagWord(cpu: u32): u32 {
  const valid = load<u32>(cpu, FPU_VALID);
  let word: u32 = 0;
  for (let n: u32 = 0; n < 8; n++) {
    let tag: u32 = 3;
    if ((valid >> n) & 1) {
      const register = cpu + FPU_REGISTERS + (n << 4);
      const exponent = signExponent(register) & 0x7fff;
      const sig = significand(register);
      if (exponent === 0) tag = sig === 0 ? 1 : 2;
      else tag = exponent === 0x7fff || <i64>sig >= 0 ? 2 : 0;
    }
    word |= tag << (n << 1);
  }
  return word;
}

/** Only "empty" is taken from a full tag word: the rest follows from the registers' contents. */
function setFullTagWord(cpu: u32, word: u32): void {
  let valid: u32 = 0;
  for (let n: u32 = 0; n < 8; n++) {
    if (((word >> (n << 1)) & 3) !== 3) valid |= 1 << n;
  }
  store<u32>(cpu, valid, FPU_VALID);
}

/** Bytes of an environment image. */
// @ts-ignore: decorator
@inline
export function environmentBytes(operandSize16: bool): u32 {
  return operandSize16 ? 14 : 28;
}

/** Fills an environment image. */
export function storeEnvironment(cpu: u32, buffer: u32, operandSize16: bool, realMode: bool): void {
  const control = load<u32>(cpu, FPU_CONTROL);
  const status = x87StatusWord(cpu);
  const tags = fullTagWord(cpu);
  const opcode = load<u32>(cpu, FPU_FOP) & 0x7ff;
  let ip = <u32>load<u64>(cpu, FPU_IP);
  let dp = <u32>load<u64>(cpu, FPU_DP);
  const cs = load<u32>(cpu, FPU_CS);
  const ds = load<u32>(cpu, FPU_DS);
  if (realMode) {
    // Real-address mode keeps linear addresses.
    ip += cs << 4;
    dp += ds << 4;
  }
  if (operandSize16) {
    store<u16>(buffer, control);
    store<u16>(buffer, status, 2);
    store<u16>(buffer, tags, 4);
    store<u16>(buffer, ip, 6);
    store<u16>(buffer, realMode ? ((ip >> 4) & 0xf000) | opcode : cs, 8);
    store<u16>(buffer, dp, 10);
    store<u16>(buffer, realMode ? (dp >> 4) & 0xf000 : ds, 12);
    return;
  }
  // Reserved halves are stored as ones.
  store<u32>(buffer, control | 0xffff0000);
  store<u32>(buffer, status | 0xffff0000, 4);
  store<u32>(buffer, tags | 0xffff0000, 8);
  if (realMode) {
    store<u32>(buffer, (ip & 0xffff) | 0xffff0000, 12);
    store<u32>(buffer, ((ip >> 4) & 0x0ffff000) | opcode, 16);
    store<u32>(buffer, (dp & 0xffff) | 0xffff0000, 20);
    store<u32>(buffer, (dp >> 4) & 0x0ffff000, 24);
  } else {
    store<u32>(buffer, ip, 12);
    store<u32>(buffer, cs | (opcode << 16), 16);
    store<u32>(buffer, dp, 20);
    store<u32>(buffer, ds | 0xffff0000, 24);
  }
}

/** Loads an environment image. Exceptions that it makes pending are due at the next waiting instruction. */
export function loadEnvironment(cpu: u32, buffer: u32, operandSize16: bool, realMode: bool): void {
  let ip: u32;
  let dp: u32;
  let cs: u32 = 0;
  let ds: u32 = 0;
  let opcode: u32 = 0;
  if (operandSize16) {
    ip = <u32>load<u16>(buffer, 6);
    dp = <u32>load<u16>(buffer, 10);
    const ipHigh = <u32>load<u16>(buffer, 8);
    const dpHigh = <u32>load<u16>(buffer, 12);
    if (realMode) {
      ip |= (ipHigh & 0xf000) << 4;
      dp |= (dpHigh & 0xf000) << 4;
      opcode = ipHigh;
    } else {
      cs = ipHigh;
      ds = dpHigh;
    }
    setControlWord(cpu, <u32>load<u16>(buffer));
    setStatusWord(cpu, <u32>load<u16>(buffer, 2));
    setFullTagWord(cpu, <u32>load<u16>(buffer, 4));
  } else {
    const ipHigh = load<u32>(buffer, 16);
    const dpHigh = load<u32>(buffer, 24);
    if (realMode) {
      ip = (<u32>load<u16>(buffer, 12)) | ((ipHigh & 0x0ffff000) << 4);
      dp = (<u32>load<u16>(buffer, 20)) | ((dpHigh & 0x0ffff000) << 4);
      opcode = ipHigh;
    } else {
      ip = load<u32>(buffer, 12);
      dp = load<u32>(buffer, 20);
      cs = ipHigh & 0xffff;
      ds = dpHigh & 0xffff;
      opcode = ipHigh >> 16;
    }
    setControlWord(cpu, <u32>load<u16>(buffer));
    setStatusWord(cpu, <u32>load<u16>(buffer, 4));
    setFullTagWord(cpu, <u32>load<u16>(buffer, 8));
  }
  store<u64>(cpu, <u64>ip, FPU_IP);
  store<u64>(cpu, <u64>dp, FPU_DP);
  store<u32>(cpu, cs, FPU_CS);
  store<u32>(cpu, ds, FPU_DS);
  store<u32>(cpu, opcode & 0x7ff, FPU_FOP);
}

/** FNSTENV: stores the environment, then masks all exceptions. */
export function fnstenv(cpu: u32, buffer: u32, operandSize16: bool, realMode: bool): void {
  storeEnvironment(cpu, buffer, operandSize16, realMode);
  setControlWord(cpu, load<u32>(cpu, FPU_CONTROL) | EX_ALL);
}

/** FNSAVE: stores environment and registers, ST(0) first, then initializes. */
export function fnsave(cpu: u32, buffer: u32, operandSize16: bool, realMode: bool): void {
  storeEnvironment(cpu, buffer, operandSize16, realMode);
  let address = buffer + environmentBytes(operandSize16);
  for (let i: u32 = 0; i < 8; i++, address += 10) {
    const register = stackRegister(cpu, i);
    store<u64>(address, significand(register));
    store<u16>(address, signExponent(register), 8);
  }
  initialize(cpu);
}

/** FRSTOR. */
export function frstor(cpu: u32, buffer: u32, operandSize16: bool, realMode: bool): void {
  loadEnvironment(cpu, buffer, operandSize16, realMode);
  let address = buffer + environmentBytes(operandSize16);
  for (let i: u32 = 0; i < 8; i++, address += 10) {
    setRegister(stackRegister(cpu, i), <u32>load<u16>(address, 8), load<u64>(address));
  }
}

/**
 * Bytes 0-23 and 32-159 of an FXSAVE image; MXCSR (24-31) is the caller's. With rexW the pointers are 64 bits wide,
 * else 32 bits and a selector. (AMD processors skip FOP, FIP and FDP unless an exception is pending; Intel's store them
 * always, as here.)
 */
export function fxsaveX87(cpu: u32, buffer: u32, rexW: bool): void {
  store<u16>(buffer, load<u32>(cpu, FPU_CONTROL));
  store<u16>(buffer, x87StatusWord(cpu), 2);
  store<u16>(buffer, load<u32>(cpu, FPU_VALID) & 0xff, 4); // abridged: bit n set = register n not empty
  store<u16>(buffer, load<u32>(cpu, FPU_FOP) & 0x7ff, 6);
  if (rexW) {
    store<u64>(buffer, load<u64>(cpu, FPU_IP), 8);
    store<u64>(buffer, load<u64>(cpu, FPU_DP), 16);
  } else {
    store<u32>(buffer, <u32>load<u64>(cpu, FPU_IP), 8);
    store<u32>(buffer, load<u32>(cpu, FPU_CS) & 0xffff, 12);
    store<u32>(buffer, <u32>load<u64>(cpu, FPU_DP), 16);
    store<u32>(buffer, load<u32>(cpu, FPU_DS) & 0xffff, 20);
  }
  for (let i: u32 = 0; i < 8; i++) {
    const register = stackRegister(cpu, i);
    const address = buffer + (i << 4);
    store<u64>(address, significand(register), 32);
    store<u64>(address, <u64>signExponent(register), 40);
  }
}

/** Loads bytes 0-23 and 32-159 of an FXSAVE image. */
export function fxrstorX87(cpu: u32, buffer: u32, rexW: bool): void {
  setControlWord(cpu, <u32>load<u16>(buffer));
  setStatusWord(cpu, <u32>load<u16>(buffer, 2));
  store<u32>(cpu, <u32>load<u8>(buffer, 4), FPU_VALID);
  store<u32>(cpu, (<u32>load<u16>(buffer, 6)) & 0x7ff, FPU_FOP);
  if (rexW) {
    store<u64>(cpu, load<u64>(buffer, 8), FPU_IP);
    store<u64>(cpu, load<u64>(buffer, 16), FPU_DP);
    store<u32>(cpu, 0, FPU_CS);
    store<u32>(cpu, 0, FPU_DS);
  } else {
    store<u64>(cpu, <u64>load<u32>(buffer, 8), FPU_IP);
    store<u64>(cpu, <u64>load<u32>(buffer, 16), FPU_DP);
    store<u32>(cpu, <u32>load<u16>(buffer, 12), FPU_CS);
    store<u32>(cpu, <u32>load<u16>(buffer, 20), FPU_DS);
  }
  for (let i: u32 = 0; i < 8; i++) {
    const address = buffer + (i << 4);
    setRegister(stackRegister(cpu, i), <u32>load<u16>(address, 40), load<u64>(address, 32));
  }
}

/** The initial configuration of XSAVE state component 0 (SDM volume 1, 13.6): as FNINIT, and the registers zero. */
export function x87InitXsave(cpu: u32): void {
  initialize(cpu);
  memory.fill(cpu + FPU_REGISTERS, 0, 128);
}

/**
 * Power-on state. The SDM (volume 3, table 9-1) gives FCW = 0x0040 and empty-looking tags that no software relies on;
 * FNINIT's control word is what every firmware hands over, and the contract of this function.
 */
export function x87Reset(cpu: u32): void {
  x87InitXsave(cpu);
}
