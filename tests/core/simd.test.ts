/**
 * The SIMD unit against what a processor did: vectors.bin (vectors/simd/record.ts) holds the recorded results, the operands are
 * made again from the same seeds. A form of the table without vectors fails.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { beforeAll, describe, expect, it } from 'vitest';
import { R_CR0, R_CR3, R_MXCSR, R_YMM, VCPU } from '../../core-as/layout';
import {
  type Form,
  MEMORY_ADDRESS,
  NO_MODRM,
  STATE,
  VSIB,
  enumerateForms,
  formKey,
  formName,
  makeCase,
  operationOf,
  sizeCodeOf,
} from './vectors/simd/forms';
import { ALL_ADDRESSES, OPERAND, type Simd, executeForm, loadSimd, loadState, saveState } from './vectors/simd/machine';

let simd: Simd;
let forms: Form[];
/** Form key to the offset of its cases in `recorded`. */
const offsets = new Map<number, number>();
let recorded: DataView;

beforeAll(async () => {
  simd = await loadSimd();
  forms = enumerateForms(simd.describe);
  const bytes = gunzipSync(readFileSync(new URL('vectors/simd/vectors.bin', import.meta.url)));
  recorded = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < bytes.length;) {
    offsets.set(recorded.getUint32(at, true), at + 4);
    let cases = recorded.getUint8(at + 4);
    for (at += 5; cases > 0; cases--) at += 2 + recorded.getUint8(at + 1) * 9;
  }
}, 120_000);

/** RCPxx and RSQRTxx: the architecture bounds their error and leaves the bits open. */
const isEstimate = (form: Form): boolean => {
  const operation = operationOf(form.descriptor);
  return operation >= 0x164 && operation <= 0x167;
};

/** Two estimates are each within 1.5 * 2^-12 of the true value. */
function estimatesAgree(a: DataView, b: DataView, at: number): boolean {
  for (let i = at; i < at + 8; i += 4) {
    if (a.getUint32(i, true) === b.getUint32(i, true)) continue;
    const x = a.getFloat32(i, true);
    const y = b.getFloat32(i, true);
    // Results about the smallest normal number may be flushed by one and not by the other.
    if (Math.abs(x) < 2 ** -125 && Math.abs(y) < 2 ** -125 && Object.is(Math.sign(x) < 0, Math.sign(y) < 0)) continue;
    if (!(Math.abs(x - y) <= Math.abs(y) * 3 * 2 ** -12)) return false;
  }
  return true;
}

function wordName(word: number): string {
  if (word < 64) return `YMM${word >> 2}[${word & 3}]`;
  if (word < 80) return `GPR${word - 64}`;
  if (word < 88) return `MM${word - 80}`;
  if (word < 96) return `memory[${word - 88}]`;
  return word === 96 ? 'RFLAGS:MXCSR' : word === 97 ? 'x87 tags and TOP' : 'x87 exponents';
}

/** Replays all recorded cases of a form; describes the first that differs. */
function replay(form: Form): string | null {
  let at = offsets.get(formKey(form));
  if (at === undefined) return `${formName(form)}: no vectors`;
  const record = new Uint8Array(STATE.size);
  const cases = recorded.getUint8(at++);
  for (let number = 0; number < cases; number++) {
    const operands = makeCase(form, number, record);
    loadState(simd, record);
    const status = executeForm(simd, form, operands);
    const after = saveState(simd, record);
    const expected = record.slice();
    const expectedStatus = recorded.getUint8(at);
    const changes = recorded.getUint8(at + 1);
    at += 2;
    for (let i = 0; i < changes; i++, at += 9) {
      const word = recorded.getUint8(at) * 8;
      for (let byte = 0; byte < 8; byte++) expected[word + byte] = recorded.getUint8(at + 1 + byte);
    }
    const where = `${formName(form)} case ${number} ${JSON.stringify(operands)}`;
    if (status !== expectedStatus) return `${where}: status ${status}, expected ${expectedStatus}`;
    const got = new DataView(after.buffer);
    const want = new DataView(expected.buffer);
    for (let word = 0; word < STATE.words; word++) {
      const value = got.getBigUint64(word * 8, true);
      if (value === want.getBigUint64(word * 8, true)) continue;
      if (isEstimate(form) && word < 64 && estimatesAgree(got, want, word * 8)) continue;
      const hex = [value, want.getBigUint64(word * 8, true)].map((v) => v.toString(16).padStart(16, '0'));
      return `${where}: ${wordName(word)} is ${hex[0]}, expected ${hex[1]}`;
    }
  }
  return null;
}

function replayAll(select: (form: Form) => boolean): string[] {
  const selected = forms.filter(select);
  expect(selected.length).toBeGreaterThan(50);
  return selected.map(replay).filter((failure): failure is string => failure !== null);
}

describe('recorded results', () => {
  for (const map of [1, 2, 3]) {
    it(`match for legacy encodings of map ${map}`, () => {
      expect(replayAll((form) => form.map === map && !form.vex)).toEqual([]);
    });
    it(`match for VEX encodings of map ${map}`, () => {
      expect(replayAll((form) => form.map === map && form.vex === 1)).toEqual([]);
    });
  }
});

describe('the table', () => {
  it('is sorted by opcode and prefix, so that the binary search finds every row', () => {
    for (const map of [1, 2, 3]) {
      let previous = 0n;
      let rows = 0;
      for (let row = simd.tableRow(map, 0); row; row = simd.tableRow(map, ++rows)) {
        const key = (row >> 32n) & 0xfffn;
        expect(key).toBeGreaterThanOrEqual(previous);
        previous = key;
      }
      expect(rows).toBeGreaterThan(40);
    }
  });

  it('has every row reached by some encoding', () => {
    for (const map of [1, 2, 3]) {
      for (let index = 0, row = simd.tableRow(map, 0); row; row = simd.tableRow(map, ++index)) {
        const opcode = Number((row >> 36n) & 0xffn);
        const prefix = Number((row >> 32n) & 15n);
        const operation = Number(row & 0x3ffn);
        const found = forms.some(
          (form) =>
            form.map === map &&
            form.opcode === opcode &&
            form.prefix === prefix &&
            operationOf(form.descriptor) === operation,
        );
        expect(found, `map ${map} opcode ${opcode.toString(16)} prefix ${prefix}`).toBe(true);
      }
    }
  });

  it('answers 0 for what is not SIMD', () => {
    expect(simd.describe(1, 0, 0xa2, 0, 0, 0, 0)).toBe(0);
    expect(simd.describe(2, 0, 0xf0, 0, 0, 0, 0)).toBe(0);
    expect(simd.describe(3, 3, 0xf0, 0xc0, 1, 0, 0)).toBe(0);
    expect(simd.describe(0, 0, 0x58, 0xc0, 0, 0, 0)).toBe(0);
    expect(simd.describe(4, 0, 0x58, 0xc0, 0, 0, 0)).toBe(0);
  });

  it('gives the fields of a descriptor', () => {
    // ADDPS xmm, m128: full vector, 16-byte aligned, SSE, may raise #XM.
    const addps = simd.describe(1, 0, 0x58, 0, 0, 0, 0);
    expect(sizeCodeOf(addps)).toBe(7);
    expect((addps >>> 15) & 1).toBe(1);
    expect((addps >>> 20) & 31).toBe(1);
    expect((addps >>> 29) & 1).toBe(1);
    // VPADDD ymm belongs to AVX2, its xmm form to AVX; neither needs alignment.
    const vpaddd = simd.describe(1, 1, 0xfe, 0, 1, 1, 0);
    expect([(vpaddd >>> 20) & 31, (vpaddd >>> 19) & 1, (vpaddd >>> 15) & 1]).toEqual([13, 1, 0]);
    expect((simd.describe(1, 1, 0xfe, 0, 1, 0, 0) >>> 20) & 31).toBe(12);
    // VMOVAPS keeps its alignment and forbids vvvv.
    const vmovaps = simd.describe(1, 0, 0x28, 0, 1, 1, 0);
    expect([(vmovaps >>> 25) & 1, (vmovaps >>> 28) & 1]).toEqual([1, 1]);
    // MOVQ xmm, m64 and MOVD xmm, m32.
    expect(sizeCodeOf(simd.describe(1, 1, 0x6e, 0, 0, 0, 1))).toBe(4);
    expect(sizeCodeOf(simd.describe(1, 1, 0x6e, 0, 0, 0, 0))).toBe(3);
    expect(simd.describe(1, 0, 0x77, 0, 0, 0, 0) & NO_MODRM).toBe(NO_MODRM);
    expect(simd.describe(2, 1, 0x90, 0x04, 1, 0, 0) & VSIB).toBe(VSIB);
  });
});

describe('elements that fault', () => {
  const PAGE_DIRECTORY = 0x1000;
  const PAGE_TABLE = 0x2000;
  const chunk = OPERAND - (MEMORY_ADDRESS & 0x1fffff);
  const ymm = (n: number): number => VCPU + R_YMM + n * 32;

  /** 32-bit paging that maps one page, at 0x10000000. */
  function mapOnePage(): void {
    const physical = MEMORY_ADDRESS & ~0x1fffff;
    simd.bytes.fill(0, chunk + PAGE_DIRECTORY, chunk + PAGE_TABLE + 0x1000);
    simd.view.setUint32(chunk + PAGE_DIRECTORY + (physical >>> 22) * 4, (physical + PAGE_TABLE) | 7, true);
    simd.view.setUint32(chunk + PAGE_TABLE, physical | 7, true);
    simd.view.setBigUint64(VCPU + R_CR3, BigInt(physical + PAGE_DIRECTORY), true);
    simd.view.setBigUint64(VCPU + R_CR0, 0x80000001n, true);
    simd.updateMode();
    simd.flushAll();
    simd.clearFault();
  }

  function restore(): void {
    simd.view.setBigUint64(VCPU + R_CR0, 0n, true);
    simd.updateMode();
    simd.flushAll();
    simd.clearFault();
  }

  const operation = (opcode: number, w: number): number => operationOf(simd.describe(2, 1, opcode, 0x04, 1, 0, w));

  it('leave a gather resumable: elements before the fault are done and their masks clear', () => {
    mapOnePage();
    const base = BigInt(MEMORY_ADDRESS & ~0xfff);
    simd.view.setUint32(chunk + 0x10, 0x11223344, true);
    simd.bytes.fill(0xee, ymm(1), ymm(1) + 32);
    simd.bytes.fill(0xff, ymm(3), ymm(3) + 32);
    [0x10, 0x10, 0x1000, 0x10].forEach((index, i) => simd.view.setInt32(ymm(2) + i * 4, index, true));
    const status = simd.executeSpecial(VCPU, operation(0x90, 0), 1, 0xff, 3, 9, base, 2, 1, 0, ALL_ADDRESSES);
    restore();
    expect(status).toBe(4);
    const dwords = (n: number): number[] => [0, 4, 8, 12].map((at) => simd.view.getUint32(ymm(n) + at, true));
    expect(dwords(1)).toEqual([0x11223344, 0x11223344, 0xeeeeeeee, 0xeeeeeeee]);
    expect(dwords(3)).toEqual([0, 0, 0xffffffff, 0xffffffff]);
  });

  it('do not count when masked off', () => {
    mapOnePage();
    const address = BigInt((MEMORY_ADDRESS & ~0xfff) + 0xff8);
    simd.bytes.fill(0, ymm(3), ymm(3) + 32);
    simd.view.setInt32(ymm(3) + 4, -1, true);
    simd.view.setUint32(chunk + 0xffc, 0xcafe, true);
    const load = simd.executeSpecial(VCPU, operation(0x2c, 0), 1, 0xff, 3, 11, address, 0, 0, 0, ALL_ADDRESSES);
    expect(load).toBe(0);
    expect(simd.view.getUint32(ymm(1) + 4, true)).toBe(0xcafe);
    expect(simd.view.getBigUint64(ymm(1) + 8, true)).toBe(0n);
    simd.view.setInt32(ymm(3) + 8, -1, true);
    const faulting = simd.executeSpecial(VCPU, operation(0x2c, 0), 1, 0xff, 3, 11, address, 0, 0, 0, ALL_ADDRESSES);
    restore();
    expect(faulting).toBe(4);
    expect(simd.view.getUint32(ymm(1) + 4, true)).toBe(0xcafe);
  });

  it('gathers with equal registers are undefined', () => {
    for (const [reg, vvvv, index] of [
      [1, 1, 2],
      [1, 2, 1],
      [2, 1, 1],
    ] as const) {
      expect(simd.executeSpecial(VCPU, operation(0x90, 0), reg, 0xff, vvvv, 9, 0n, index, 1, 0, ALL_ADDRESSES)).toBe(2);
    }
  });
});

describe('outside 64-bit mode', () => {
  it('VZEROALL clears eight registers', () => {
    simd.bytes.fill(0x77, VCPU + R_YMM, VCPU + R_YMM + 512);
    const vzero = operationOf(simd.describe(1, 0, 0x77, 0, 1, 1, 0));
    expect(simd.execute(VCPU, vzero, 0, 0, 0, 0, 3, 0)).toBe(0);
    expect(simd.bytes.subarray(VCPU + R_YMM, VCPU + R_YMM + 256).every((byte) => byte === 0)).toBe(true);
    expect(simd.bytes.subarray(VCPU + R_YMM + 256, VCPU + R_YMM + 512).every((byte) => byte === 0x77)).toBe(true);
  });

  it('bit 7 of a blend register selector is ignored', () => {
    for (let n = 0; n < 16; n++) simd.bytes.fill(n, VCPU + R_YMM + n * 32, VCPU + R_YMM + n * 32 + 32);
    simd.bytes.fill(0xff, VCPU + R_YMM + 3 * 32, VCPU + R_YMM + 4 * 32);
    const blend = operationOf(simd.describe(3, 1, 0x4c, 0xc0, 1, 0, 0));
    simd.execute(VCPU, blend, 0, 2, 1, 0xb0, 1, 0);
    expect(simd.view.getUint8(VCPU + R_YMM)).toBe(2);
    simd.execute(VCPU, blend, 0, 2, 1, 0xb0, 9, 0);
    expect(simd.view.getUint8(VCPU + R_YMM)).toBe(1);
  });
});

describe('hostile arguments', () => {
  it('every operation id answers without trapping and keeps to the vCPU', () => {
    const guard = VCPU + 0x4000;
    simd.bytes.fill(0x5a, guard, guard + 64);
    for (let operation = 0; operation < 1024; operation++) {
      for (const flags of [0, 1, 3, 7, 15]) {
        simd.view.setUint32(VCPU + R_MXCSR, 0x1f80, true);
        const status = simd.execute(VCPU, operation, 15, 15, 15, 0xff, flags, OPERAND);
        expect(status).toBeGreaterThanOrEqual(0);
        expect(status).toBeLessThanOrEqual(4);
      }
    }
    expect(simd.bytes.subarray(guard, guard + 64).every((byte) => byte === 0x5a)).toBe(true);
  });
});
