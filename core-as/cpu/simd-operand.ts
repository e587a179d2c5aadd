/** SIMD and x87 instructions as the interpreter sees them: availability, operands, faults. */
import {
  x87IsControl,
  x87IsUndefined,
  x87IsWaiting,
  x87Memory,
  x87NoteData,
  x87NoteInstruction,
  x87OperandBytes,
  x87PendingException,
  x87Register,
  x87RegisterFlags,
  x87StatusWord,
  x87StoresAx,
  x87UsesFlags,
  X87_NO_STORE,
  X87_NO_SUCH_OPERAND,
  X87_STORES,
  X87_UNDEFINED,
} from '../fpu/x87';
import { R_CR0, R_CR4, R_IMAGE_SCRATCH, R_SIMD_SCRATCH, R_XCR0 } from '../layout';
import { readPointer } from '../mmu/tlb';
import { simdExecute, simdExecuteSpecial } from '../simd/execute';
import { OP_VCVTPS2PH } from '../simd/operations';
import { SIMD_FAULT, SIMD_GP, SIMD_XM } from '../simd/status';
import { checkWritable, readBlock, writeBlock } from './block-access';
import { simdFeatureOff } from './features';
import { arithmeticFlags, setArithmeticFlags } from './flags';
import { addressMask, cutAddress, effectiveAddress, linearAddress, segmentedOperand } from './operand';
import {
  UOP_SIMD_ALIGNED,
  UOP_SIMD_MMX,
  UOP_SIMD_NO_STATE,
  UOP_SIMD_NO_XMM,
  UOP_SIMD_VEX,
  UOP_SIMD_VSIB,
  simdBytes,
  simdFeature,
  simdFlags,
  simdIndex,
  simdVvvv,
} from './simd-uop';
import {
  CR0_EM,
  CR0_MP,
  CR0_TS,
  CR4_OSFXSR,
  CR4_OSXMMEXCPT,
  CR4_OSXSAVE,
  CS,
  FAULTED,
  VECTOR_MF,
  VECTOR_NM,
  VECTOR_UD,
  VECTOR_XM,
  cpu,
  faulted,
  protectedMode,
  raise,
  raiseGp,
  rip,
  selector,
} from './state';
import { WORK_TRANSCENDENTAL, chargeInstruction } from './work';
import { K, SUB_SIZE_SHIFT, U_BASE, U_D, U_DISP, U_IMM, U_KIND, U_LEN, U_S, U_SCALE, U_SEG, U_SUB } from './uops';

/** Operands are at most 32 bytes: the last scratch slot is the interpreter's, the others the operations'. */
const OPERAND_SLOT: u32 = R_SIMD_SCRATCH + 7 * 32;

/** Raises #UD or #NM when the instruction is not available; returns false then. */
export function simdCheck(p: u32): bool {
  const imm = load<u64>(p, U_IMM);
  const feature = simdFeature(imm);
  const cr0 = load<u64>(cpu, R_CR0);
  const cr4 = load<u64>(cpu, R_CR4);
  if (simdFeatureOff(feature)) {
    raise(VECTOR_UD);
    return false;
  }
  if (imm & UOP_SIMD_VEX) {
    // VEX: CR4.OSXSAVE and both state bits, in protected mode.
    if (!(cr4 & CR4_OSXSAVE) || (load<u64>(cpu, R_XCR0) & 6) !== 6 || !protectedMode) {
      raise(VECTOR_UD);
      return false;
    }
  } else if (imm & UOP_SIMD_NO_STATE) return true;
  else if (cr0 & CR0_EM || (!(imm & UOP_SIMD_NO_XMM) && !(cr4 & CR4_OSFXSR))) {
    raise(VECTOR_UD);
    return false;
  }
  if (cr0 & CR0_TS) {
    raise(VECTOR_NM);
    return false;
  }
  if (imm & UOP_SIMD_MMX && x87PendingException(cpu)) {
    raise(VECTOR_MF);
    return false;
  }
  return true;
}

/** Raises what a status of simdExecute other than SIMD_OK stands for. */
export function simdFault(status: i32): void {
  if (status === SIMD_XM) raise(load<u64>(cpu, R_CR4) & CR4_OSXMMEXCPT ? VECTOR_XM : VECTOR_UD);
  else if (status === SIMD_GP) raiseGp();
  else if (status !== SIMD_FAULT) raise(VECTOR_UD);
}

/** Address of the operand's bytes: guest RAM itself when it lies in one page, else a copy. Check `faulted`. */
export function simdLoadOperand(p: u32): u32 {
  const imm = load<u64>(p, U_IMM);
  const bytes = simdBytes(imm);
  const address = segmentedOperand(p, bytes, false);
  if (faulted & FAULTED) return 0;
  if (imm & UOP_SIMD_ALIGNED && (<u32>address) & (bytes - 1)) {
    raiseGp();
    return 0;
  }
  if (((<u32>address) & 0xfff) + bytes <= 0x1000) {
    const q = readPointer(address);
    if (q || faulted & FAULTED) return q;
  }
  readBlock(address, cpu + OPERAND_SLOT, bytes);
  return cpu + OPERAND_SLOT;
}

/** Executes a SIMD instruction with a memory destination. Returns simdExecute's status; memory faults are in `faulted`. */
export function simdStore(p: u32): i32 {
  const imm = load<u64>(p, U_IMM);
  const bytes = simdBytes(imm);
  const address = segmentedOperand(p, bytes, true);
  if (faulted & FAULTED) return 0;
  if (imm & UOP_SIMD_ALIGNED && (<u32>address) & (bytes - 1)) return SIMD_GP;
  // What changes other state than memory must not, when the store then faults: MMX stores reset TOP, VCVTPS2PH sets flags.
  const changesState = (imm & UOP_SIMD_MMX) !== 0 || load<u32>(p, U_SUB) === OP_VCVTPS2PH;
  if (changesState && !checkWritable(address, bytes)) return 0;
  const slot = cpu + OPERAND_SLOT;
  const status = simdExecute(
    cpu,
    load<u32>(p, U_SUB),
    load<u8>(p, U_D),
    0xff,
    simdVvvv(imm),
    (<u32>imm) & 0xff,
    simdFlags(imm),
    slot,
  );
  if (status) return status;
  if (((<u32>address) & 0xfff) + bytes > 0x1000 && !checkWritable(address, bytes)) return 0;
  writeBlock(address, slot, bytes);
  return 0;
}

/** Executes a SIMD instruction that accesses memory element by element. */
export function simdSpecial(p: u32): i32 {
  const imm = load<u64>(p, U_IMM);
  const flags = simdFlags(imm);
  const seg: u32 = load<u8>(p, U_SEG);
  let base: u64;
  if (imm & UOP_SIMD_VSIB) {
    base = load<u64>(cpu + load<u8>(p, U_BASE));
    // The segment base is added once here; FS and GS are the only ones that have one in 64-bit mode.
    base = linearAddress(seg & 7, cutAddress(base, seg), 1, false);
  } else base = linearAddress(seg & 7, effectiveAddress(p), 1, false);
  if (faulted & FAULTED) return 0;
  return simdExecuteSpecial(
    cpu,
    load<u32>(p, U_SUB),
    load<u8>(p, U_D),
    load<u8>(p, U_S),
    simdVvvv(imm),
    flags,
    base,
    simdIndex(imm),
    1 << load<u8>(p, U_SCALE),
    load<i32>(p, U_DISP),
    addressMask(seg),
  );
}

/** Runs a SIMD micro-op of any kind. Faults, and LEAVE_BLOCK after a store, are in `faulted`. */
export function simdRun(p: u32): void {
  if (!simdCheck(p)) return;
  const kind: i32 = load<u8>(p, U_KIND);
  if (kind === K.SIMD_R) simdCompute(p, 0);
  else if (kind === K.SIMD_LD) {
    const operand = simdLoadOperand(p);
    if (!(faulted & FAULTED)) simdCompute(p, operand);
  } else {
    const status = kind === K.SIMD_ST ? simdStore(p) : simdSpecial(p);
    if (status) simdFault(status);
  }
}

/** Executes a SIMD_R or SIMD_LD micro-op that may be, whose memory operand's bytes lie at `operand`. Raises what it faults with; false then. */
export function simdCompute(p: u32, operand: u32): bool {
  const imm = load<u64>(p, U_IMM);
  const status = simdExecute(
    cpu,
    load<u32>(p, U_SUB),
    load<u8>(p, U_D),
    <i32>load<u8>(p, U_KIND) === K.SIMD_LD ? 0xff : load<u8>(p, U_S),
    simdVvvv(imm),
    (<u32>imm) & 0xff,
    simdFlags(imm),
    operand,
  );
  if (status) simdFault(status);
  return !status;
}

// ---------------------------------------------------------------------------------------------------------------------
// x87

/** Checks that the FPU may be used: #NM, then a pending #MF for waiting instructions. */
function x87Available(waiting: bool): bool {
  const cr0 = load<u64>(cpu, R_CR0);
  if (cr0 & (CR0_EM | CR0_TS)) {
    raise(VECTOR_NM);
    return false;
  }
  if (waiting && x87PendingException(cpu)) {
    raise(VECTOR_MF);
    return false;
  }
  return true;
}

export function fwait(): void {
  const cr0 = load<u64>(cpu, R_CR0);
  if ((cr0 & (CR0_MP | CR0_TS)) === (CR0_MP | CR0_TS)) raise(VECTOR_NM);
  else if (x87PendingException(cpu)) raise(VECTOR_MF);
}

/** An x87 instruction with register operands. */
export function x87RegisterForm(p: u32): void {
  const opcode = (load<u32>(p, U_IMM) >> 8) & 0xff;
  const modrm = load<u32>(p, U_IMM) & 0xff;
  if (!x87Available(x87IsWaiting(opcode, modrm) && !x87IsUndefined(opcode, modrm))) return;
  if (!x87IsControl(opcode, modrm)) note(p, opcode, modrm);
  if (x87UsesFlags(opcode, modrm)) {
    setArithmeticFlags(cpu, x87RegisterFlags(cpu, opcode, modrm, arithmeticFlags(cpu)));
    return;
  }
  if (x87StoresAx(opcode, modrm)) {
    store<u16>(cpu, <u16>x87StatusWord(cpu));
    return;
  }
  // F2XM1 FYL2X FPTAN FPATAN FPREM1 FPREM FYL2XP1 FSINCOS FSIN FCOS
  if (opcode === 0xd9 && modrm >= 0xf0) chargeInstruction(WORK_TRANSCENDENTAL);
  if (x87Register(cpu, opcode, modrm) === X87_UNDEFINED) raise(VECTOR_UD);
}

function note(p: u32, opcode: u32, modrm: u32): void {
  x87NoteInstruction(cpu, ((opcode & 7) << 8) | modrm, rip() - load<u8>(p, U_LEN), selector(CS));
}

/** An x87 instruction with a memory operand. */
export function x87MemoryForm(p: u32): void {
  const opcode = (load<u32>(p, U_IMM) >> 8) & 0xff;
  const modrm = load<u32>(p, U_IMM) & 0xff;
  const reg = (modrm >> 3) & 7;
  const size16 = ((load<u32>(p, U_SUB) >> SUB_SIZE_SHIFT) & 15) === 2;
  const kind = x87OperandBytes(opcode, reg, size16);
  if (kind & X87_NO_SUCH_OPERAND) {
    raise(VECTOR_UD);
    return;
  }
  if (!x87Available(x87IsWaiting(opcode, modrm))) return;
  const bytes = kind & 0xff;
  const stores = (kind & X87_STORES) !== 0;
  const address = segmentedOperand(p, bytes, stores);
  if (faulted & FAULTED) return;
  const buffer = cpu + R_IMAGE_SCRATCH;
  if (stores) {
    if (!checkWritable(address, bytes)) return;
  } else {
    readBlock(address, buffer, bytes);
    if (faulted & FAULTED) return;
  }
  if (!x87IsControl(opcode, modrm)) {
    note(p, opcode, modrm);
    x87NoteData(cpu, effectiveAddress(p), selector(load<u8>(p, U_SEG) & 7));
  }
  const status = x87Memory(cpu, opcode, reg, buffer, size16, !protectedMode);
  if (stores && status !== X87_NO_STORE) writeBlock(address, buffer, bytes);
}
