/**
 * Replays recorded x87 vectors (format: tests/core/vectors/x87/generate.c) on the core's x87, only through what it
 * exports: state goes in by FRSTOR and comes out by FNSAVE, as it did on the processor that the vectors were recorded
 * on.
 */
import { VCPU } from '../../core-as/layout.ts';

/** Exports of tests/core/x87.entry.ts. */
export interface X87 {
  x87Reset(cpu: number): void;
  x87InitXsave(cpu: number): void;
  x87OperandBytes(opcode: number, reg: number, operandSize16: boolean): number;
  x87IsWaiting(opcode: number, modrm: number): number;
  x87IsControl(opcode: number, modrm: number): number;
  x87StoresAx(opcode: number, modrm: number): number;
  x87UsesFlags(opcode: number, modrm: number): number;
  x87PendingException(cpu: number): number;
  x87StatusWord(cpu: number): number;
  x87NoteInstruction(cpu: number, fop: number, ip: bigint, cs: number): void;
  x87NoteData(cpu: number, address: bigint, ds: number): void;
  x87Memory(
    cpu: number,
    opcode: number,
    reg: number,
    buffer: number,
    operandSize16: boolean,
    realMode: boolean,
  ): number;
  x87Register(cpu: number, opcode: number, modrm: number): number;
  x87RegisterFlags(cpu: number, opcode: number, modrm: number, rflags: number): number;
  fxsaveX87(cpu: number, buffer: number, rexW: boolean): void;
  fxrstorX87(cpu: number, buffer: number, rexW: boolean): void;
  mmxRegister(cpu: number, n: number): number;
  mmxBegin(cpu: number): void;
  mmxWritten(cpu: number, n: number): void;
  emms(cpu: number): void;
}

export interface Mismatch {
  index: number;
  what: string;
  text: string;
}

export interface ReplayOutcome {
  vectors: number;
  mismatches: Mismatch[];
  /** Results of transcendental instructions that are one unit in the last place off the recorded ones. */
  oneUlp: number;
  transcendental: number;
}

/** Pointers that generate.c loads with every state. */
const POINTERS = [0x12345678, 0x05a10023, 0x9abcdef0, 0x0000002b] as const;

const MEMORY_FORM = 1;
const OPERAND_SIZE_16 = 2;
const STORES = 4;

const hex = (value: number | bigint, digits: number): string => value.toString(16).padStart(digits, '0');

function isTranscendental(opcode: number, modrm: number): boolean {
  return opcode === 0xd9 && [0xf0, 0xf1, 0xf2, 0xf3, 0xf9, 0xfb, 0xfe, 0xff].includes(modrm);
}

/** Units in the last place between two register images of the same sign; Infinity for different signs or NaNs. */
function ulpDistance(view: DataView, a: number, b: number): number {
  const aTop = view.getUint16(a + 8, true);
  const bTop = view.getUint16(b + 8, true);
  if ((aTop ^ bTop) & 0x8000) return Infinity;
  const scale = (top: number, sig: bigint): bigint => (BigInt(Math.max(top & 0x7fff, 1)) << 63n) + (sig - (1n << 63n));
  const distance = scale(aTop, view.getBigUint64(a, true)) - scale(bTop, view.getBigUint64(b, true));
  return Math.abs(Number(distance));
}

/** Replays all records; stops collecting mismatches at `limit`. */
export function replayVectors(x87: X87, memory: WebAssembly.Memory, data: Uint8Array, limit = 20): ReplayOutcome {
  const cpu = VCPU;
  const imageAt = VCPU + 0x100000;
  const operandAt = imageAt + 0x1000;
  const bytes = new Uint8Array(memory.buffer);
  const view = new DataView(memory.buffer);
  const input = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const outcome: ReplayOutcome = { vectors: 0, mismatches: [], oneUlp: 0, transcendental: 0 };
  let at = 0;
  const u8 = (): number => input.getUint8(at++);
  const u16 = (): number => {
    at += 2;
    return input.getUint16(at - 2, true);
  };
  // A third copy of the register file, for recorded outcomes, lies behind the images.
  const expectedAt = operandAt + 0x1000;
  const registerText = (address: number): string =>
    `${hex(view.getUint16(address + 8, true), 4)}:${hex(view.getBigUint64(address, true), 16)}`;

  while (at < data.length) {
    const opcode = u8();
    const modrm = u8();
    const flags = u8();
    const valid = u8();
    const fcw = u16();
    const fsw = u16();
    const rflags = u8();
    const memoryBytes = u8();
    const given = u8();
    const top = (fsw >> 11) & 7;

    // FRSTOR image.
    bytes.fill(0, imageAt, imageAt + 108);
    view.setUint16(imageAt, fcw, true);
    view.setUint16(imageAt + 4, fsw, true);
    let tags = 0;
    for (let n = 0; n < 8; n++) if (((valid >> n) & 1) === 0) tags |= 3 << (2 * n);
    view.setUint16(imageAt + 8, tags, true);
    POINTERS.forEach((value, n) => view.setUint32(imageAt + 12 + 4 * n, value, true));
    for (let i = 0; i < 8; i++) {
      const address = imageAt + 28 + 10 * i;
      if ((given >> i) & 1) {
        bytes.set(data.subarray(at, at + 10), address);
        at += 10;
      } else {
        const n = (top + i) & 7;
        view.setBigUint64(
          address,
          BigInt.asUintN(64, 0x8000000000000000n | (BigInt(n + 1) * 0x0123456789abcdefn)),
          true,
        );
        view.setUint16(address + 8, 0x3fff + n, true);
      }
    }
    const before = bytes.slice(imageAt + 28, imageAt + 108);
    const operand = data.subarray(at, at + memoryBytes);
    at += memoryBytes;
    bytes.fill(0xa5, operandAt, operandAt + 512);
    bytes.set(operand, operandAt);
    const fcwExpected = u16();
    const fswExpected = u16();
    const validExpected = u8();
    const rflagsExpected = u8();
    const changed = u8();
    for (let n = 0; n < 8; n++) {
      if ((changed >> n) & 1) {
        bytes.set(data.subarray(at, at + 10), expectedAt + 10 * n);
        at += 10;
      } else bytes.set(before.subarray(10 * ((n - top) & 7), 10 * ((n - top) & 7) + 10), expectedAt + 10 * n);
    }
    let memoryExpected: Uint8Array | undefined;
    if (flags & STORES) {
      memoryExpected = data.subarray(at, at + memoryBytes);
      at += memoryBytes;
    }

    x87.x87Memory(cpu, 0xdd, 4, imageAt, false, false);
    let rflagsOut = rflags;
    let result = 0;
    const operandSize16 = (flags & OPERAND_SIZE_16) !== 0;
    if (opcode === 0x0f) {
      if (flags & STORES) x87.fxsaveX87(cpu, operandAt, false);
      else x87.fxrstorX87(cpu, operandAt, false);
    } else if (flags & MEMORY_FORM) {
      result = x87.x87Memory(cpu, opcode, (modrm >> 3) & 7, operandAt, operandSize16, false);
    } else if (x87.x87UsesFlags(opcode, modrm)) {
      rflagsOut = x87.x87RegisterFlags(cpu, opcode, modrm, rflags);
    } else result = x87.x87Register(cpu, opcode, modrm);
    if (result === 1) bytes.set(operand, operandAt); // forbidden to store: what the buffer holds does not matter
    x87.x87Memory(cpu, 0xdd, 6, imageAt, false, false);

    const fcwOut = view.getUint16(imageAt, true);
    let fswOut = view.getUint16(imageAt + 4, true);
    const tagsOut = view.getUint16(imageAt + 8, true);
    let validOut = 0;
    for (let n = 0; n < 8; n++) if (((tagsOut >> (2 * n)) & 3) !== 3) validOut |= 1 << n;
    const topOut = (fswOut >> 11) & 7;
    const transcendental = isTranscendental(opcode, modrm);
    if (transcendental) outcome.transcendental++;
    const problems: string[] = [];
    if (result > 1) problems.push(`result ${result}`);
    let near = false;
    for (let n = 0; n < 8; n++) {
      const address = imageAt + 28 + 10 * ((n - topOut) & 7);
      const expected = expectedAt + 10 * n;
      let equal = true;
      for (let b = 0; b < 10; b++) if (bytes[address + b] !== bytes[expected + b]) equal = false;
      if (equal) continue;
      if (transcendental && ulpDistance(view, address, expected) === 1) near = true;
      else problems.push(`R${n} ${registerText(address)} not ${registerText(expected)}`);
    }
    if (near) outcome.oneUlp++;
    let fswMask = 0xffff;
    // Whether an inexact transcendental result was rounded up is not comparable beyond the result itself.
    if (transcendental && (fswExpected & 0x20) !== 0) fswMask &= ~0x200;
    // The SDM says that the FCOMI family clears C1; the AMD processor of the recording leaves it.
    if (x87.x87UsesFlags(opcode, modrm) && ((modrm >> 3) & 7) >= 4) fswMask &= ~0x200;
    fswOut &= fswMask;
    if (fswOut !== (fswExpected & fswMask)) problems.push(`FSW ${hex(fswOut, 4)} not ${hex(fswExpected & fswMask, 4)}`);
    if (fcwOut !== fcwExpected) problems.push(`FCW ${hex(fcwOut, 4)} not ${hex(fcwExpected, 4)}`);
    if (validOut !== validExpected) problems.push(`valid ${hex(validOut, 2)} not ${hex(validExpected, 2)}`);
    if (rflagsOut !== rflagsExpected) problems.push(`RFLAGS ${hex(rflagsOut, 2)} not ${hex(rflagsExpected, 2)}`);
    if (memoryExpected) {
      const out = bytes.slice(operandAt, operandAt + memoryBytes);
      // AMD processors store pointers in FXSAVE images only while an exception is pending; MXCSR is the caller's.
      if (opcode === 0x0f) out.set(memoryExpected.subarray(6, 32), 6);
      const differs = memoryExpected.findIndex((value, n) => value !== out[n]);
      if (differs >= 0) {
        const text = (b: Uint8Array): string => Array.from(b, (value) => hex(value, 2)).join('');
        problems.push(`memory[${differs}] ${text(out)} not ${text(memoryExpected)}`);
      }
    }
    if (problems.length > 0 && outcome.mismatches.length < limit) {
      const st = (i: number): string => {
        const v = new DataView(before.buffer, before.byteOffset + 10 * i, 10);
        return `${hex(v.getUint16(8, true), 4)}:${hex(v.getBigUint64(0, true), 16)}`;
      };
      const where = flags & MEMORY_FORM ? `/${(modrm >> 3) & 7}` : hex(modrm, 2);
      const other = flags & MEMORY_FORM || opcode === 0xd9 ? 1 : modrm & 7;
      outcome.mismatches.push({
        index: outcome.vectors,
        what: `${hex(opcode, 2)} ${where}`,
        text:
          `${hex(opcode, 2)} ${where} fcw ${hex(fcw, 4)} fsw ${hex(fsw, 4)} valid ${hex(valid, 2)} ST0 ${st(0)} ST${other} ${st(other)}` +
          (memoryBytes ? ` mem ${Array.from(operand, (value) => hex(value, 2)).join('')}` : '') +
          `: ${problems.join('; ')}`,
      });
    }
    outcome.vectors++;
  }
  return outcome;
}
