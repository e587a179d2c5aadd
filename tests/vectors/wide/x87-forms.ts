/** Forms of the x87: every opcode and ModRM byte of D8-DF, defined or not, and FWAIT. */
import { rawInstruction } from '../assemble.ts';
import type { Prng } from '../random.ts';
import { type WideBuilder, type WideForm, wideModrm, withStyle } from './form.ts';
import { ENVIRONMENT16_POINTERS, ENVIRONMENT32_POINTERS, type WideRule } from './rules.ts';
import { DATA, X87, X87_ROOM } from './state.ts';

const INTEGER_BIT = 1n << 63n;

/** Data of a memory operand and its length; D9 and DD have two of 14/28 and 94/108 bytes. */
function memoryOperand(opcode: number, digit: number, isShort: boolean): { data: number; bytes: number } {
  const integer = (bytes: number): { data: number; bytes: number } => ({ data: DATA.corners, bytes });
  switch (opcode) {
    case 0xd8:
      return { data: DATA.singles, bytes: 4 };
    case 0xd9:
      if (digit === 4 || digit === 6) return { data: DATA.extended, bytes: isShort ? 14 : 28 };
      return digit > 4 ? { data: DATA.random, bytes: 2 } : { data: DATA.singles, bytes: 4 };
    case 0xda:
      return integer(4);
    case 0xdb:
      return digit >= 4 ? { data: DATA.extended, bytes: 10 } : integer(4);
    case 0xdc:
      return { data: DATA.doubles, bytes: 8 };
    case 0xdd:
      if (digit === 4 || digit === 6) return { data: DATA.extended, bytes: isShort ? 94 : 108 };
      if (digit === 7) return { data: DATA.random, bytes: 2 };
      return digit === 1 ? integer(8) : { data: DATA.doubles, bytes: 8 };
    case 0xde:
      return integer(2);
    default:
      if (digit === 4 || digit === 6) return { data: DATA.decimal, bytes: 10 };
      return integer(digit > 4 ? 8 : 2);
  }
}

const MEMORY_LOADS = ['d9/0', 'dd/0', 'db/0', 'df/0', 'df/5', 'db/5', 'df/4'];

function memoryForm(opcode: number, digit: number, isShort: boolean): WideForm {
  const name = `${opcode.toString(16)}/${digit}`;
  const { data, bytes } = memoryOperand(opcode, digit, isShort);
  const isEnvironment = (opcode === 0xd9 || opcode === 0xdd) && (digit === 4 || digit === 6);
  const pointers = isShort ? ENVIRONMENT16_POINTERS : ENVIRONMENT32_POINTERS;
  const rule: WideRule = isEnvironment ? { inPieces: true, ...(digit === 6 ? { anyMemory: pointers } : {}) } : {};
  return {
    id: `x87.${name}.mem${isEnvironment ? (isShort ? '.16' : '.32') : ''}`,
    rule,
    make(prng) {
      const room = MEMORY_LOADS.includes(name) && prng.below(8) ? X87_ROOM : 0;
      const size = isEnvironment ? isShort : prng.chance(12);
      return wideModrm(prng, data | X87.numbers | room, {
        size: size ? 2 : 4,
        rm: 'mem',
        digit,
        opcode: [opcode],
        memory: { bytes, inPieces: isEnvironment },
        mandatory: prng.chance(16) ? prng.pick([0xf2, 0xf3]) : undefined,
        rexW: !size && prng.chance(12),
      });
    },
  };
}

/** F2XM1, FYL2X, FPTAN, FPATAN, FYL2XP1, FSINCOS, FSIN, FCOS. */
const TRANSCENDENTAL = [0xf0, 0xf1, 0xf2, 0xf3, 0xf9, 0xfb, 0xfe, 0xff];

function pushes(opcode: number, modrm: number): boolean {
  if (opcode !== 0xd9) return false;
  return modrm < 0xc8 || (modrm >= 0xe8 && modrm <= 0xee) || [0xf2, 0xf4, 0xfb].includes(modrm);
}

/** Brings ST(0) into the domain outside of which the SDM leaves the result undefined, and FSCALE's scale into reach. */
function prepareOperands(opcode: number, modrm: number, vector: WideBuilder): void {
  if (opcode !== 0xd9) return;
  const { prng } = vector;
  const top = vector.stackWord(0) + 2;
  const se = vector.state[top] as number;
  const exponent = se & 0x7fff;
  // F2XM1: -1 to 1. FYL2XP1: up to 1 - sqrt(2)/2 either way.
  const limit = modrm === 0xf0 ? 0x3fff : modrm === 0xf9 ? 0x3ffd : 0x7fff;
  if (exponent >= limit && limit !== 0x7fff) {
    vector.setWord(top, (se & 0x8000) | (limit - 1 - prng.below(prng.below(2) ? 4 : 70)));
  }
  if (modrm === 0xf1 && prng.below(8)) vector.setWord(top, se & 0x7fff);
  if (modrm === 0xfd && prng.below(4)) {
    const scale = BigInt(1 + (prng.below(2) ? prng.below(40) : prng.below(40000)));
    const length = scale.toString(2).length;
    const significand = (scale << BigInt(64 - length)) | INTEGER_BIT;
    vector.setStack(1, { significand, se: (0x3fff + length - 1) | (prng.below(2) << 15) });
  }
}

function registerForm(opcode: number, modrm: number): WideForm {
  const isTranscendental = opcode === 0xd9 && TRANSCENDENTAL.includes(modrm);
  const isFlagCompare = (opcode === 0xdb || opcode === 0xdf) && modrm >= 0xe8 && modrm < 0xf8;
  const style = isTranscendental ? X87.angles : X87.numbers;
  return {
    id: `x87.${opcode.toString(16)}.${modrm.toString(16)}`,
    rule: isTranscendental ? { tolerance: 'transcendental' } : isFlagCompare ? { anyC1: true } : {},
    make(prng) {
      const room = pushes(opcode, modrm) && prng.below(8) ? X87_ROOM : 0;
      const code = [...idlePrefixes(prng), opcode, modrm];
      return withStyle(rawInstruction(prng, code), DATA.random | style | room, (vector) =>
        prepareOperands(opcode, modrm, vector),
      );
    },
  };
}

/** Prefixes that mean nothing to an x87 instruction on registers. */
function idlePrefixes(prng: Prng): number[] {
  const prefixes: number[] = [];
  if (prng.chance(12)) prefixes.push(prng.pick([0x66, 0xf2, 0xf3, 0x2e, 0x64, 0x67]));
  if (prng.chance(8)) prefixes.push(0x40 | prng.below(16));
  return prefixes;
}

/** Register forms without the transcendental instructions; those; memory forms. */
export function x87Forms(): Map<string, WideForm[]> {
  const registers: WideForm[] = [];
  const transcendental: WideForm[] = [];
  const memory: WideForm[] = [];
  for (let opcode = 0xd8; opcode <= 0xdf; opcode++) {
    for (let digit = 0; digit < 8; digit++) {
      memory.push(memoryForm(opcode, digit, false));
      if ((opcode === 0xd9 || opcode === 0xdd) && (digit === 4 || digit === 6)) {
        memory.push(memoryForm(opcode, digit, true));
      }
    }
    for (let modrm = 0xc0; modrm < 0x100; modrm++) {
      const form = registerForm(opcode, modrm);
      (form.rule.tolerance ? transcendental : registers).push(form);
    }
  }
  registers.push({
    id: 'x87.fwait',
    rule: {},
    make: (prng) => withStyle(rawInstruction(prng, [...idlePrefixes(prng), 0x9b]), X87.numbers),
  });
  return new Map([
    ['x87-register', registers],
    ['x87-transcendental', transcendental],
    ['x87-memory', memory],
  ]);
}
