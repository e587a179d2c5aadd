/** The compiled SIMD unit, and running one form on a record as harness.c does. */
import {
  CFG_LOWMEM,
  CHUNKS,
  CHUNK_RAM,
  CHUNK_SHIFT,
  R_FPU,
  R_GPR,
  R_MXCSR,
  R_SIMD_SCRATCH,
  R_YMM,
  VCPU,
} from '../../../../core-as/layout';
import { compileCore } from '../../../support/compile-core';
import {
  type Describe,
  type Form,
  MEMORY_ADDRESS,
  MEMORY_BYTES,
  NO_VVVV,
  type Operands,
  SIZE_SPECIAL,
  STATE,
  operationOf,
  sizeCodeOf,
} from './forms';

type Execute = (
  cpu: number,
  operation: number,
  reg: number,
  rm: number,
  vvvv: number,
  imm: number,
  flags: number,
  operand: number,
) => number;

type ExecuteSpecial = (
  cpu: number,
  operation: number,
  reg: number,
  rm: number,
  vvvv: number,
  flags: number,
  baseAddress: bigint,
  indexRegister: number,
  scale: number,
  displacement: number,
  addressMask: bigint,
) => number;

/** x87 TOP and valid registers: as in core-as/fpu/state.ts, which only the AssemblyScript compiler can read. */
const FPU_TOP = R_FPU + 0x88;
const FPU_VALID = R_FPU + 0x8c;

export const SIMD_MEMORY = 0xff;
export const FLAG_64BIT = 8;
export const ALL_ADDRESSES = 0xffff_ffff_ffff_ffffn;

/** Where the 2 MiB around MEMORY_ADDRESS lie in linear memory. */
const CHUNK = 0x1400000;
export const OPERAND = CHUNK + (MEMORY_ADDRESS & 0x1fffff);

export interface Simd {
  describe: Describe;
  execute: Execute;
  executeSpecial: ExecuteSpecial;
  tableRow: (map: number, index: number) => bigint;
  arithmeticFlags: (cpu: number) => number;
  setArithmeticFlags: (cpu: number, flags: number) => void;
  clearFault: () => void;
  updateMode: () => void;
  flushAll: () => void;
  bytes: Uint8Array;
  view: DataView;
}

/** Instantiates the unit with a vCPU in real mode and RAM about MEMORY_ADDRESS. */
export async function loadSimd(): Promise<Simd> {
  const memory = new WebAssembly.Memory({ initial: 512, maximum: 65536, shared: true });
  const module = await compileCore('tests/core/simd.entry.ts');
  const env: Record<string, WebAssembly.ImportValue> = { memory };
  for (const item of WebAssembly.Module.imports(module)) {
    if (item.kind === 'function') env[item.name] = () => 0;
  }
  const { exports } = new WebAssembly.Instance(module, { env });
  const start = exports._start;
  if (typeof start === 'function') (start as () => void)();
  const view = new DataView(memory.buffer);
  view.setBigUint64(CFG_LOWMEM, 0x20000000n, true);
  view.setUint32(CHUNKS + (MEMORY_ADDRESS >>> CHUNK_SHIFT) * 4, CHUNK | CHUNK_RAM, true);
  (exports.bindCpu as (cpu: number) => void)(VCPU);
  const simd: Simd = {
    describe: exports.simdDescribe as Describe,
    execute: exports.simdExecute as Execute,
    executeSpecial: exports.simdExecuteSpecial as ExecuteSpecial,
    tableRow: exports.simdTableRow as Simd['tableRow'],
    arithmeticFlags: exports.arithmeticFlags as Simd['arithmeticFlags'],
    setArithmeticFlags: exports.setArithmeticFlags as Simd['setArithmeticFlags'],
    clearFault: exports.clearFault as () => void,
    updateMode: exports.updateMode as () => void,
    flushAll: exports.flushAll as () => void,
    bytes: new Uint8Array(memory.buffer),
    view,
  };
  simd.updateMode();
  simd.flushAll();
  return simd;
}

/** Puts a record's registers and memory into the vCPU. */
export function loadState(simd: Simd, record: Uint8Array): void {
  const { bytes, view } = simd;
  const from = new DataView(record.buffer, record.byteOffset, record.length);
  bytes.set(record.subarray(STATE.ymm, STATE.ymm + 512), VCPU + R_YMM);
  bytes.set(record.subarray(STATE.gpr, STATE.gpr + 128), VCPU + R_GPR);
  for (let n = 0; n < 8; n++) {
    const register = VCPU + R_FPU + n * 16;
    bytes.set(record.subarray(STATE.mm + n * 8, STATE.mm + n * 8 + 8), register);
    view.setBigUint64(register + 8, BigInt(from.getUint16(STATE.exponents + n * 2, true)), true);
  }
  view.setUint32(VCPU + FPU_TOP, from.getUint8(STATE.top), true);
  view.setUint32(VCPU + FPU_VALID, from.getUint8(STATE.tags), true);
  view.setUint32(VCPU + R_MXCSR, from.getUint32(STATE.mxcsr, true), true);
  simd.setArithmeticFlags(VCPU, from.getUint32(STATE.rflags, true));
  bytes.set(record.subarray(STATE.memory, STATE.memory + MEMORY_BYTES), OPERAND);
  // Results must not depend on what an earlier instruction left in the scratch slots.
  bytes.fill(0xa5, VCPU + R_SIMD_SCRATCH, VCPU + R_SIMD_SCRATCH + 256);
}

/** Takes them back, into a copy of the record. */
export function saveState(simd: Simd, record: Uint8Array): Uint8Array {
  const { bytes, view } = simd;
  const after = record.slice();
  const to = new DataView(after.buffer);
  after.set(bytes.subarray(VCPU + R_YMM, VCPU + R_YMM + 512), STATE.ymm);
  after.set(bytes.subarray(VCPU + R_GPR, VCPU + R_GPR + 128), STATE.gpr);
  for (let n = 0; n < 8; n++) {
    const register = VCPU + R_FPU + n * 16;
    after.set(bytes.subarray(register, register + 8), STATE.mm + n * 8);
    to.setUint16(STATE.exponents + n * 2, view.getUint16(register + 8, true), true);
  }
  to.setUint8(STATE.top, view.getUint32(VCPU + FPU_TOP, true));
  to.setUint8(STATE.tags, view.getUint32(VCPU + FPU_VALID, true));
  to.setUint32(STATE.mxcsr, view.getUint32(VCPU + R_MXCSR, true), true);
  to.setUint32(STATE.rflags, simd.arithmeticFlags(VCPU), true);
  after.set(bytes.subarray(OPERAND, OPERAND + MEMORY_BYTES), STATE.memory);
  return after;
}

/** Executes a form in 64-bit mode; answers SIMD_*. */
export function executeForm(simd: Simd, form: Form, operands: Operands): number {
  const { descriptor } = form;
  const operation = operationOf(descriptor);
  const flags = form.vex | (form.l << 1) | (form.w << 2) | FLAG_64BIT;
  const reg = form.digit < 0 ? operands.reg : form.digit;
  const rm = form.isRegister ? operands.rm : SIMD_MEMORY;
  const vvvv = descriptor & NO_VVVV ? 0 : operands.vvvv;
  if (sizeCodeOf(descriptor) !== SIZE_SPECIAL) {
    return simd.execute(VCPU, operation, reg, rm, vvvv, operands.imm, flags, OPERAND);
  }
  // MASKMOVQ and MASKMOVDQU address DS:RDI, the others [RBX].
  const base = form.isRegister ? simd.view.getBigUint64(VCPU + R_GPR + 56, true) : BigInt(MEMORY_ADDRESS);
  return simd.executeSpecial(
    VCPU,
    operation,
    reg,
    rm,
    vvvv,
    flags,
    base,
    operands.index,
    1 << operands.scale,
    operands.displacement,
    ALL_ADDRESSES,
  );
}
