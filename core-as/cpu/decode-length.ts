/**
 * How long an undefined instruction is. A processor takes in all bytes of an instruction before it finds that there is none: one that runs
 * into a page that cannot be fetched is #PF, and one of more than 15 bytes is #GP(0), not #UD (SDM vol. 3, table 7-2).
 */
import {
  asize,
  modrm,
  opcodeByte,
  opcodeMap,
  osize,
  readModrm,
  restartAfterOpcode,
  skipBytes,
  vex,
} from './decode-state';
import { SEG_A16, SEG_A64 } from './uops';

/** Bit n: opcode n of the map has a ModRM byte. SDM vol. 2, tables; free places as AMD's processors take them. */
// prettier-ignore
const ONE_BYTE: usize = memory.data<u32>([
  0x0f0f0f0f, 0x0f0f0f0f, 0x00000000, 0x00000a0c, 0x0000ffff, 0x00000000, 0xff0f00f3, 0xc0c00000,
]);
// prettier-ignore
const TWO_BYTE: usize = memory.data<u32>([
  0xffffa00f, 0x0000ff00, 0xffffffff, 0xf37fffff,
  0xffff0000, 0xfdfff838, 0xffff00ff, 0x7fffffff,
]);

function hasModrm(): bool {
  if (opcodeMap > 1 || (vex && !opcodeMap)) return true;
  const table = opcodeMap ? TWO_BYTE : ONE_BYTE;
  return ((load<u32>(table + ((opcodeByte >> 5) << 2)) >> (opcodeByte & 31)) & 1) !== 0;
}

/** Bytes of an immediate of the operand size: at most 4. */
function fullImmediate(): u32 {
  return osize === 2 ? 2 : 4;
}

/** Bytes after ModRM and its displacement, in the one-byte map. */
function oneByteImmediate(op: u32): u32 {
  if (op < 0x40) return (op & 7) === 4 ? 1 : (op & 7) === 5 ? fullImmediate() : 0;
  if (op >= 0x70 && op <= 0x7f) return 1;
  if (op >= 0xa0 && op <= 0xa3) return asize === SEG_A64 ? 8 : asize === SEG_A16 ? 2 : 4;
  if (op >= 0xb0 && op <= 0xb7) return 1;
  if (op >= 0xb8 && op <= 0xbf) return osize;
  if (op >= 0xe0 && op <= 0xe7) return 1;
  switch (op) {
    case 0x68:
    case 0x69:
    case 0x81:
    case 0xa9:
    case 0xc7:
    case 0xe8:
    case 0xe9:
      return fullImmediate();
    case 0x6a:
    case 0x6b:
    case 0x80:
    case 0x82:
    case 0x83:
    case 0xa8:
    case 0xc0:
    case 0xc1:
    case 0xc6:
    case 0xcd:
    case 0xd4:
    case 0xd5:
    case 0xeb:
      return 1;
    case 0xc2:
    case 0xca:
      return 2;
    case 0xc8:
      return 3;
    case 0x9a:
    case 0xea:
      return fullImmediate() + 2;
    case 0xf6:
      return modrm & 0x30 ? 0 : 1;
    case 0xf7:
      return modrm & 0x30 ? 0 : fullImmediate();
    default:
      return 0;
  }
}

function immediateBytes(): u32 {
  if (opcodeMap === 0) return vex ? 0 : oneByteImmediate(opcodeByte);
  if (opcodeMap === 3) return 1;
  if (opcodeMap !== 1) return 0;
  const op = opcodeByte;
  if (op >= 0x80 && op <= 0x8f) return fullImmediate();
  if (op >= 0x70 && op <= 0x73) return 1;
  // The ModRM byte of MOV to and from control and debug registers always names registers.
  if (op >= 0x20 && op <= 0x23) return 1;
  // EXTRQ and INSERTQ
  if (op === 0x78) return vex ? 2 : 0;
  return op === 0x0f || op === 0xa4 || op === 0xac || op === 0xba || op === 0xc2 || (op >= 0xc4 && op <= 0xc6) ? 1 : 0;
}

/** Reads on to the end of an instruction that turned out to be undefined. */
export function skipUndefined(): void {
  restartAfterOpcode();
  if (hasModrm()) readModrm();
  skipBytes(immediateBytes());
}
