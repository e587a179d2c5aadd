/** A compiled region as text: guest code, micro-ops, WebAssembly (`-o jit.dump=ADDRESS`, docs/jit.md). */
import {
  DUMP_BODY,
  DUMP_BODY_BYTES,
  DUMP_HEADER,
  DUMP_NODES,
  DUMP_NODE_SIZE,
  DUMP_PAGE,
  D_DISTANCE,
  D_END,
  D_FIRST,
  D_LINEAR,
} from '../../core-as/jit/abi.ts';
import { R_PAGE, R_PAGE_HIGH, R_TEMP, R_ZERO } from '../../core-as/layout.ts';
import { CALLED_INSTRUCTIONS, MICRO_OPS } from './micro-op-names.ts';
import { wasmText } from './wasm-text.ts';

/** Fields of a micro-op: core-as/cpu/uops.ts, which a test compares with these. */
export const MICRO_OP = {
  UOP_SIZE: 32,
  U_KIND: 0,
  U_LEN: 2,
  U_OFF: 4,
  U_D: 6,
  U_S: 7,
  U_BASE: 8,
  U_IDX: 9,
  U_SCALE: 10,
  U_DISP: 12,
  U_IMM: 16,
  U_SUB: 28,
} as const;

const REGISTERS = 'rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15'.split(' ');
const PSEUDO_REGISTERS = new Map([
  [R_TEMP, 't0'],
  [R_TEMP + 8, 't1'],
  [R_PAGE, 'page'],
  [R_PAGE_HIGH, 'page+2^31'],
  [R_ZERO, '0'],
]);

/** A register by its byte offset in the vCPU block; an odd one is the second byte of a register. */
function register(offset: number): string {
  const name = PSEUDO_REGISTERS.get(offset) ?? REGISTERS[offset >> 3] ?? `+${offset}`;
  return offset & 1 && offset < R_TEMP ? `${name}[15:8]` : name;
}

function hex(value: number | bigint): string {
  return value < 0 ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`;
}

function microOp(data: DataView, at: number): string {
  const kind = data.getUint8(at + MICRO_OP.U_KIND);
  const sub = data.getUint32(at + MICRO_OP.U_SUB, true);
  const name = MICRO_OPS[kind] ?? `kind ${kind}`;
  const called = name === 'CALL_X' ? ` ${CALLED_INSTRUCTIONS[sub & 0xffff] ?? sub & 0xffff}` : '';
  const [d, s, base, index] = [MICRO_OP.U_D, MICRO_OP.U_S, MICRO_OP.U_BASE, MICRO_OP.U_IDX].map((field) =>
    register(data.getUint8(at + field)),
  );
  const scale = 1 << data.getUint8(at + MICRO_OP.U_SCALE);
  const displacement = hex(data.getInt32(at + MICRO_OP.U_DISP, true));
  const immediate = hex(data.getBigInt64(at + MICRO_OP.U_IMM, true));
  return `${name}${called} d=${d} s=${s} [${base}+${index}*${scale}+${displacement}] imm=${immediate} sub=${hex(sub)}`;
}

/** The text of the region whose record (core-as/jit/abi.ts: DUMP_*) lies at an address of the core's memory. */
export function regionText(buffer: ArrayBufferLike, record: number): string {
  const data = new DataView(buffer);
  const bytes = new Uint8Array(buffer);
  const page = data.getBigUint64(record + DUMP_PAGE, true);
  const body = data.getUint32(record + DUMP_BODY, true);
  const bodyBytes = data.getUint32(record + DUMP_BODY_BYTES, true);
  const nodes = data.getUint32(record + DUMP_NODES, true);
  const lines = [`region in page ${hex(page)}: ${nodes} nodes, ${bodyBytes} bytes of WebAssembly`];
  for (let number = 0; number < nodes; number++) {
    const node = record + DUMP_HEADER + number * DUMP_NODE_SIZE;
    const at = BigInt.asUintN(64, page + data.getBigInt64(node + D_DISTANCE, true));
    const linear = data.getUint32(node + D_LINEAR, true);
    lines.push(`node ${number}`);
    let shown = -1;
    for (let p = data.getUint32(node + D_FIRST, true); p < data.getUint32(node + D_END, true); p += MICRO_OP.UOP_SIZE) {
      const offset = data.getUint16(p + MICRO_OP.U_OFF, true);
      const length = data.getUint8(p + MICRO_OP.U_LEN);
      if (offset !== shown && length > 0) {
        // Of an instruction that goes on in another page only what lies in this one.
        const code = bytes.subarray(linear + offset, linear + Math.min(offset + length, 0x1000));
        const text = Array.from(code, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
        lines.push(`  ${hex(at + BigInt(offset))}  ${text}`);
        shown = offset;
      }
      lines.push(`      ${microOp(data, p)}`);
    }
  }
  lines.push('function');
  for (const line of wasmText(bytes.slice(body, body + bodyBytes))) lines.push(`  ${line}`);
  return lines.join('\n');
}
