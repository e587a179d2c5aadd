/** The compiled SIMD unit by itself. */
import { CFG_LOWMEM, CHUNKS, CHUNK_RAM, CHUNK_SHIFT, VCPU } from '../../core-as/layout.ts';
import { compileCore } from '../support/compile-core.ts';
import type { Describe } from '../vectors/wide/simd-forms.ts';

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

/** An address in the chunk that the unit finds mapped. */
export const MEMORY_ADDRESS = 0x100002c0;
export const ALL_ADDRESSES = 0xffff_ffff_ffff_ffffn;

/** Where the 2 MiB around MEMORY_ADDRESS lie in linear memory. */
const CHUNK = 0x1400000;
export const OPERAND = CHUNK + (MEMORY_ADDRESS & 0x1fffff);

export interface Simd {
  describe: Describe;
  execute: Execute;
  executeSpecial: ExecuteSpecial;
  tableRow: (map: number, index: number) => bigint;
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
