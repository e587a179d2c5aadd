/**
 * The SIMD table, and what the SIMD unit does by itself that the recorded vectors (vectors-simd-*.test.ts) do not show: elements that fault,
 * modes other than 64-bit, hostile arguments.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { R_CR0, R_CR3, R_MXCSR, R_YMM, VCPU } from '../../core-as/layout.ts';
import {
  SIMD_ALIGNED,
  SIMD_ALIGNED_VEX,
  SIMD_FEATURE_AVX,
  SIMD_FEATURE_AVX2,
  SIMD_FEATURE_MASK,
  SIMD_FEATURE_SHIFT,
  SIMD_FEATURE_SSE,
  SIMD_NO_MODRM,
  SIMD_NO_VVVV,
  SIMD_RAISES_XM,
  SIMD_SIZE_4,
  SIMD_SIZE_8,
  SIMD_SIZE_VECTOR,
  SIMD_USES_VEX,
  SIMD_VSIB,
} from '../../core-as/simd/descriptor.ts';
import { type SimdForm, operationOf, simdForms, sizeCodeOf } from '../vectors/wide/simd-forms.ts';
import { ALL_ADDRESSES, MEMORY_ADDRESS, OPERAND, type Simd, loadSimd } from './simd-unit.ts';

let simd: Simd;
let forms: SimdForm[];

beforeAll(async () => {
  simd = await loadSimd();
  forms = simdForms(simd.describe);
}, 120_000);

const featureOf = (descriptor: number): number => (descriptor >>> SIMD_FEATURE_SHIFT) & SIMD_FEATURE_MASK;

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
    const has = (descriptor: number, bits: number): boolean => (descriptor & bits) === bits;
    // ADDPS xmm, m128: full vector, 16-byte aligned, SSE, may raise #XM.
    const addps = simd.describe(1, 0, 0x58, 0, 0, 0, 0);
    expect(sizeCodeOf(addps)).toBe(SIMD_SIZE_VECTOR);
    expect(has(addps, SIMD_ALIGNED | SIMD_RAISES_XM)).toBe(true);
    expect(featureOf(addps)).toBe(SIMD_FEATURE_SSE);
    // VPADDD ymm belongs to AVX2, its xmm form to AVX; neither needs alignment.
    const vpaddd = simd.describe(1, 1, 0xfe, 0, 1, 1, 0);
    expect(featureOf(vpaddd)).toBe(SIMD_FEATURE_AVX2);
    expect([has(vpaddd, SIMD_USES_VEX), has(vpaddd, SIMD_ALIGNED)]).toEqual([true, false]);
    expect(featureOf(simd.describe(1, 1, 0xfe, 0, 1, 0, 0))).toBe(SIMD_FEATURE_AVX);
    // VMOVAPS keeps its alignment and forbids vvvv.
    expect(has(simd.describe(1, 0, 0x28, 0, 1, 1, 0), SIMD_ALIGNED_VEX | SIMD_NO_VVVV)).toBe(true);
    // MOVQ xmm, m64 and MOVD xmm, m32.
    expect(sizeCodeOf(simd.describe(1, 1, 0x6e, 0, 0, 0, 1))).toBe(SIMD_SIZE_8);
    expect(sizeCodeOf(simd.describe(1, 1, 0x6e, 0, 0, 0, 0))).toBe(SIMD_SIZE_4);
    expect(has(simd.describe(1, 0, 0x77, 0, 0, 0, 0), SIMD_NO_MODRM)).toBe(true);
    expect(has(simd.describe(2, 1, 0x90, 0x04, 1, 0, 0), SIMD_VSIB)).toBe(true);
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
