/**
 * The x87 FPU as the interpreter sees it (SDM volume 1, chapter 8; volume 2 for each instruction): one function for
 * memory forms, one for register forms. Reference: the SDM; where processors differ in what the SDM leaves open, the
 * recorded vectors under tests/vectors/data (wide-x87-*) decide. Two documented differences follow Intel, not AMD: FOP is the
 * opcode of the last instruction with an unmasked exception, and FXSAVE always stores the pointers.
 */
import { FPU_CS, FPU_DP, FPU_DS, FPU_FOP, FPU_IP, FPU_LAST_OPCODE, FPU_STATUS, STATUS_ERROR_SUMMARY } from './state';

export { x87IsControl, x87IsWaiting, x87OperandBytes, x87StoresAx, x87UsesFlags } from './encoding';
export { fxrstorX87, fxsaveX87, x87InitXsave, x87Reset } from './image';
export { x87Memory } from './memory-forms';
export { emms, mmxBegin, mmxRegister, mmxWritten } from './mmx';
export { x87Register, x87RegisterFlags } from './register-forms';
export { X87_NO_STORE, X87_OK, X87_UNDEFINED, x87StatusWord } from './state';
export { X87_NO_SUCH_OPERAND, X87_STORES, x87IsUndefined } from './encoding';

/** An unmasked exception is pending: #MF is due at the next waiting instruction. */
export function x87PendingException(cpu: u32): bool {
  return (load<u32>(cpu, FPU_STATUS) & STATUS_ERROR_SUMMARY) !== 0;
}

/** Notes opcode and address of a non-control instruction, before or after it is executed. */
export function x87NoteInstruction(cpu: u32, fop: u32, ip: u64, cs: u32): void {
  store<u32>(cpu, fop & 0x7ff, FPU_LAST_OPCODE);
  if (load<u32>(cpu, FPU_STATUS) & STATUS_ERROR_SUMMARY) store<u32>(cpu, fop & 0x7ff, FPU_FOP);
  store<u64>(cpu, ip, FPU_IP);
  store<u32>(cpu, cs & 0xffff, FPU_CS);
}

/** Notes the address of a non-control instruction's memory operand. */
export function x87NoteData(cpu: u32, address: u64, ds: u32): void {
  store<u64>(cpu, address, FPU_DP);
  store<u32>(cpu, ds & 0xffff, FPU_DS);
}
