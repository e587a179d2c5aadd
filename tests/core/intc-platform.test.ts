import { describe, expect, test } from 'vitest';
import { IntcMachine, LAPIC_DIVIDE, LAPIC_INITIAL_COUNT, LAPIC_LVT_TIMER, randomSource } from './intc-support.ts';
import * as L from '../../core-as/layout.ts';

const FLAGS = L.CFGF_LPC | L.CFGF_HPET;

describe('doors', () => {
  test('exactly the in-core ports are claimed', () => {
    const m = IntcMachine.create();
    const expected = new Set([0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1, 0x40, 0x41, 0x42, 0x43, 0x61, 0x70, 0x71]);
    for (let i = 0; i < 4; i++) expected.add(0x408 + i);
    for (const com of [0x3f8, 0x2f8, 0x3e8, 0x2e8]) for (let i = 0; i < 8; i++) expected.add(com + i);
    const claimed = new Set<number>();
    for (let port = 0; port < 0x10000; port++) if (m.core.portClaimed(port)) claimed.add(port);
    expect(claimed).toEqual(expected);
  });

  test('wide port accesses are bytes at successive ports', () => {
    const m = IntcMachine.create();
    m.initPics();
    m.out(0x20, 0xaa0b, 2);
    expect(m.in(0x21)).toBe(0xaa);
    expect(m.in(0x20, 2)).toBe(0xaa00);
    expect(m.in(0x21, 4)).toBe(0xffffffaa);
    m.out(0x70, 0x5a10, 2);
    expect(m.core.cmos(0x10)).toBe(0x5a);
  });

  test('the lock is free after everything', () => {
    const m = IntcMachine.create();
    const random = randomSource(1);
    for (let i = 0; i < 1_000_000; i++) {
      const r = random();
      m.core.portRead(r & 0x7ff, 1 << ((r >>> 16) % 3));
      m.core.portWrite((r >>> 11) & 0x7ff, 1 << ((r >>> 22) % 3), random());
      if (m.view.getInt32(L.INTC_LOCK, true) !== 0) throw new Error('lock is held');
    }
    expect(m.view.getInt32(L.INTC_LOCK, true)).toBe(0);
  });

  test('nothing is written outside the blocks that belong to it', () => {
    const m = IntcMachine.create({ cpus: 2 });
    const random = randomSource(2);
    const mark = 0xc3;
    const guards: [number, number][] = [
      [L.SHARED + 0x98, L.PIC],
      [L.PMTIMER + L.PMTIMER_SIZE, L.UART],
      [L.UART + L.UART_COUNT * L.UART_STRIDE, L.UART_RINGS],
      [L.UART_RINGS + 16 * L.UART_RING_SIZE, L.CHUNKS],
      [m.block(0) + 0x4b8, m.block(0) + L.R_LAPIC],
      [m.block(0) + L.R_LAPIC + L.R_LAPIC_SIZE, m.block(0) + L.R_PENDING],
      [m.block(1) + L.R_DOORBELL + 4, m.block(1) + L.VCPU_STRIDE],
    ];
    for (const [from, to] of guards) m.bytes.fill(mark, from, to);
    for (let i = 0; i < 1_000_000; i++) {
      const r = random();
      switch (r % 7) {
        case 0:
          m.core.portWrite((r >>> 8) & 0x7ff, 1, random());
          break;
        case 1:
          m.core.portRead((r >>> 8) & 0x7ff, 1);
          break;
        case 2:
          m.core.mmioWrite(0xfec00000n + BigInt((r >>> 8) & 1) * 0x10n, 4, BigInt(random()));
          break;
        case 3:
          m.core.mmioWrite(0xfed00000n + BigInt((r >>> 8) & 0x3fc), 8, BigInt(random()));
          break;
        case 4:
          m.setApic((r >>> 8) & 1, (r >>> 16) & 0xff0, random());
          break;
        case 5:
          m.core.interruptAcknowledge((r >>> 8) & 1);
          break;
        default:
          m.nowNs += r >>> 8;
          m.core.platformTimerTick(m.nowNs);
          m.core.cpuTimerTick((r >>> 8) & 1, m.nowNs);
      }
    }
    for (const [from, to] of guards) {
      expect(m.bytes.subarray(from, to).findIndex((byte) => byte !== mark)).toBe(-1);
    }
  });
});

/** Everything that a guest can see happen in a second: vectors with their times, and register values. */
function history(m: IntcMachine): (number | bigint)[] {
  const seen: (number | bigint)[] = [];
  const end = m.nowNs + 1.2e9;
  while (m.nowNs < end) {
    m.nowNs = Math.min(end, m.core.platformTimerTick(m.nowNs), m.core.cpuTimerTick(0, m.nowNs));
    m.core.platformTimerTick(m.nowNs);
    m.core.cpuTimerTick(0, m.nowNs);
    for (let vector = m.take(); vector >= 0; vector = m.take()) {
      seen.push(m.nowNs, vector);
      // The level-triggered HPET timer holds its pin until its status is cleared.
      m.core.mmioWrite(0xfed00020n, 4, 0xffn);
      m.eoi();
      if (seen.length > 100_000) throw new Error('interrupt storm');
      m.out(0xa0, 0x20);
      m.out(0x20, 0x20);
      m.out(0x70, 0x0c);
      seen.push(m.in(0x71));
    }
  }
  for (const port of [0x20, 0x21, 0x40, 0x40, 0x42, 0x61, 0x71, 0x3f8, 0x3fa, 0x3fd, 0x3fe]) seen.push(m.in(port));
  for (let offset = 0; offset < 0x400; offset += 4) seen.push(m.core.mmioRead(0xfed00000n + BigInt(offset), 4));
  for (let register = 0; register < 0x40; register++) seen.push(m.ioApic(register));
  for (let offset = 0x20; offset < 0x3f0; offset += 16) seen.push(m.apic(0, offset));
  return seen;
}

describe('save and restore', () => {
  test('a machine goes on from a copy of its blocks as if nothing had happened', () => {
    const m = IntcMachine.create({ flags: FLAGS });
    m.initPics();
    m.enableApics();
    m.nowNs = 123_456_789;
    // PIT at 1 kHz through the I/O APIC, channel 2 running, RTC at 64 Hz with updates, two HPET timers, APIC timer.
    m.route(2, 0x60);
    m.route(8, 0x68);
    m.route(21, 0x71);
    m.route(22, 0x8072);
    m.out(0x43, 0x34);
    m.out(0x40, 0xa9);
    m.out(0x40, 0x04);
    m.out(0x61, 1);
    m.out(0x43, 0xb6);
    m.out(0x42, 0x34);
    m.out(0x42, 0x12);
    m.out(0x70, 0x0a);
    m.out(0x71, 0x2a);
    m.out(0x70, 0x0b);
    m.out(0x71, 0x52);
    const hpet = (offset: number, value: number): void =>
      m.core.mmioWrite(0xfed00000n + BigInt(offset), 4, BigInt(value));
    hpet(0x10, 1);
    hpet(0x140, 0x4c | (21 << 9));
    hpet(0x148, 33_333);
    hpet(0x160, 0x06 | (22 << 9));
    hpet(0x168, 5_000_000);
    m.setApic(0, LAPIC_DIVIDE, 3);
    m.setApic(0, LAPIC_LVT_TIMER, 0x200e0);
    m.setApic(0, LAPIC_INITIAL_COUNT, 54_321);
    m.out(0x3fa, 1);
    m.out(0x3fc, 0x10);
    m.out(0x3f8, 0x55);
    m.nowNs += 77_777_777;
    m.core.platformTimerTick(m.nowNs);
    const saved = m.save();
    const first = history(m);
    expect(first.length).toBeGreaterThan(3000);

    const other = IntcMachine.create({ flags: FLAGS, wallSeconds: 1 });
    other.restore(saved);
    expect(history(other)).toEqual(first);
    m.restore(saved);
    expect(history(m)).toEqual(first);
  });

  test('machine time moved by an offset gives the same history', () => {
    const m = IntcMachine.create({ flags: FLAGS });
    m.initPics();
    m.out(0x43, 0x34);
    m.out(0x40, 0);
    m.out(0x40, 0x10);
    m.nowNs = 5e9;
    m.core.platformTimerTick(m.nowNs);
    const saved = m.save();
    const other = IntcMachine.create({ flags: FLAGS });
    other.restore(saved);
    other.view.setFloat64(L.CFG_TIME_OFFSET_NS, 5e9, true);
    other.nowNs = 0;
    m.nowNs += 1_000_000;
    other.nowNs += 1_000_000;
    expect(other.in(0x40)).toBe(m.in(0x40));
    expect(other.in(0x408, 4)).toBe(m.in(0x408, 4));
  });
});
