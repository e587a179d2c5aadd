/**
 * Forms of the SIMD instructions: every encoding that the core's table (core-as/simd/table.ts) knows, one form for each prefix,
 * opcode, VEX.L, W, and register or memory operand. Taken from the table, so that an instruction in it without vectors shows.
 */
import {
  SIMD_ALIGNED,
  SIMD_ALIGNED_VEX,
  SIMD_IMM8,
  SIMD_MMX_STATE,
  SIMD_NO_MODRM,
  SIMD_NO_VVVV,
  SIMD_OPERATION_MASK,
  SIMD_SIZE_1,
  SIMD_SIZE_MASK,
  SIMD_SIZE_NONE,
  SIMD_SIZE_SHIFT,
  SIMD_SIZE_SPECIAL,
  SIMD_SIZE_VECTOR,
  SIMD_VSIB,
} from '../../../core-as/simd/descriptor.ts';
import {
  type Operand,
  RDI,
  chooseTarget,
  drawCodeOffset,
  immediateOf,
  littleEndian,
  rawInstruction,
} from '../assemble.ts';
import { FS_BASE, type Prng } from '../random.ts';
import { DATA as DATA_WINDOW } from '../windows.ts';
import { type WideBuilder, type WideEncoding, type WideForm, wideModrm, withStyle } from './form.ts';
import type { WideRule } from './rules.ts';
import { DATA, STATE_FPR, STATE_YMM, X87 } from './state.ts';

export type Describe = (
  map: number,
  prefix: number,
  opcode: number,
  modrm: number,
  vex: number,
  vexL: number,
  vexW: number,
) => number;

export interface SimdForm extends WideForm {
  readonly map: number;
  /** 0 none, 1 = 66, 2 = F3, 3 = F2. */
  readonly prefix: number;
  readonly opcode: number;
  /** Opcode extension in ModRM.reg, or -1. */
  readonly digit: number;
  readonly isRegister: boolean;
  readonly vex: boolean;
  readonly l: number;
  readonly w: number;
  readonly descriptor: number;
}

export const operationOf = (descriptor: number): number => descriptor & SIMD_OPERATION_MASK;
/** SIMD_SIZE_*. */
export const sizeCodeOf = (descriptor: number): number => (descriptor >>> SIMD_SIZE_SHIFT) & SIMD_SIZE_MASK;

const MANDATORY = [undefined, 0x66, 0xf3, 0xf2];
const GROUP_OPCODES = new Set([0x71, 0x72, 0x73]);
const PCMPXSTRX = [0x60, 0x61, 0x62, 0x63];

type Encoded = Omit<SimdForm, 'id' | 'rule' | 'make'>;

/** Every encoding that simdDescribe knows. */
export function simdForms(describe: Describe): SimdForm[] {
  const forms: SimdForm[] = [];
  for (let map = 1; map <= 3; map++) {
    for (let opcode = 0; opcode < 256; opcode++) {
      const digits = map === 1 && GROUP_OPCODES.has(opcode) ? [0, 1, 2, 3, 4, 5, 6, 7] : [-1];
      for (let bits = 0; bits < 48; bits++) {
        const prefix = bits & 3;
        const isRegister = (bits & 4) === 0;
        const w = (bits >> 3) & 1;
        const vex = bits >= 16;
        const l = bits >> 5;
        for (const digit of digits) {
          const modrm = (isRegister ? 0xc0 : 0) | (Math.max(digit, 0) << 3);
          const descriptor = describe(map, prefix, opcode, modrm, vex ? 1 : 0, l, w);
          if (!descriptor || (descriptor & SIMD_NO_MODRM && !isRegister)) continue;
          forms.push(simdForm({ map, prefix, opcode, digit, isRegister, vex, l, w, descriptor }));
        }
      }
    }
  }
  return forms;
}

function simdForm(encoded: Encoded): SimdForm {
  const digit = encoded.digit < 0 ? '' : `/${encoded.digit}`;
  const id = [
    encoded.vex ? `vex${encoded.l ? 256 : 128}` : 'legacy',
    ['np', '66', 'f3', 'f2'][encoded.prefix],
    ['', '0f', '0f38', '0f3a'][encoded.map],
    encoded.opcode.toString(16).padStart(2, '0') + digit,
    `w${encoded.w}`,
    encoded.isRegister ? 'reg' : 'mem',
  ].join('.');
  const form: SimdForm = { ...encoded, id, rule: ruleOf(encoded), make: (prng) => make(encoded, prng) };
  if (!isSha(encoded) || encoded.isRegister) return form;
  // The SDM demands alignment of the SHA instructions (exceptions type 4); AMD processors do not.
  return { ...form, accepts: ({ patches }) => patches[0] !== undefined && patches[0].imageOffset % 16 === 0 };
}

function isSha({ map, opcode, prefix, vex }: Encoded): boolean {
  return !vex && prefix === 0 && ((map === 2 && opcode >= 0xc8 && opcode <= 0xcd) || (map === 3 && opcode === 0xcc));
}

function isMaskedBytes({ map, opcode, prefix }: Encoded): boolean {
  return map === 1 && opcode === 0xf7 && prefix < 2;
}

function ruleOf(encoded: Encoded): WideRule {
  const { map, opcode } = encoded;
  if (isMaskedBytes(encoded)) return { inPieces: true };
  if (encoded.descriptor & SIMD_VSIB) return { gather: true };
  // RSQRTPS, RSQRTSS, RCPPS, RCPSS
  return map === 1 && (opcode === 0x52 || opcode === 0x53) ? { tolerance: 'estimate' } : {};
}

/** Which data suits an operation: numbers of its type most of the time. */
function styleOf(encoded: Encoded, prng: Prng): number {
  const x87 = prng.chance(encoded.descriptor & SIMD_MMX_STATE ? 12 : 24) ? X87.numbers : X87.mmx;
  const operation = operationOf(encoded.descriptor);
  const isFloat = (operation >= 0x140 && operation < 0x160) || operation >= 0x340;
  let data: number;
  if (isFloat && prng.below(8)) data = operation & 1 ? DATA.doubles : DATA.singles;
  else if (((operation >= 0x160 && operation < 0x1a0) || operation >= 0x300) && prng.below(8)) {
    data = prng.below(2) ? DATA.doubles : DATA.singles;
  } else if (operation >= 0xa0 && operation < 0xc0 && prng.below(2)) data = DATA.counts;
  else data = prng.pick([DATA.random, DATA.singles, DATA.doubles, DATA.small, DATA.counts, DATA.halves, DATA.corners]);
  return data | x87;
}

function operandBytes({ descriptor, l, prefix, map }: Encoded): number {
  const code = sizeCodeOf(descriptor);
  const full = l ? 32 : 16;
  if (code === SIMD_SIZE_SPECIAL) return map === 1 && prefix === 0 ? 8 : full;
  if (code >= SIMD_SIZE_VECTOR) return full >> (code - SIMD_SIZE_VECTOR);
  return code === SIMD_SIZE_NONE ? 1 : 1 << (code - SIMD_SIZE_1);
}

function make(encoded: Encoded, prng: Prng): WideEncoding {
  const { descriptor, map, opcode, vex } = encoded;
  const style = styleOf(encoded, prng);
  if (descriptor & SIMD_VSIB) return gather(encoded, prng, style);
  if (descriptor & SIMD_NO_MODRM) {
    const mandatory = MANDATORY[encoded.prefix];
    const head = vex ? [0xc5, 0xf8 | (encoded.l << 2) | encoded.prefix] : [];
    if (vex && encoded.w) head.splice(0, 2, 0xc4, 0xe1, 0xf8 | (encoded.l << 2) | encoded.prefix);
    const rex = encoded.w ? [0x48] : [];
    const code = vex ? [...head, opcode] : [...(mandatory ? [mandatory] : []), ...rex, 0x0f, opcode];
    return withStyle(rawInstruction(prng, code), style);
  }
  const bytes = operandBytes(encoded);
  const isAligned = vex ? descriptor & SIMD_ALIGNED_VEX && bytes >= 16 : descriptor & SIMD_ALIGNED;
  const immediate = descriptor & SIMD_IMM8 ? { immediate: immediateOf(1) } : {};
  const digit = encoded.digit < 0 ? {} : { digit: encoded.digit };
  const shared = {
    size: 4,
    rm: encoded.isRegister ? 'reg' : 'mem',
    memory: isAligned ? { bytes, align: bytes } : { bytes },
    ...digit,
    ...immediate,
  } as const;
  const prepare = (vector: WideBuilder, operand: Operand): void => {
    if (map === 3 && PCMPXSTRX.includes(opcode) && vector.prng.below(4)) {
      // Lengths of explicit strings, either sign.
      for (const register of [0, 2]) {
        const length = BigInt(vector.prng.below(40) - 20);
        vector.set(register, vector.prng.below(2) ? BigInt.asUintN(64, length) : BigInt.asUintN(32, length));
      }
    }
    if (sizeCodeOf(descriptor) === SIMD_SIZE_SPECIAL && encoded.isRegister) {
      // MASKMOVQ, MASKMOVDQU: memory at DS:RDI.
      // Whether bytes that the mask leaves out can fault is up to the processor (SDM volume 2, MASKMOVDQU).
      const mayFault = vector.prng.chance(5);
      const target = chooseTarget(vector.prng, { bytes, align: 1, safe: !mayFault }, false);
      if (mayFault) {
        const { rm } = operand;
        for (let word = 0; word < bytes / 4; word++) {
          const at = bytes === 8 ? STATE_FPR + (rm & 7) * 3 + word : STATE_YMM + rm * 8 + word;
          vector.setWord(at, (vector.state[at] as number) | 0x80808080);
        }
      }
      vector.set(RDI, target);
      vector.fill(target, bytes);
    }
  };
  if (vex) {
    const vvvv = descriptor & SIMD_NO_VVVV && prng.below(40) ? { vvvv: 0 } : {};
    return wideModrm(
      prng,
      style,
      {
        ...shared,
        opcode: [opcode],
        vex: { map, pp: encoded.prefix, w: encoded.w, l: encoded.l, short: prng.below(2) === 0, ...vvvv },
      },
      prepare,
    );
  }
  const escape = map === 1 ? [0x0f] : map === 2 ? [0x0f, 0x38] : [0x0f, 0x3a];
  return wideModrm(
    prng,
    style,
    {
      ...shared,
      opcode: [...escape, opcode],
      mandatory: MANDATORY[encoded.prefix],
      rexW: encoded.w === 1,
      idle66: encoded.prefix > 1 && prng.chance(12),
    },
    prepare,
  );
}

/** A gather: base register, vector of indices, scale and displacement chosen so that most elements lie in a window. */
function gather(encoded: Encoded, prng: Prng, style: number): WideEncoding {
  const { opcode, l, w } = encoded;
  const isWideIndex = (opcode & 1) === 1;
  const elementBytes = w ? 8 : 4;
  const vectorBytes = l ? 32 : 16;
  const elements = vectorBytes / (isWideIndex || w ? 8 : 4);
  const [reg, index, base] = [prng.below(16), prng.below(16), prng.below(16)];
  let vvvv = prng.below(16);
  let destination = reg;
  if (!prng.chance(20)) {
    // Equal registers are #UD.
    while (destination === index) destination = prng.below(16);
    while (vvvv === destination || vvvv === index) vvvv = prng.below(16);
  }
  const scale = prng.below(4);
  const isShort = prng.below(2) === 0;
  const displacement = isShort ? prng.below(256) - 128 : prng.next() | 0;
  const segment = prng.chance(10);
  const code = [
    ...(segment ? [0x64] : []),
    0xc4,
    ((1 - (destination >> 3)) << 7) | ((1 - (index >> 3)) << 6) | ((1 - (base >> 3)) << 5) | 2,
    (w << 7) | ((vvvv ^ 15) << 3) | (l << 2) | 1,
    opcode,
    (isShort ? 0x44 : 0x84) | ((destination & 7) << 3),
    (scale << 6) | ((index & 7) << 3) | (base & 7),
    ...littleEndian(BigInt(displacement), isShort ? 1 : 4),
  ];
  return {
    code,
    codeOffset: drawCodeOffset(prng, code.length),
    style,
    repeat: true,
    prepare(vector) {
      const draw = vector.prng;
      const middle = DATA_WINDOW.address + 0x1000n + BigInt(draw.below(64));
      const fs = segment ? vector.get(FS_BASE) : 0n;
      vector.set(base, BigInt.asUintN(64, middle - BigInt(displacement) - fs));
      for (let element = 0; element < elements; element++) {
        const reach = 0x800 >> scale;
        let value = draw.below(2 * reach) - reach;
        // Beyond the window, where nothing is mapped.
        if (draw.chance(40)) value = (0x1100 + draw.below(0x400)) >> scale;
        if (isWideIndex) {
          vector.setWord(STATE_YMM + index * 8 + element * 2, value);
          vector.setWord(STATE_YMM + index * 8 + element * 2 + 1, value >> 31);
        } else vector.setWord(STATE_YMM + index * 8 + element, value);
      }
      vector.fill(middle, elementBytes);
    },
  };
}
