/** The instructions that the interpreter calls a function for: one dense switch over X. */
import {
  ACT_HALTED,
  CFGF_PAUSE_EXITS,
  CFG_FLAGS,
  EXIT_BUDGET,
  EXIT_HLT,
  R_ACTIVITY,
  R_CR0,
  R_EXIT_REASON,
  R_GDT_BASE,
  R_GDT_LIMIT,
  R_IDT_BASE,
  R_IDT_LIMIT,
  R_INT_SHADOW,
  R_MSR_TSC_AUX,
  R_PAUSE_EXITS,
  R_RFLAGS,
  SHADOW_SS,
} from '../layout';
import { cpuid } from './cpuid';
import { EVENT_BREAKPOINT, EVENT_SOFTWARE, deliverIcebp, deliverSoftware } from './exception';
import {
  FEATURE_ADX,
  FEATURE_BMI1,
  FEATURE_BMI2,
  FEATURE_CLFLUSHOPT,
  FEATURE_CLWB,
  FEATURE_CX16,
  FEATURE_INVPCID,
  FEATURE_LAHF64,
  FEATURE_LZCNT,
  FEATURE_MOVBE,
  FEATURE_PCOMMIT,
  FEATURE_POPCNT,
  FEATURE_RDPID,
  FEATURE_RDRAND,
  FEATURE_RDSEED,
  FEATURE_RDTSCP,
  FEATURE_SSE42,
  FEATURE_XSAVEC,
  FEATURE_XSAVEOPT,
  hasFeature,
} from './features';
import { drainStores } from './fence';
import { carry, condition, rflags, setCarry, zero } from './flags';
import {
  addWithFlag,
  bitScan,
  bitTest,
  bmi,
  bound,
  compareExchange,
  compareExchange16,
  compareExchange8,
  count,
  crc32,
  decimalAdjust,
  divide,
  exchangeAdd,
  exchangeMemory,
  exchangeRegisters,
  flagsForAh,
  flagsFromAh,
  lockedAlu,
  lockedUnary,
  moveSwapped,
  multiply,
  multiply16,
  shiftDouble,
} from './integer';
import { interruptsMayBeEnabled, setInterruptFlag } from './interrupt-flag';
import { ioAllowed, portIn, portOut } from './io';
import { rdmsr, wrmsr } from './msr';
import {
  addressMask,
  cutAddress,
  effectiveAddress,
  linearAddress,
  readLinear,
  readRegister,
  readRm,
  segmentedOperand,
  touchLine,
  writeReg,
  writeRm,
} from './operand';
import { loadSegment } from './segment';
import { fwait, x87MemoryForm, x87RegisterForm } from './simd-operand';
import { enterFrame, popAll, popFlags, popRm, popSegment, pushAll, pushFlags, pushSegment } from './stack';
import {
  FAULTED,
  FLAG_CF,
  FLAG_DF,
  FLAG_OF,
  LDTR,
  MODE_64,
  RAX,
  RBP,
  RBX,
  RCX,
  RDX,
  SS,
  TR,
  VECTOR_BP,
  VECTOR_OF,
  VECTOR_UD,
  cpu,
  csBase,
  faulted,
  gpr,
  iopl,
  mode,
  protectedMode,
  raise,
  raiseGp,
  rip,
  selector,
  setGpr,
  setGprSized,
  setRepeating,
  setRip,
  stackMask,
  v8086,
} from './state';
import { DONE, EXIT_RUN, FAULT, REDISPATCH } from './status';
import { stringInstruction } from './string';
import {
  arpl,
  clts,
  invlpg,
  invpcid,
  lar,
  ldmxcsr,
  lldt,
  lmsw,
  loadFar,
  loadTable,
  lsl,
  ltr,
  moveFromControl,
  moveFromDebug,
  moveToControl,
  moveToDebug,
  privileged,
  random,
  rdpmc,
  rdtsc,
  rdtscp,
  segmentBaseInstruction,
  setAlignmentCheck,
  stmxcsr,
  storeSystemWord,
  storeTable,
  swapgs,
  verify,
  xgetbv,
  xsetbv,
} from './system';
import {
  farReturn,
  farTransfer,
  interruptReturn,
  moveStack,
  peekStack,
  pushValue,
  setStack,
  syscall,
  sysenter,
  sysexit,
  sysret,
} from './transfer';
import { SUB_SIZE_SHIFT, U_D, U_IMM, U_OFF, U_S, U_SCALE, U_SEG, U_SUB, X } from './uops';
import { WORK_DEVICE, WORK_MICROSECOND, charge, chargeInstruction } from './work';
import { fxrstor, fxsave, xrstor, xsave } from './xsave';

// @ts-ignore: decorator
@inline
function done(): u32 {
  return faulted & FAULTED ? FAULT : DONE;
}

// @ts-ignore: decorator
@inline
function redispatch(): u32 {
  return faulted & FAULTED ? FAULT : REDISPATCH;
}

function need(feature: u32): bool {
  if (hasFeature(feature)) return true;
  raise(VECTOR_UD);
  return false;
}

/** A branch to R_RIP + relative within the operand size; p's U_IMM is the target relative to the page. */
function branch(p: u32, page: u64, size: u32): void {
  const target = page + load<u64>(p, U_IMM) - csBase;
  setRip(size === 8 ? target : size === 4 ? target & 0xffffffff : target & 0xffff);
}

/** Executes the X function of a micro-op. R_RIP holds the address of the next instruction. */
export function execute(p: u32, page: u64): u32 {
  const sub = load<u32>(p, U_SUB);
  const size = (sub >> SUB_SIZE_SHIFT) & 15;
  switch (sub & 0xffff) {
    case X.UD:
      raise(VECTOR_UD);
      return FAULT;
    case X.GP0:
      raiseGp();
      return FAULT;
    case X.PUSH_RM: {
      const value = readRm(p, size);
      if (!(faulted & FAULTED)) pushValue(size, value);
      return done();
    }
    case X.PUSH_IMM:
      pushValue(size, load<u64>(p, U_IMM));
      return done();
    case X.POP_RM:
      popRm(p, size);
      return done();
    case X.PUSHA:
      pushAll(size);
      return done();
    case X.POPA:
      popAll(size);
      return done();
    case X.PUSHF:
      pushFlags(size);
      return done();
    case X.POPF:
      popFlags(size);
      return redispatch();
    case X.PUSH_SEG:
      pushSegment(size, selector(load<u8>(p, U_D)));
      return done();
    case X.POP_SEG:
      popSegment(load<u8>(p, U_D), size);
      return redispatch();
    case X.ENTER:
      enterFrame(size, load<u32>(p, U_IMM));
      return done();
    case X.LEAVE: {
      const address = linearAddress(SS, gpr(RBP) & stackMask, size, false);
      if (faulted & FAULTED) return FAULT;
      const value = readLinear(address, size);
      if (faulted & FAULTED) return FAULT;
      setStack((gpr(RBP) & stackMask) + size);
      setGprSized(RBP, size, value);
      return DONE;
    }
    case X.CALL_REL: {
      const back = rip();
      pushValue(size, back);
      if (faulted & FAULTED) return FAULT;
      branch(p, page, size);
      return REDISPATCH;
    }
    case X.CALL_RM: {
      const to = readRm(p, size);
      if (faulted & FAULTED) return FAULT;
      pushValue(size, rip());
      if (faulted & FAULTED) return FAULT;
      setRip(to);
      return REDISPATCH;
    }
    case X.JMP_RM: {
      const to = readRm(p, size);
      if (faulted & FAULTED) return FAULT;
      setRip(to);
      return REDISPATCH;
    }
    case X.RET: {
      const to = peekStack(0, size);
      if (faulted & FAULTED) return FAULT;
      moveStack(<i64>size + load<i64>(p, U_IMM));
      setRip(to);
      return REDISPATCH;
    }
    case X.JMP_REL16:
      branch(p, page, 2);
      return REDISPATCH;
    case X.JCC_REL16:
      if (!condition(load<u8>(p, U_SCALE))) return DONE;
      branch(p, page, 2);
      return REDISPATCH;
    case X.JCXZ: {
      if (gpr(RCX) & addressMask(load<u8>(p, U_SEG))) return DONE;
      branch(p, page, size);
      return REDISPATCH;
    }
    case X.LOOP:
      return loop(p, page, size, 0);
    case X.LOOPE:
      return loop(p, page, size, 1);
    case X.LOOPNE:
      return loop(p, page, size, 2);
    case X.CALL_FAR:
    case X.JMP_FAR: {
      charge(WORK_DEVICE);
      const pointer = load<u64>(p, U_IMM);
      farTransfer(<u32>(pointer >> 32), pointer & 0xffffffff, size, (sub & 0xffff) === X.CALL_FAR);
      return redispatch();
    }
    case X.CALL_FAR_M:
    case X.JMP_FAR_M: {
      const address = segmentedOperand(p, size + 2, false);
      if (faulted & FAULTED) return FAULT;
      const offset = readLinear(address, size);
      if (faulted & FAULTED) return FAULT;
      const sel = <u32>readLinear(address + size, 2);
      if (faulted & FAULTED) return FAULT;
      farTransfer(sel, offset, load<u32>(p, U_IMM), (sub & 0xffff) === X.CALL_FAR_M);
      return redispatch();
    }
    case X.RETF:
      farReturn(size, load<u32>(p, U_IMM));
      return redispatch();
    case X.IRET:
      drainStores();
      interruptReturn(size);
      if (!(faulted & FAULTED)) interruptsMayBeEnabled();
      return redispatch();
    case X.INT:
      return softwareInterrupt(load<u8>(p, U_IMM), page + load<u16>(p, U_OFF) - csBase);
    case X.INT3:
      deliverSoftware(VECTOR_BP, EVENT_BREAKPOINT, page + load<u16>(p, U_OFF) - csBase);
      return REDISPATCH;
    case X.INT1:
      deliverIcebp();
      return REDISPATCH;
    case X.INTO:
      if (!(rflags(cpu) & FLAG_OF)) return DONE;
      deliverSoftware(VECTOR_OF, EVENT_BREAKPOINT, page + load<u16>(p, U_OFF) - csBase);
      return REDISPATCH;
    case X.BOUND:
      bound(p, size);
      return done();
    case X.MUL:
      multiply(p, size, false);
      return done();
    case X.IMUL:
      multiply(p, size, true);
      return done();
    case X.DIV:
      divide(p, size, false);
      return done();
    case X.IDIV:
      divide(p, size, true);
      return done();
    case X.IMUL_RM:
      multiply16(p, false);
      return done();
    case X.IMUL_RMI:
      multiply16(p, true);
      return done();
    case X.SHLD_I:
      shiftDouble(p, size, false, load<u32>(p, U_IMM));
      return done();
    case X.SHLD_CL:
      shiftDouble(p, size, false, (<u32>gpr(RCX)) & 0xff);
      return done();
    case X.SHRD_I:
      shiftDouble(p, size, true, load<u32>(p, U_IMM));
      return done();
    case X.SHRD_CL:
      shiftDouble(p, size, true, (<u32>gpr(RCX)) & 0xff);
      return done();
    case X.BT:
    case X.BTS:
    case X.BTR:
    case X.BTC:
      bitTest(p, size, (sub & 0xffff) - X.BT, false);
      return done();
    case X.BT_I:
    case X.BTS_I:
    case X.BTR_I:
    case X.BTC_I:
      bitTest(p, size, (sub & 0xffff) - X.BT_I, true);
      return done();
    case X.BSF:
      bitScan(p, size, false);
      return done();
    case X.BSR:
      bitScan(p, size, true);
      return done();
    case X.TZCNT:
      // Without BMI1 the F3 prefix is ignored.
      if (hasFeature(FEATURE_BMI1)) count(p, size, X.TZCNT);
      else bitScan(p, size, false);
      return done();
    case X.LZCNT:
      if (hasFeature(FEATURE_LZCNT)) count(p, size, X.LZCNT);
      else bitScan(p, size, true);
      return done();
    case X.POPCNT:
      if (need(FEATURE_POPCNT)) count(p, size, X.POPCNT);
      return done();
    case X.CMPXCHG:
      compareExchange(p, size);
      return done();
    case X.XADD:
      exchangeAdd(p, size);
      return done();
    case X.XCHG:
      exchangeMemory(p, size);
      return done();
    case X.CMPXCHG8B:
      compareExchange8(p);
      return done();
    case X.CMPXCHG16B:
      if (need(FEATURE_CX16)) compareExchange16(p);
      return done();
    case X.LOCK_ALU:
      lockedAlu(p, size);
      return done();
    case X.LOCK_UNARY:
      lockedUnary(p, size);
      return done();
    case X.INS:
    case X.OUTS:
      drainStores();
    // falls through
    case X.MOVS:
    case X.CMPS:
    case X.STOS:
    case X.LODS:
    case X.SCAS:
      // While a port is accessed RIP is the instruction's own, as at bhyve's exits; where more is to do, it starts again.
      setRip(page + load<u16>(p, U_OFF) - csBase);
      setRepeating(false);
      if (stringInstruction(p, size, sub & 0xffff)) return done();
      if (faulted & FAULTED) return FAULT;
      setRepeating(true);
      return REDISPATCH;
    case X.IN:
    case X.OUT: {
      const immediate = load<i64>(p, U_IMM);
      const port: u32 = immediate >= 0 ? <u32>immediate : (<u32>gpr(RDX)) & 0xffff;
      if (!ioAllowed(port, size)) return FAULT;
      drainStores();
      setRip(page + load<u16>(p, U_OFF) - csBase);
      if ((sub & 0xffff) === X.IN) setGprSized(RAX, size, portIn(port, size));
      else portOut(port, size, <u32>readRegister(RAX, size));
      return DONE;
    }
    case X.CLI:
    case X.STI:
      return setInterruptFlag((sub & 0xffff) === X.STI);
    case X.CLC:
      setCarry(cpu, 0);
      return DONE;
    case X.STC:
      setCarry(cpu, 1);
      return DONE;
    case X.CMC:
      setCarry(cpu, carry(cpu) ^ 1);
      return DONE;
    case X.CLD:
      store<u32>(cpu, load<u32>(cpu, R_RFLAGS) & ~FLAG_DF, R_RFLAGS);
      return DONE;
    case X.STD:
      store<u32>(cpu, load<u32>(cpu, R_RFLAGS) | FLAG_DF, R_RFLAGS);
      return DONE;
    case X.HLT:
      if (!privileged()) return FAULT;
      store<u32>(cpu, ACT_HALTED, R_ACTIVITY);
      store<u32>(cpu, EXIT_HLT, R_EXIT_REASON);
      return EXIT_RUN;
    case X.LAHF:
      if (mode === MODE_64 && !need(FEATURE_LAHF64)) return FAULT;
      store<u8>(cpu, <u8>flagsForAh(), 1);
      return DONE;
    case X.SAHF:
      if (mode === MODE_64 && !need(FEATURE_LAHF64)) return FAULT;
      flagsFromAh(load<u8>(cpu, 1));
      return DONE;
    case X.XLAT: {
      const seg: u32 = load<u8>(p, U_SEG);
      const address = linearAddress(seg & 7, cutAddress(gpr(RBX) + (gpr(RAX) & 0xff), seg), 1, false);
      if (faulted & FAULTED) return FAULT;
      const value = readLinear(address, 1);
      if (faulted & FAULTED) return FAULT;
      setGprSized(RAX, 1, value);
      return DONE;
    }
    case X.AAA:
    case X.AAS:
    case X.DAA:
    case X.DAS:
    case X.AAM:
    case X.AAD:
      decimalAdjust(sub & 0xffff, load<u32>(p, U_IMM));
      return done();
    case X.SALC:
      setGprSized(RAX, 1, carry(cpu) ? 0xff : 0);
      return DONE;
    case X.CWD:
      setGprSized(RDX, 2, load<i16>(cpu) < 0 ? 0xffff : 0);
      return DONE;
    case X.CMOV16:
      if (condition(load<u8>(p, U_SCALE))) writeReg(p, 2, readRegister(load<u8>(p, U_S), 2));
      return DONE;
    case X.XCHG_RR:
      exchangeRegisters(p, size);
      return DONE;
    case X.BSWAP16:
      // Undefined by the SDM; processors clear the register.
      writeReg(p, 2, 0);
      return DONE;
    case X.MOV_FROM_SEG:
      writeRm(p, size, selector(load<u8>(p, U_D)));
      return done();
    case X.MOV_TO_SEG: {
      const sel = <u32>readRm(p, 2);
      if (faulted & FAULTED) return FAULT;
      return loadSegmentRegister(load<u8>(p, U_D), sel);
    }
    case X.LOAD_FAR:
      loadFar(p, size);
      return redispatch();
    case X.ARPL:
      arpl(p);
      return done();
    case X.LAR:
      lar(p, size);
      return done();
    case X.LSL:
      lsl(p, size);
      return done();
    case X.VERR:
      verify(p, false);
      return done();
    case X.VERW:
      verify(p, true);
      return done();
    case X.SLDT:
      storeSystemWord(p, size, selector(LDTR));
      return done();
    case X.STR:
      storeSystemWord(p, size, selector(TR));
      return done();
    case X.LLDT:
      drainStores();
      lldt(p);
      return done();
    case X.LTR:
      drainStores();
      ltr(p);
      return done();
    case X.SGDT:
      storeTable(p, R_GDT_BASE, R_GDT_LIMIT);
      return done();
    case X.SIDT:
      storeTable(p, R_IDT_BASE, R_IDT_LIMIT);
      return done();
    case X.LGDT:
      drainStores();
      loadTable(p, R_GDT_BASE, R_GDT_LIMIT, size);
      return done();
    case X.LIDT:
      drainStores();
      loadTable(p, R_IDT_BASE, R_IDT_LIMIT, size);
      return done();
    case X.SMSW:
      storeSystemWord(p, size, load<u64>(cpu, R_CR0));
      return done();
    case X.LMSW:
      drainStores();
      charge(WORK_MICROSECOND);
      lmsw(p);
      return redispatch();
    case X.INVLPG:
      drainStores();
      charge(4 * WORK_MICROSECOND);
      invlpg(p);
      return redispatch();
    case X.CLTS:
      clts();
      return done();
    case X.SWAPGS:
      swapgs();
      return done();
    case X.RDTSC:
      rdtsc();
      return done();
    case X.RDTSCP:
      if (need(FEATURE_RDTSCP)) rdtscp();
      return done();
    case X.RDPMC:
      rdpmc();
      return FAULT;
    case X.CLAC:
      setAlignmentCheck(false);
      return done();
    case X.STAC:
      setAlignmentCheck(true);
      return done();
    case X.XGETBV:
      xgetbv();
      return done();
    case X.XSETBV:
      xsetbv();
      return done();
    case X.MOV_FROM_CR:
      moveFromControl(p);
      return done();
    case X.MOV_TO_CR:
      drainStores();
      charge(WORK_MICROSECOND);
      moveToControl(p);
      return redispatch();
    case X.MOV_FROM_DR:
      moveFromDebug(p);
      return done();
    case X.MOV_TO_DR:
      drainStores();
      moveToDebug(p);
      return redispatch();
    case X.WRMSR:
      drainStores();
      charge(WORK_MICROSECOND);
      if (privileged()) wrmsr();
      return redispatch();
    case X.RDMSR:
      if (privileged()) rdmsr();
      return done();
    case X.SYSCALL:
      syscall();
      return redispatch();
    case X.SYSRET:
      sysret(size);
      if (!(faulted & FAULTED)) interruptsMayBeEnabled();
      return redispatch();
    case X.SYSENTER:
      sysenter();
      return redispatch();
    case X.SYSEXIT:
      sysexit(size);
      return redispatch();
    case X.CPUID:
      drainStores();
      cpuid();
      chargeInstruction(WORK_MICROSECOND);
      return DONE;
    case X.WBINVD:
      drainStores();
      privileged();
      return done();
    case X.FXSAVE:
      chargeInstruction(WORK_DEVICE);
      fxsave(p, size);
      return done();
    case X.FXRSTOR:
      chargeInstruction(WORK_DEVICE);
      fxrstor(p, size);
      return done();
    case X.LDMXCSR:
      ldmxcsr(p);
      return done();
    case X.STMXCSR:
      stmxcsr(p);
      return done();
    case X.XSAVE:
      chargeInstruction(WORK_DEVICE);
      xsave(p, size, false, false);
      return done();
    case X.XRSTOR:
      chargeInstruction(WORK_DEVICE);
      xrstor(p, size);
      return done();
    case X.XSAVEOPT:
      if (need(FEATURE_XSAVEOPT)) xsave(p, size, true, false);
      return done();
    case X.XSAVEC:
      if (need(FEATURE_XSAVEC)) xsave(p, size, false, true);
      return done();
    case X.CLFLUSH:
      touchLine(p);
      return done();
    case X.CLFLUSHOPT:
      if (need(FEATURE_CLFLUSHOPT)) touchLine(p);
      return done();
    case X.CLWB:
      if (need(FEATURE_CLWB)) touchLine(p);
      return done();
    case X.PCOMMIT:
      // There is no persistent memory whose stores could be pending.
      need(FEATURE_PCOMMIT);
      return done();
    case X.RDFSBASE:
    case X.RDGSBASE:
    case X.WRFSBASE:
    case X.WRGSBASE:
      segmentBaseInstruction(p, size, (sub & 0xffff) - X.RDFSBASE);
      return done();
    case X.MOVBE_LD:
    case X.MOVBE_ST:
      if (need(FEATURE_MOVBE)) moveSwapped(p, size, (sub & 0xffff) === X.MOVBE_ST);
      return done();
    case X.CRC32:
      if (need(FEATURE_SSE42)) crc32(p, size);
      return done();
    case X.ADCX:
      if (need(FEATURE_ADX)) addWithFlag(p, size, FLAG_CF);
      return done();
    case X.ADOX:
      if (need(FEATURE_ADX)) addWithFlag(p, size, FLAG_OF);
      return done();
    case X.ANDN:
    case X.BEXTR:
    case X.BLSR:
    case X.BLSMSK:
    case X.BLSI:
      if (vexAllowed(FEATURE_BMI1)) bmi(p, size, sub & 0xffff);
      return done();
    case X.BZHI:
    case X.PDEP:
    case X.PEXT:
    case X.RORX:
    case X.SARX:
    case X.SHLX:
    case X.SHRX:
    case X.MULX:
      if (vexAllowed(FEATURE_BMI2)) bmi(p, size, sub & 0xffff);
      return done();
    case X.INVPCID:
      drainStores();
      charge(4 * WORK_MICROSECOND);
      if (need(FEATURE_INVPCID)) invpcid(p);
      return redispatch();
    case X.RDRAND:
      if (need(FEATURE_RDRAND)) random(p, size);
      chargeInstruction(WORK_MICROSECOND);
      return done();
    case X.RDSEED:
      if (need(FEATURE_RDSEED)) random(p, size);
      chargeInstruction(WORK_MICROSECOND);
      return done();
    case X.RDPID:
      if (need(FEATURE_RDPID)) writeRm(p, 8, load<u64>(cpu, R_MSR_TSC_AUX));
      return done();
    case X.LEA:
      writeReg(p, size, effectiveAddress(p));
      return DONE;
    case X.FWAIT:
      fwait();
      return done();
    case X.X87_R:
      x87RegisterForm(p);
      return done();
    case X.X87_M:
      x87MemoryForm(p);
      return done();
    case X.PAUSE:
      if (!(load<u32>(CFG_FLAGS) & CFGF_PAUSE_EXITS)) return DONE;
      store<u64>(cpu, load<u64>(cpu, R_PAUSE_EXITS) + 1, R_PAUSE_EXITS);
      store<u32>(cpu, EXIT_BUDGET, R_EXIT_REASON);
      return EXIT_RUN;
    default:
      raise(VECTOR_UD);
      return FAULT;
  }
}

/** VEX-encoded integer instructions exist in protected mode only; they need no AVX state. */
function vexAllowed(feature: u32): bool {
  if (protectedMode) return need(feature);
  raise(VECTOR_UD);
  return false;
}

function loop(p: u32, page: u64, size: u32, kind: u32): u32 {
  const mask = addressMask(load<u8>(p, U_SEG));
  const count = (gpr(RCX) - 1) & mask;
  setGpr(RCX, mask === 0xffff ? (gpr(RCX) & ~mask) | count : count);
  const taken = count !== 0 && (kind === 0 || (zero(cpu) !== 0) === (kind === 1));
  if (!taken) return DONE;
  branch(p, page, size);
  return REDISPATCH;
}

function loadSegmentRegister(seg: u32, sel: u32): u32 {
  loadSegment(seg, sel);
  if (faulted & FAULTED) return FAULT;
  if (seg === SS) store<u32>(cpu, SHADOW_SS, R_INT_SHADOW);
  return REDISPATCH;
}

function softwareInterrupt(vector: u32, start: u64): u32 {
  if (v8086 && iopl() < 3) {
    raiseGp();
    return FAULT;
  }
  deliverSoftware(vector, EVENT_SOFTWARE, start);
  return REDISPATCH;
}
