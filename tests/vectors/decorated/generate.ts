/**
 * Single instructions decorated at random: any opcode of any map with any prefixes, legal or not, in any order, any REX or VEX bits and any ModRM,
 * SIB and displacement, in the middle of the code window or running out of its end. An instruction follows from its number.
 */
import { Prng, seedOfVector } from '../random.ts';
import { CODE_DEFAULT_OFFSET, CODE_SIZE_BYTES, DATA_ADDRESS, HIGH_ADDRESS, READ_ONLY_ADDRESS } from '../windows.ts';
import { STACK_ADDRESS } from '../windows.ts';
import { drawState } from '../wide/state.ts';

/** Opcode maps by their number in a VEX prefix; 0 is the one-byte map. */
export type OpcodeMap = 0 | 1 | 2 | 3;

export interface Decorated {
  readonly code: Uint8Array;
  /** Place in the code window. */
  readonly codeOffset: number;
  readonly map: number;
  readonly opcode: number;
  readonly modrm: number;
  /** VEX prefix: pp, L, W; undefined for the legacy encoding. */
  readonly vex: { readonly pp: number; readonly l: number; readonly w: number } | undefined;
  /** Legacy prefixes in their order, without REX. */
  readonly prefixes: readonly number[];
  /** The REX prefix that counts, or 0. */
  readonly rex: number;
  /** Stepped until RIP moves on: a string instruction with REP, a gather. */
  readonly repeat: boolean;
}

/** Longest bytes that are given to the processor; instructions of more than 15 are among them. */
const CODE_BYTES = 20;

const PREFIXES = [0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x2e, 0x36, 0x64, 0x65, 0x26, 0x3e];
const FREQUENT_PREFIXES = [0x66, 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0xf2, 0xf3, 0x64];

/** Prefixes and escapes of the one-byte map, which are no opcodes of their own. */
function isOpcode(byte: number): boolean {
  if (byte >= 0x40 && byte <= 0x4f) return false;
  return !PREFIXES.includes(byte) && byte !== 0x0f && byte !== 0xc4 && byte !== 0xc5;
}

/** Opcodes of the one-byte map with a ModRM byte (SDM volume 2, table A-2). */
function hasModrm(map: number, opcode: number): boolean {
  if (map === 2 || map === 3) return true;
  if (map === 1) {
    if (opcode >= 0x80 && opcode <= 0x8f) return false;
    if (opcode >= 0xc8 && opcode <= 0xcf) return false;
    if (opcode >= 0x30 && opcode <= 0x37) return false;
    return ![0x05, 0x06, 0x07, 0x08, 0x09, 0x0b, 0x77, 0xa0, 0xa1, 0xa2, 0xa8, 0xa9, 0xaa].includes(opcode);
  }
  if (opcode < 0x40) return (opcode & 7) < 4;
  if (opcode === 0x62 || opcode === 0x63 || opcode === 0x69 || opcode === 0x6b) return true;
  if (opcode >= 0x80 && opcode <= 0x8f) return true;
  if (opcode === 0xc0 || opcode === 0xc1 || opcode === 0xc6 || opcode === 0xc7) return true;
  if (opcode >= 0xd0 && opcode <= 0xd3) return true;
  if (opcode >= 0xd8 && opcode <= 0xdf) return true;
  return opcode === 0xf6 || opcode === 0xf7 || opcode >= 0xfe;
}

/** String instructions: their counts are kept small. */
export function isString(map: number, opcode: number): boolean {
  return (
    map === 0 &&
    ((opcode >= 0x6c && opcode <= 0x6f) || (opcode >= 0xa4 && opcode <= 0xaf && opcode !== 0xa8 && opcode !== 0xa9))
  );
}

/**
 * What is left out, because it would leave the harness or is not the same twice: system calls, hypercalls, software interrupts, IRET and POPF
 * (which ends the step), PUSHF (which stores TF), time, random numbers, what the kernel emulates or its tables decide (CPUID apart, of
 * which every processor has its own).
 */
function isLeftOut(map: number, opcode: number, modrm: number): boolean {
  const digit = (modrm >> 3) & 7;
  const isMemory = modrm < 0xc0;
  if (map === 0) return [0x9c, 0x9d, 0xcc, 0xcd, 0xcf, 0xf1].includes(opcode);
  if (map !== 1) return false;
  if (opcode === 0x00 || opcode === 0x02 || opcode === 0x03) return true;
  if ([0x05, 0x31, 0x33, 0x34, 0x35, 0xa2].includes(opcode)) return true;
  if (opcode === 0x01) {
    if (isMemory) return digit === 0 || digit === 1 || digit === 4;
    // VMCALL and its like, SVM's, RDTSCP and RDPRU, SMSW
    return (modrm >= 0xc0 && modrm <= 0xc7) || (modrm >= 0xd8 && modrm <= 0xe7) || modrm >= 0xf9;
  }
  // RDRAND, RDSEED, RDPID
  return opcode === 0xc7 && !isMemory && digit >= 6;
}

function drawPrefixes(prng: Prng): number[] {
  const count = [0, 0, 0, 1, 1, 1, 2, 2, 3, 4][prng.below(10)] ?? 0;
  if (prng.chance(300)) return Array.from({ length: 9 + prng.below(5) }, () => prng.pick(PREFIXES));
  return Array.from({ length: count }, () => prng.pick(prng.below(4) ? FREQUENT_PREFIXES : PREFIXES));
}

function drawModrm(prng: Prng): number {
  return prng.below(5) < 2 ? 0xc0 | prng.below(64) : prng.below(256);
}

/** The bytes after ModRM: SIB, displacement, and then whatever an immediate may be. */
function drawRest(prng: Prng, modrm: number, modrmPresent: boolean): number[] {
  const bytes: number[] = [];
  if (modrmPresent && modrm < 0xc0) {
    const mod = modrm >> 6;
    let sib = 0;
    if ((modrm & 7) === 4) {
      sib = prng.below(4) ? prng.below(256) | 0x20 : prng.below(256);
      bytes.push(sib);
    }
    const short = mod === 1;
    const long = mod === 2 || (mod === 0 && ((modrm & 7) === 5 || ((modrm & 7) === 4 && (sib & 7) === 5)));
    if (short) bytes.push(prng.below(4) ? prng.below(64) : prng.below(256));
    else if (long) {
      // Small, or from the code to the data window where RIP is the base, or anything.
      const choice = prng.below(4);
      if (choice === 0) for (let n = 0; n < 4; n++) bytes.push(prng.below(256));
      else bytes.push(prng.below(256), prng.below(16), choice === 1 ? 1 : 0, 0);
    }
  }
  while (bytes.length < CODE_BYTES) bytes.push(prng.below(3) ? prng.below(256) : 0);
  return bytes;
}

/** The instruction of a number. */
export function decorate(seed: number, number: number): Decorated {
  const prng = new Prng(seedOfVector(seed, number) ^ 0x0dec0de5);
  for (;;) {
    const prefixes = drawPrefixes(prng);
    const modrm = drawModrm(prng);
    let map: number;
    let opcode: number;
    let rex = 0;
    let vex: Decorated['vex'];
    const bytes = [...prefixes];
    const choice = prng.below(100);
    if (choice < 34) {
      // VEX, mostly without the prefixes that forbid it.
      if (prng.below(4)) bytes.length = 0;
      if (prng.chance(12)) bytes.push(0x40 | prng.below(16));
      opcode = prng.below(256);
      const byte = prng.below(256);
      const [pp, l] = [byte & 3, (byte >> 2) & 1];
      if (prng.chance(3)) {
        map = 1;
        vex = { pp, l, w: 0 };
        bytes.push(0xc5, byte, opcode);
      } else {
        map = prng.chance(20) ? prng.below(32) : 1 + prng.below(3);
        const w = prng.below(3) ? 0 : 1;
        vex = { pp, l, w };
        bytes.push(0xc4, (prng.below(8) << 5) | map, (byte & 0x7f) | (w << 7), opcode);
      }
    } else {
      if (prng.below(5) < 3) {
        rex = 0x40 | prng.below(16);
        bytes.push(rex);
        if (prng.chance(25)) {
          // A prefix after REX makes it ineffective.
          rex = 0;
          bytes.push(prng.pick(PREFIXES));
        }
      }
      map = choice < 58 ? 0 : choice < 84 ? 1 : choice < 93 ? 2 : 3;
      do opcode = prng.below(256);
      while ((map === 0 && !isOpcode(opcode)) || (map === 1 && (opcode === 0x38 || opcode === 0x3a)));
      if (map > 0) bytes.push(0x0f);
      if (map > 1) bytes.push(map === 2 ? 0x38 : 0x3a);
      bytes.push(opcode);
    }
    const present = vex !== undefined ? !(map === 1 && opcode === 0x77) : hasModrm(map, opcode);
    if (isLeftOut(map, opcode, modrm)) continue;
    if (present) bytes.push(modrm);
    bytes.push(...drawRest(prng, modrm, present));
    const code = Uint8Array.from(bytes.slice(0, CODE_BYTES));
    const codeOffset = prng.chance(6) ? CODE_SIZE_BYTES - 1 - prng.below(15) : CODE_DEFAULT_OFFSET;
    const repeated = prefixes.includes(0xf2) || prefixes.includes(0xf3) || bytes.includes(0xf2) || bytes.includes(0xf3);
    const repeat =
      (isString(map, opcode) && repeated) || (vex !== undefined && map === 2 && opcode >= 0x90 && opcode <= 0x93);
    return { code, codeOffset, map, opcode, modrm, vex, prefixes: bytes.slice(0, prefixes.length), rex, repeat };
  }
}

const POINTED_AT = [DATA_ADDRESS, DATA_ADDRESS, STACK_ADDRESS, HIGH_ADDRESS, READ_ONLY_ADDRESS];

/** The state that the instruction of a number starts from (state.ts), into `state`. */
export function decoratedState(seed: number, number: number, instruction: Decorated, state: Uint32Array): void {
  const own = seedOfVector(seed, number);
  const prng = new Prng(own ^ 0x5ca1ab1e);
  // Data and x87 registers of every style.
  drawState(own, prng.below(7) | (prng.below(3) << 4) | (prng.below(2) << 6), state);
  const set = (register: number, value: bigint): void => {
    state[register * 2] = Number(value & 0xffffffffn);
    state[register * 2 + 1] = Number(value >> 32n);
  };
  const align = prng.below(3) ? ~31 : ~0;
  for (let register = 0; register < 16; register++) {
    const choice = prng.below(8);
    if (choice < 5) set(register, prng.pick(POINTED_AT) + BigInt((0x200 + prng.below(0xc00)) & align));
    else if (choice === 5) set(register, BigInt(prng.below(64)));
  }
  if (prng.below(8)) set(4, STACK_ADDRESS + 0x800n + BigInt(prng.below(0x100) * 8));
  if (isString(instruction.map, instruction.opcode)) set(1, BigInt(prng.below(6)));
  // FS and GS: offsets from a small base.
  for (const base of [16, 17]) set(base, BigInt(prng.below(64)));
}
