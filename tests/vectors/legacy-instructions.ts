/** Instructions of 32-bit code: the vectors' without what 64-bit mode adds to them, and those that only the older modes have. */
import type { Prng } from './random.ts';

const PREFIXES = new Set([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3]);
/** MOV of an immediate to a register, and of AL, eAX at an offset: their constants have 64 bits in 64-bit code. */
const isWideImmediate = (opcode: number, rexW: boolean): boolean => rexW && (opcode & 0xf8) === 0xb8;
const isOffset = (opcode: number): boolean => (opcode & 0xfc) === 0xa0;

/** An encoding of 64-bit code as 32-bit code has it: without REX, and with constants of 32 bits. */
export function withoutRex(code: Uint8Array): Uint8Array {
  let at = 0;
  while (PREFIXES.has(code[at] ?? 0)) at++;
  const prefixes = code.subarray(0, at);
  const rex = code[at] ?? 0;
  if ((rex & 0xf0) === 0x40) at++;
  const opcode = code[at] ?? 0;
  const rest = code.subarray(at);
  const cut = isWideImmediate(opcode, (rex & 0xf8) === 0x48) || isOffset(opcode) ? rest.subarray(0, 5) : rest;
  return Uint8Array.from([...prefixes, ...cut]);
}

/** One-byte opcodes without operands: INC DEC PUSH POP of registers, PUSHA POPA PUSHF POPF, decimal adjustments, PUSH of segments, LEAVE, SALC, XLAT. */
const SIMPLE = [
  ...Array.from({ length: 32 }, (_, n) => 0x40 + n),
  ...[0x60, 0x61, 0x9c, 0x9d, 0x27, 0x2f, 0x37, 0x3f, 0x06, 0x0e, 0x16, 0x1e, 0xc9, 0xc9, 0xd6, 0xd7, 0xce],
];
/** A memory operand's ModRM, SIB and displacement, without the register field. */
function memoryOperand(prng: Prng): number[] {
  const displacement = prng.below(64);
  switch (prng.below(7)) {
    case 0:
      return [prng.pick([0, 1, 2, 3, 6, 7])];
    case 1:
      return [0x40 | prng.pick([0, 1, 2, 3, 5, 6, 7]), displacement];
    case 2:
      return [
        0x80 | prng.pick([0, 1, 2, 3, 5, 6, 7]),
        displacement,
        prng.pick([0, 1, 0xff]),
        0,
        prng.pick([0, 0, 0xff]),
      ];
    case 3:
      return [0x04, (prng.below(256) & ~7) | prng.pick([0, 1, 2, 3, 4, 6, 7])];
    case 4:
      return [0x44, prng.below(256), displacement];
    case 5:
      return [0x44, 0x24, displacement];
    default:
      // An address in the data window.
      return [0x05, displacement, prng.below(16), 0x01, 0x10];
  }
}

function withRegister(operand: readonly number[], register: number): number[] {
  const [modrm = 0, ...rest] = operand;
  return [modrm | (register << 3), ...rest];
}

/** An instruction of 32-bit code that the vectors do not have, or have otherwise: the stack, segments, addresses. */
export function drawLegacy(prng: Prng): Uint8Array {
  const register = prng.below(8);
  const byte = prng.below(256);
  const small = prng.below(32) - 16;
  const operand = (digit: number): number[] => withRegister(memoryOperand(prng), digit);
  const segment = prng.pick([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x64, 0x64, 0x65, 0x65]);
  const moves = [0x8a, 0x8b, 0x88, 0x89, 0x03, 0x01, 0x29, 0x39, 0x33, 0x84, 0x86, 0x87];
  const code = ((): number[] => {
    switch (prng.below(26)) {
      case 0:
      case 1:
        return [prng.pick(SIMPLE)];
      case 2:
        return [0x66, prng.pick(SIMPLE)];
      case 3:
        return [0x6a, byte];
      case 4:
        return [0x68, byte, byte, 0x01, 0x10];
      case 5:
        return [0xff, ...operand(6)];
      case 6:
        return [0x8f, ...operand(0)];
      case 7:
        // MOV AL, eAX with an offset in the data window.
        return [0xa0 | prng.below(4), byte, prng.below(0x20), 0x01, 0x10];
      case 8:
      case 9:
      case 10:
        return [segment, prng.pick(moves), ...operand(register)];
      case 11:
      case 12:
        return [prng.pick(moves), ...operand(register)];
      case 13:
        // Addresses of 16 bits.
        return [0x67, prng.pick([0x8d, 0x8b, 0x89]), (register << 3) | 0x40 | prng.below(8), byte];
      case 14:
        return [...(prng.chance(3) ? [0x66] : []), 0x8d, ...operand(register)];
      case 15:
        // ENTER
        return [0xc8, prng.below(64), 0, prng.pick([0, 0, 1, 2])];
      case 16:
        // MOV reg, ESP; MOV ESP, reg; ADD, SUB ESP, imm8
        return prng.pick([
          [0x89, 0xe0 | register],
          [0x83, 0xc4, small & 0xff],
          [0x83, 0xec, small & 0xff],
          [0x89, 0xe5],
        ]);
      case 17:
        // LOOPNE LOOPE LOOP JECXZ over a byte
        return [0xe0 | prng.below(4), 1, 0x40 | register];
      case 18:
        // CALL over a byte, whose return address is dropped or kept.
        return [0xe8, 1, 0, 0, 0, 0x90, ...(prng.chance(2) ? [0x58 | register] : [])];
      case 19:
        // PUSH of the address of what follows, and a return to it.
        return [0xe8, 4, 0, 0, 0, 0xeb, 4, 0x90, 0x90, ...prng.pick([[0xc3], [0xc2, 8, 0]]), 0x90];
      case 20:
        // POP to, MOV to DS, ES, FS, GS: what is there is null, or a segment that is often not flat.
        return prng.pick([
          [0x6a, 0x2b, 0x1f],
          [0x6a, 0x2b, 0x07],
          [0x6a, prng.pick([0, 0x2b, 0x63, 0x7b]), prng.pick([0x1f, 0x07])],
          [0x6a, prng.pick([0, 0x2b, 0x63]), 0x0f, prng.pick([0xa1, 0xa9])],
          [0x6a, 0x2b, 0x17],
        ]);
      case 21:
        return [0x8c, 0xc0 | (prng.below(6) << 3) | register];
      case 22:
        // AAM, AAD
        return [prng.pick([0xd4, 0xd5]), prng.pick([10, byte])];
      case 23:
        // BOUND, ARPL, LES, LDS
        return [prng.pick([0x62, 0x63, 0xc4, 0xc5]), ...operand(register)];
      case 24:
        // MOV EAX, the address of what follows; JMP EAX, CALL EAX
        return [0xe8, 0, 0, 0, 0, 0x58, 0x83, 0xc0, 5, 0xff, prng.pick([0xe0, 0xd0])];
      default:
        // MOVS, STOS, LODS, CMPS, SCAS
        return [
          ...(prng.chance(2) ? [0xf3] : []),
          ...(prng.chance(6) ? [segment] : []),
          0xa4 | prng.pick([0, 1, 2, 3, 6, 7, 8, 9, 10, 11]),
        ];
    }
  })();
  return Uint8Array.from(code);
}
