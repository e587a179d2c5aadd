import { beforeEach, describe, expect, test } from 'vitest';
import {
  APIC_PAGE,
  IntcMachine,
  LAPIC_CURRENT_COUNT,
  LAPIC_DFR,
  LAPIC_DIVIDE,
  LAPIC_ESR,
  LAPIC_ICR_HIGH,
  LAPIC_ICR_LOW,
  LAPIC_ID,
  LAPIC_INITIAL_COUNT,
  LAPIC_LDR,
  LAPIC_LVT_ERROR,
  LAPIC_LVT_LINT0,
  LAPIC_LVT_TIMER,
  LAPIC_PPR,
  LAPIC_SVR,
  LAPIC_TPR,
  randomSource,
} from './intc-support.ts';
import * as L from '../../core-as/layout.ts';

const CRYSTAL_HZ = 134_217_728;
const TSC_HZ = 15 * CRYSTAL_HZ;
const X2 = L.CFGF_LPC | L.CFGF_X2APIC;

let m: IntcMachine;

beforeEach(() => {
  m = IntcMachine.create({ cpus: 3 });
  m.enableApics();
  for (let cpu = 0; cpu < 3; cpu++) m.takePending(cpu);
});

function ipi(from: number, low: number, destination = 0): void {
  m.setApic(from, LAPIC_ICR_HIGH, destination << 24);
  m.setApic(from, LAPIC_ICR_LOW, low);
}

function sipi(cpu: number): number {
  return m.view.getUint32(m.block(cpu) + L.R_SIPI, true);
}

/** Earliest nanosecond at which the crystal has made this many ticks. */
function crystalNs(ticks: number): number {
  return Math.ceil((ticks * 1e9) / CRYSTAL_HZ);
}

describe('local APIC', () => {
  test('reset state', () => {
    m = IntcMachine.create();
    expect(m.core.lapicMsrRead(0, 0x1b)).toBe(0xfee00900n);
    expect(m.core.lapicMsrRead(1, 0x1b)).toBe(0xfee00800n);
    expect(m.apic(1, LAPIC_ID)).toBe(0x01000000);
    expect(m.apic(0, 0x30)).toBe(0x00060010);
    expect(m.apic(0, LAPIC_DFR)).toBe(0xffffffff);
    expect(m.apic(0, LAPIC_SVR)).toBe(0xff);
    for (const lvt of [0x2f0, 0x320, 0x330, 0x340, 0x350, 0x360, 0x370]) expect(m.apic(0, lvt)).toBe(0x10000);
    expect(m.core.lapicClaims(0, APIC_PAGE)).toBe(1);
    expect(m.core.lapicClaims(0, APIC_PAGE + 0x1000n)).toBe(0);
  });

  test('vectors are taken by priority and nest by class', () => {
    ipi(0, 0x41 | 0x40000);
    ipi(0, 0x62 | 0x40000);
    ipi(0, 0x65 | 0x40000);
    expect(m.takePending(0)).toBe(L.PEND_INTR);
    expect(m.take()).toBe(0x65);
    expect(m.apic(0, LAPIC_PPR)).toBe(0x60);
    // Same class: waits.
    expect(m.take()).toBe(-1);
    ipi(0, 0x70 | 0x40000);
    expect(m.take()).toBe(0x70);
    expect(m.apic(0, 0x100 + 0x30)).toBe((1 << 0x05) | (1 << 0x10));
    m.eoi();
    m.takePending(0);
    m.eoi();
    expect(m.takePending(0)).toBe(L.PEND_INTR);
    expect(m.take()).toBe(0x62);
    m.eoi();
    expect(m.apic(0, 0x220)).toBe(1 << 1);
    expect(m.take()).toBe(0x41);
    m.eoi();
    expect(m.take()).toBe(-1);
  });

  test('TPR and CR8 hold back a class and everything below', () => {
    m.core.lapicSetTpr(0, 5);
    expect(m.apic(0, LAPIC_TPR)).toBe(0x50);
    ipi(0, 0x55 | 0x40000);
    expect(m.take()).toBe(-1);
    m.takePending(0);
    m.setApic(0, LAPIC_TPR, 0x4f);
    expect(m.takePending(0)).toBe(L.PEND_INTR);
    expect(m.core.lapicTpr(0)).toBe(4);
    expect(m.apic(0, LAPIC_PPR)).toBe(0x4f);
    expect(m.take()).toBe(0x55);
    expect(m.apic(0, LAPIC_PPR)).toBe(0x50);
  });

  test('IPIs: physical, logical, shorthands', () => {
    ipi(0, 0x41, 1);
    expect([0, 1, 2].map((cpu) => m.take(cpu))).toEqual([-1, 0x41, -1]);
    [1, 2, 4].forEach((bit, cpu) => m.setApic(cpu, LAPIC_LDR, bit << 24));
    ipi(0, 0x52 | 0x800, 6);
    expect([0, 1, 2].map((cpu) => m.take(cpu))).toEqual([-1, 0x52, 0x52]);
    ipi(1, 0x63 | 0x80000);
    expect([0, 1, 2].map((cpu) => m.take(cpu))).toEqual([0x63, 0x63, 0x63]);
    ipi(1, 0x74 | 0xc0000);
    expect([0, 1, 2].map((cpu) => m.take(cpu))).toEqual([0x74, -1, 0x74]);
    ipi(1, 0x85 | 0x40000);
    expect([0, 1, 2].map((cpu) => m.take(cpu))).toEqual([-1, 0x85, -1]);
    ipi(1, 0x96, 0xff);
    expect([0, 1, 2].map((cpu) => m.take(cpu))).toEqual([0x96, 0x96, 0x96]);
    expect(m.apic(1, LAPIC_ICR_HIGH)).toBe(0xff000000);
    expect(m.apic(1, LAPIC_ICR_LOW)).toBe(0x96);
  });

  test('two NMIs wait for the next instruction, one while a handler runs', () => {
    const nmi = (): void => m.core.raiseNmi(1);
    for (let n = 0; n < 3; n++) nmi();
    expect(m.core.acknowledgeNmi(1)).toBe(1);
    expect(m.takePending(1)).toBe(L.PEND_NMI);
    expect([m.core.acknowledgeNmi(1), m.core.acknowledgeNmi(1)]).toEqual([1, 0]);
    expect(m.takePending(1)).toBe(0);
    m.view.setUint32(m.block(1) + L.R_NMI_BLOCKED, 1, true);
    for (let n = 0; n < 3; n++) nmi();
    expect([m.core.acknowledgeNmi(1), m.core.acknowledgeNmi(1)]).toEqual([1, 0]);
  });

  test('INIT, SIPI and NMI', () => {
    for (let cpu = 0; cpu < 3; cpu++) m.takePending(cpu);
    ipi(0, 0xc500, 1);
    expect(m.takePending(1)).toBe(L.PEND_INIT);
    // INIT level de-assert is nothing.
    ipi(0, 0x8500, 1);
    expect(m.takePending(1)).toBe(0);
    ipi(0, 0x69a, 1);
    expect(m.takePending(1)).toBe(L.PEND_SIPI);
    expect(sipi(1)).toBe(0x9b);
    ipi(0, 0xc0400);
    expect([0, 1, 2].map((cpu) => m.takePending(cpu))).toEqual([0, L.PEND_NMI, L.PEND_NMI]);
    // No start-up through self or reserved modes.
    ipi(0, 0x40600);
    ipi(0, 0x300, 1);
    ipi(0, 0x200, 1);
    ipi(0, 0x700, 1);
    expect([0, 1, 2].map((cpu) => m.takePending(cpu))).toEqual([0, 0, 0]);
  });

  test('INIT keeps APICBASE and forgets the rest', () => {
    ipi(0, 0x41, 1);
    m.setApic(1, LAPIC_LDR, 0x02000000);
    m.core.lapicInit(1);
    expect(m.core.lapicMsrRead(1, 0x1b)).toBe(0xfee00800n);
    expect(m.apic(1, LAPIC_SVR)).toBe(0xff);
    expect(m.apic(1, LAPIC_LDR)).toBe(0);
    expect(m.take(1)).toBe(-1);
  });

  test('illegal vectors are reported in ESR and through LVT error', () => {
    m.setApic(0, LAPIC_LVT_ERROR, 0xfe);
    ipi(0, 0x05, 1);
    expect(m.take(1)).toBe(-1);
    expect(m.apic(0, LAPIC_ESR)).toBe(0);
    m.setApic(0, LAPIC_ESR, 0);
    expect(m.apic(0, LAPIC_ESR)).toBe(0x20);
    expect(m.take()).toBe(0xfe);
    m.core.sendMsi(0xfee00000, 0, 0x0f);
    m.setApic(0, LAPIC_ESR, 0);
    expect(m.apic(0, LAPIC_ESR)).toBe(0x40);
    m.apic(0, 0x3f0);
    m.setApic(0, LAPIC_ESR, 0);
    expect(m.apic(0, LAPIC_ESR)).toBe(0x80);
    m.setApic(0, LAPIC_ESR, 0);
    expect(m.apic(0, LAPIC_ESR)).toBe(0);
  });

  test('software disable masks the LVTs and refuses fixed interrupts, not NMI', () => {
    m.setApic(0, LAPIC_LVT_LINT0, 0x700);
    m.setApic(0, LAPIC_SVR, 0xff);
    expect(m.apic(0, LAPIC_LVT_LINT0)).toBe(0x10700);
    m.setApic(0, LAPIC_LVT_LINT0, 0x700);
    expect(m.apic(0, LAPIC_LVT_LINT0)).toBe(0x10700);
    m.takePending(0);
    ipi(1, 0x41, 0);
    ipi(1, 0x400, 0);
    expect(m.takePending(0)).toBe(L.PEND_NMI);
  });

  test('register widths and read-only registers', () => {
    m.setApic(0, LAPIC_LVT_TIMER, 0xffffffff);
    expect(m.apic(0, LAPIC_LVT_TIMER)).toBe(0x700ff);
    m.setApic(0, LAPIC_LVT_LINT0, 0xffffffff);
    expect(m.apic(0, LAPIC_LVT_LINT0)).toBe(0x1a7ff);
    m.setApic(0, LAPIC_LVT_ERROR, 0xffffffff);
    expect(m.apic(0, LAPIC_LVT_ERROR)).toBe(0x100ff);
    m.setApic(0, LAPIC_ID, 0);
    m.setApic(1, LAPIC_ID, 0);
    expect(m.apic(1, LAPIC_ID)).toBe(0x01000000);
    m.setApic(0, LAPIC_DFR, 0);
    expect(m.apic(0, LAPIC_DFR)).toBe(0x0fffffff);
    m.core.lapicMmioWrite(0, LAPIC_TPR, 1, 0x30);
    expect(m.apic(0, LAPIC_TPR)).toBe(0);
    expect(m.core.lapicMmioRead(0, 0x31, 1)).toBe(0);
    expect(m.core.lapicMmioRead(0, 0x32, 2)).toBe(0x0006);
  });

  test('APICBASE: the page moves, disabling forgets, reserved bits fault', () => {
    expect(m.core.lapicMsrWrite(0, 0x1b, 0xfed80900n)).toBe(1);
    expect(m.core.lapicClaims(0, APIC_PAGE)).toBe(0);
    expect(m.core.lapicClaims(0, 0xfed80ff0n)).toBe(1);
    expect(m.core.lapicMsrWrite(0, 0x1b, 0xfee00901n)).toBe(0);
    expect(m.core.lapicMsrWrite(0, 0x1b, 0xff00_0000_fee0_0900n)).toBe(0);
    expect(m.core.lapicMsrWrite(0, 0x1b, 0xfee00d00n)).toBe(0);
    m.setApic(0, LAPIC_TPR, 0x20);
    expect(m.core.lapicMsrWrite(0, 0x1b, 0xfee00100n)).toBe(1);
    expect(m.core.lapicClaims(0, APIC_PAGE)).toBe(0);
    expect(m.core.lapicMsrWrite(0, 0x1b, 0xfee00900n)).toBe(1);
    expect(m.apic(0, LAPIC_TPR)).toBe(0);
    expect(m.apic(0, LAPIC_SVR)).toBe(0xff);
  });
});

describe('x2APIC', () => {
  beforeEach(() => {
    m = IntcMachine.create({ cpus: 3, flags: X2 });
    for (let cpu = 0; cpu < 3; cpu++) m.core.lapicMsrWrite(cpu, 0x80f, 0x1ffn);
    for (let cpu = 0; cpu < 3; cpu++) m.takePending(cpu);
  });

  test('identification; the page is off', () => {
    expect(m.core.lapicMsrRead(0, 0x1b)).toBe(0xfee00d00n);
    expect(m.core.lapicMsrRead(2, 0x802)).toBe(2n);
    expect(m.core.lapicMsrRead(2, 0x80d)).toBe(4n);
    expect(m.core.lapicMsrRead(2, 0x803)).toBe(0x60010n);
    expect(m.apic(2, LAPIC_ID)).toBe(0);
    expect(m.core.lapicClaims(2, APIC_PAGE)).toBe(0);
  });

  test('which registers exist', () => {
    const exists = (msr: number, write: number): number => m.core.lapicMsrExists(0, msr, write);
    expect([exists(0x802, 0), exists(0x802, 1)]).toEqual([1, 0]);
    expect([exists(0x80b, 0), exists(0x80b, 1)]).toEqual([0, 1]);
    expect([exists(0x83f, 0), exists(0x83f, 1)]).toEqual([0, 1]);
    expect([exists(0x830, 0), exists(0x830, 1)]).toEqual([1, 1]);
    expect([exists(0x831, 0), exists(0x80e, 0), exists(0x8ff, 0), exists(0x809, 0)]).toEqual([0, 0, 0, 0]);
    expect([exists(0x1b, 1), exists(0x6e0, 1), exists(0x900, 0), exists(0x10, 0)]).toEqual([1, 1, 0, 0]);
  });

  test('IPIs through MSRs: physical, cluster, broadcast, self', () => {
    expect(m.core.lapicMsrWrite(0, 0x830, (1n << 32n) | 0x41n)).toBe(1);
    expect([0, 1, 2].map((cpu) => m.take(cpu))).toEqual([-1, 0x41, -1]);
    m.core.lapicMsrWrite(0, 0x830, (6n << 32n) | 0x852n);
    expect([0, 1, 2].map((cpu) => m.take(cpu))).toEqual([-1, 0x52, 0x52]);
    m.core.lapicMsrWrite(0, 0x830, (0x10006n << 32n) | 0x863n);
    expect([0, 1, 2].map((cpu) => m.take(cpu))).toEqual([-1, -1, -1]);
    m.core.lapicMsrWrite(0, 0x830, (0xffffffffn << 32n) | 0x63n);
    expect([0, 1, 2].map((cpu) => m.take(cpu))).toEqual([0x63, 0x63, 0x63]);
    m.core.lapicMsrWrite(0, 0x83f, 0x74n);
    expect([0, 1, 2].map((cpu) => m.take(cpu))).toEqual([0x74, -1, -1]);
    expect(BigInt.asUintN(64, m.core.lapicMsrRead(0, 0x830))).toBe((0xffffffffn << 32n) | 0x63n);
    expect(m.core.lapicMsrWrite(0, 0x80b, 0n)).toBe(1);
    expect(m.core.lapicMsrWrite(0, 0x80b, 1n)).toBe(0);
  });

  test('reserved bits fault', () => {
    expect(m.core.lapicMsrWrite(0, 0x808, 0x100n)).toBe(0);
    expect(m.core.lapicMsrWrite(0, 0x838, 1n << 32n)).toBe(0);
    expect(m.core.lapicMsrWrite(0, 0x830, 1n << 20n)).toBe(0);
    expect(m.core.lapicMsrWrite(0, 0x83e, 4n)).toBe(0);
    expect(m.core.lapicMsrWrite(0, 0x828, 1n)).toBe(0);
    expect(m.core.lapicMsrWrite(0, 0x832, 0x80000n)).toBe(0);
    expect(m.core.lapicMsrWrite(0, 0x802, 0n)).toBe(0);
    expect(m.core.lapicMsrWrite(0, 0x808, 0x33n)).toBe(1);
    expect(m.core.lapicMsrRead(0, 0x80a)).toBe(0x33n);
  });

  test('mode transitions', () => {
    // Out only by disabling, and not back at once.
    expect(m.core.lapicMsrWrite(0, 0x1b, 0xfee00900n)).toBe(0);
    expect(m.core.lapicMsrWrite(0, 0x1b, 0xfee00500n)).toBe(0);
    expect(m.core.lapicMsrWrite(0, 0x1b, 0xfee00100n)).toBe(1);
    expect(m.core.lapicMsrWrite(0, 0x1b, 0xfee00d00n)).toBe(0);
    expect(m.core.lapicMsrWrite(0, 0x1b, 0xfee00900n)).toBe(1);
    // In xAPIC mode the MSRs do not exist.
    expect(m.core.lapicMsrExists(0, 0x803, 0)).toBe(0);
    expect(m.core.lapicMsrExists(0, 0x808, 1)).toBe(0);
    expect(m.core.lapicMsrWrite(0, 0x808, 0x10n)).toBe(0);
    expect(m.core.lapicMsrWrite(0, 0x1b, 0xfee00d00n)).toBe(1);
    expect(m.core.lapicMsrRead(0, 0x803)).toBe(0x60010n);
  });

  test('I/O APIC and MSI reach x2APICs by number and by logical mask', () => {
    m.route(5, 0x50, 2);
    m.core.pulseIsaIrq(5);
    expect([0, 1, 2].map((cpu) => m.take(cpu))).toEqual([-1, -1, 0x50]);
    m.route(5, 0x61 | 0x800, 3);
    m.core.pulseIsaIrq(5);
    expect([0, 1, 2].map((cpu) => m.take(cpu))).toEqual([0x61, 0x61, -1]);
    m.core.sendMsi(0xfeeff000, 0, 0x72);
    expect([0, 1, 2].map((cpu) => m.take(cpu))).toEqual([0x72, 0x72, 0x72]);
  });
});

describe('APIC timer', () => {
  test.each([
    [0x0, 2],
    [0x1, 4],
    [0x2, 8],
    [0x3, 16],
    [0x8, 32],
    [0x9, 64],
    [0xa, 128],
    [0xb, 1],
  ])('divide configuration %i is %i', (configuration, divider) => {
    m.setApic(0, LAPIC_LVT_TIMER, 0xec);
    m.setApic(0, LAPIC_DIVIDE, configuration);
    m.setApic(0, LAPIC_INITIAL_COUNT, 1_000_000);
    expect(m.apic(0, LAPIC_CURRENT_COUNT)).toBe(1_000_000);
    const due = crystalNs(1_000_000 * divider);
    expect(m.core.cpuTimerTick(0, 0)).toBe(due);
    m.nowNs = crystalNs(400_000 * divider);
    expect(m.apic(0, LAPIC_CURRENT_COUNT)).toBe(600_000);
    m.core.cpuTimerTick(0, due - 1);
    expect(m.take()).toBe(-1);
    m.takePending(0);
    expect(m.core.cpuTimerTick(0, due)).toBe(Infinity);
    expect(m.takePending(0)).toBe(L.PEND_INTR);
    expect(m.take()).toBe(0xec);
    m.nowNs = due;
    expect(m.apic(0, LAPIC_CURRENT_COUNT)).toBe(0);
  });

  test('periodic: exact for a minute, catches up with one interrupt', () => {
    m.setApic(0, LAPIC_DIVIDE, 0xb);
    m.setApic(0, LAPIC_LVT_TIMER, 0x200ec);
    m.setApic(0, LAPIC_INITIAL_COUNT, 1_342_177);
    let deadline = m.core.cpuTimerTick(0, 0);
    let interrupts = 0;
    while (deadline <= 60e9) {
      m.nowNs = deadline;
      deadline = m.core.cpuTimerTick(0, deadline);
      if (m.take() === 0xec) interrupts++;
      m.eoi();
    }
    expect(interrupts).toBe(Math.floor((60 * CRYSTAL_HZ) / 1_342_177));
    m.nowNs = 3600e9;
    deadline = m.core.cpuTimerTick(0, m.nowNs);
    expect(m.take()).toBe(0xec);
    m.eoi();
    m.core.cpuTimerTick(0, m.nowNs);
    expect(m.take()).toBe(-1);
    expect(deadline).toBe(crystalNs((Math.floor((3600 * CRYSTAL_HZ) / 1_342_177) + 1) * 1_342_177));
  });

  test('masked it counts on without interrupting; a past expiry does not fire at unmasking', () => {
    m.setApic(0, LAPIC_LVT_TIMER, 0x100ec);
    m.setApic(0, LAPIC_INITIAL_COUNT, 1000);
    expect(m.core.cpuTimerTick(0, 0)).toBe(Infinity);
    m.nowNs = 1e9;
    m.setApic(0, LAPIC_LVT_TIMER, 0xec);
    expect(m.core.cpuTimerTick(0, m.nowNs)).toBe(Infinity);
    expect(m.take()).toBe(-1);
    m.setApic(0, LAPIC_INITIAL_COUNT, 1000);
    m.setApic(0, LAPIC_INITIAL_COUNT, 0);
    expect(m.core.cpuTimerTick(0, m.nowNs)).toBe(Infinity);
  });

  test('changing the divider keeps the count', () => {
    m.setApic(0, LAPIC_LVT_TIMER, 0xec);
    m.setApic(0, LAPIC_DIVIDE, 0xb);
    m.setApic(0, LAPIC_INITIAL_COUNT, 10_000);
    m.nowNs = crystalNs(4000);
    m.setApic(0, LAPIC_DIVIDE, 0x1);
    expect(m.apic(0, LAPIC_CURRENT_COUNT)).toBe(6000);
    expect(m.core.cpuTimerTick(0, m.nowNs)).toBe(crystalNs(4000 + 24_000));
  });

  test('TSC deadline follows the TSC offset', () => {
    m.setApic(0, LAPIC_LVT_TIMER, 0x400ec);
    m.view.setBigUint64(m.block(0) + L.R_TSC_OFFSET, 1_000_000n, true);
    m.setApic(0, LAPIC_INITIAL_COUNT, 5);
    expect(m.apic(0, LAPIC_INITIAL_COUNT)).toBe(0);
    m.core.lapicMsrWrite(0, 0x6e0, 3_000_000n);
    expect(m.core.lapicMsrRead(0, 0x6e0)).toBe(3_000_000n);
    const dueNs = 2_000_000 / (TSC_HZ / 1e9);
    expect(m.core.cpuTimerTick(0, 0)).toBeCloseTo(dueNs, -1);
    m.core.cpuTimerTick(0, dueNs - 10);
    expect(m.take()).toBe(-1);
    expect(m.core.cpuTimerTick(0, dueNs + 10)).toBe(Infinity);
    expect(m.take()).toBe(0xec);
    m.nowNs = dueNs + 10;
    expect(m.core.lapicMsrRead(0, 0x6e0)).toBe(0n);
    m.eoi();
    // In the past: at once.
    m.core.lapicMsrWrite(0, 0x6e0, 1n);
    expect(m.take()).toBe(0xec);
    m.core.lapicMsrWrite(0, 0x6e0, 0xffff_ffff_ffff_ffffn);
    expect(m.core.cpuTimerTick(0, m.nowNs)).toBe(Infinity);
    // Leaving the mode disarms; outside it the MSR is dead.
    m.setApic(0, LAPIC_LVT_TIMER, 0xec);
    m.core.lapicMsrWrite(0, 0x6e0, 4_000_000n);
    expect(m.core.lapicMsrRead(0, 0x6e0)).toBe(0n);
  });

  test('the shortest period neither hangs nor floods', () => {
    m.setApic(0, LAPIC_DIVIDE, 0xb);
    m.setApic(0, LAPIC_LVT_TIMER, 0x200ec);
    m.setApic(0, LAPIC_INITIAL_COUNT, 1);
    m.nowNs = 1e15;
    expect(m.core.cpuTimerTick(0, m.nowNs)).toBeGreaterThan(m.nowNs);
    expect(m.take()).toBe(0xec);
  });

  test('10^6 random accesses neither trap nor hang', () => {
    for (const flags of [L.CFGF_LPC, X2]) {
      const fuzzed = IntcMachine.create({ cpus: 3, flags });
      const random = randomSource(0xa91c);
      for (let i = 0; i < 500_000; i++) {
        const r = random();
        const cpu = (r & 0xff) % 3;
        const value = random();
        switch ((r >>> 8) & 7) {
          case 0:
          case 1:
            fuzzed.core.lapicMmioWrite(cpu, (r >>> 16) & 0xff0, 4, value);
            break;
          case 2:
            fuzzed.core.lapicMmioRead(cpu, (r >>> 16) & 0xfff, 1 << ((r >>> 28) % 3));
            break;
          case 3:
            fuzzed.core.lapicMsrWrite(cpu, 0x800 + ((r >>> 16) & 0x3f), BigInt(value >>> (r >>> 27)));
            break;
          case 4:
            fuzzed.core.lapicMsrRead(cpu, 0x800 + ((r >>> 16) & 0xff));
            break;
          case 5:
            fuzzed.nowNs += value >>> 12;
            if (fuzzed.core.cpuTimerTick(cpu, fuzzed.nowNs) < fuzzed.nowNs) throw new Error('deadline in the past');
            break;
          case 6:
            if (value & 0xff) fuzzed.core.lapicSetTpr(cpu, value);
            else fuzzed.core.lapicMsrWrite(cpu, value & 256 ? 0x1b : 0x6e0, BigInt(value & 0xd00));
            break;
          default: {
            const vector = fuzzed.core.interruptAcknowledge(cpu);
            if (vector < -1 || vector > 255) throw new Error(`vector ${vector}`);
          }
        }
      }
      fuzzed.core.lapicReset(1);
      expect(fuzzed.core.lapicMsrRead(1, 0x1b) & 0xb00n).toBe(0x800n);
      expect(fuzzed.core.interruptPending(1)).toBe(0);
    }
  });
});
