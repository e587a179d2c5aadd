import { beforeEach, describe, expect, test } from 'vitest';
import { IntcMachine, randomSource } from './intc-support.ts';
import { CFGF_LPC, PEND_INTR } from '../../core-as/layout.ts';

const BASE = 0xfed00000n;
const GENERAL_CONFIGURATION = 0x10;
const INTERRUPT_STATUS = 0x20;
const MAIN_COUNTER = 0xf0;
const ENABLE = 1;
const LEGACY = 2;
const TN_LEVEL = 2;
const TN_ENABLE = 4;
const TN_PERIODIC = 8;
const TN_VALUE_SET = 0x40;
const TN_FSB = 0x4000;

let m: IntcMachine;

const config = (n: number): number => 0x100 + n * 0x20;
const comparator = (n: number): number => 0x108 + n * 0x20;
const pin = (n: number): number => n << 9;

function read(offset: number, size = 4): number {
  return Number(m.core.mmioRead(BASE + BigInt(offset), size));
}

function write(offset: number, value: number, size = 4): void {
  m.core.mmioWrite(BASE + BigInt(offset), size, BigInt(value));
}

beforeEach(() => {
  m = IntcMachine.create();
  m.enableApics();
  for (let n = 20; n < 24; n++) m.route(n, 0x80 + n);
});

describe('HPET', () => {
  test('identification', () => {
    expect(read(0)).toBe(0x80860701);
    expect(read(4)).toBe(0x05f5e100);
    expect(m.core.mmioRead(BASE, 8)).toBe(0x05f5e10080860701n);
    expect(m.core.mmioRead(BASE + 2n, 2)).toBe(0x8086n);
    for (let n = 0; n < 8; n++) {
      expect(read(config(n)) & 0x8010).toBe(0x8010);
      expect(read(config(n) + 4)).toBe(0x00f00000);
      expect(read(comparator(n))).toBe(0xffffffff);
    }
  });

  test('without CFGF_HPET there is none', () => {
    const bare = IntcMachine.create({ flags: CFGF_LPC });
    expect(bare.core.mmioClaimed(BASE)).toBe(0);
    expect(bare.core.mmioRead(BASE, 4)).toBe(0xffffffffn);
    expect(m.core.mmioClaimed(BASE + 0x3ffn)).toBe(1);
    expect(m.core.mmioClaimed(BASE + 0x400n)).toBe(0);
  });

  test('the counter counts 100 ns while enabled, stops, and can be set', () => {
    m.nowNs = 5000;
    expect(read(MAIN_COUNTER)).toBe(0);
    write(GENERAL_CONFIGURATION, ENABLE);
    m.nowNs = 15_000;
    expect(read(MAIN_COUNTER)).toBe(100);
    write(GENERAL_CONFIGURATION, 0);
    m.nowNs = 50_000;
    expect(read(MAIN_COUNTER)).toBe(100);
    write(MAIN_COUNTER, 0xfffffff0, 8);
    write(GENERAL_CONFIGURATION, ENABLE);
    m.nowNs += 3200;
    expect(read(MAIN_COUNTER)).toBe(0x10);
    expect(read(MAIN_COUNTER + 4)).toBe(0);
  });

  test('one-shot: at the comparator, and once more after a wrap', () => {
    write(GENERAL_CONFIGURATION, ENABLE);
    write(config(2), TN_ENABLE | pin(21));
    write(comparator(2), 1000);
    expect(m.core.platformTimerTick(0)).toBe(100_000);
    m.core.platformTimerTick(99_999);
    expect(m.take()).toBe(-1);
    const next = m.core.platformTimerTick(100_000);
    expect(m.take()).toBe(0x80 + 21);
    expect(next).toBe((1000 + 2 ** 32) * 100);
  });

  test('periodic: value set, then period; exact for ten seconds; catches up with one', () => {
    write(GENERAL_CONFIGURATION, ENABLE);
    write(config(3), TN_ENABLE | TN_PERIODIC | TN_VALUE_SET | pin(22));
    write(comparator(3), 5000);
    expect(read(config(3)) & TN_VALUE_SET).toBe(0);
    write(comparator(3), 10_000);
    expect(read(comparator(3))).toBe(5000);
    let deadline = m.core.platformTimerTick(0);
    expect(deadline).toBe(500_000);
    let interrupts = 0;
    while (deadline <= 10e9) {
      m.nowNs = deadline;
      deadline = m.core.platformTimerTick(deadline);
      if (m.take() === 0x80 + 22) interrupts++;
      m.eoi();
    }
    expect(interrupts).toBe(Math.floor((1e8 - 5000) / 10_000) + 1);
    m.nowNs = 7200e9;
    deadline = m.core.platformTimerTick(m.nowNs);
    expect(m.take()).toBe(0x80 + 22);
    m.eoi();
    m.core.platformTimerTick(m.nowNs);
    expect(m.take()).toBe(-1);
    expect((deadline / 100 - 5000) % 10_000).toBe(0);
    expect(read(comparator(3))).toBe((deadline / 100) % 2 ** 32);
  });

  test('level-triggered: status bit and pin until software clears the bit', () => {
    m.route(23, 0x97 | 0x8000);
    write(GENERAL_CONFIGURATION, ENABLE);
    write(config(4), TN_ENABLE | TN_LEVEL | pin(23));
    write(comparator(4), 10);
    m.nowNs = 1000;
    m.core.platformTimerTick(m.nowNs);
    expect(read(INTERRUPT_STATUS)).toBe(1 << 4);
    expect(m.take()).toBe(0x97);
    m.eoi();
    expect(m.take()).toBe(0x97);
    write(INTERRUPT_STATUS, 1 << 4);
    m.eoi();
    expect(m.take()).toBe(-1);
    expect(read(INTERRUPT_STATUS)).toBe(0);
  });

  test("a level shares its pin with a device's", () => {
    m.route(20, 0x97 | 0x8000);
    write(GENERAL_CONFIGURATION, ENABLE);
    write(config(4), TN_ENABLE | TN_LEVEL | pin(20));
    write(comparator(4), 10);
    m.core.setIoApicPin(20, 1);
    m.core.platformTimerTick(1000);
    expect(m.take()).toBe(0x97);
    m.core.setIoApicPin(20, 0);
    m.eoi();
    expect(m.take()).toBe(0x97);
    write(INTERRUPT_STATUS, 0xff);
    m.eoi();
    expect(m.take()).toBe(-1);
  });

  test('FSB messages', () => {
    write(GENERAL_CONFIGURATION, ENABLE);
    write(config(5) + 0x14, 0xfee01000);
    write(config(5) + 0x10, 0x5a);
    write(config(5), TN_ENABLE | TN_FSB);
    write(comparator(5), 10);
    m.core.platformTimerTick(1000);
    expect([m.take(0), m.take(1)]).toEqual([-1, 0x5a]);
  });

  test('pins outside 20-23 cannot be chosen', () => {
    write(config(0), pin(19));
    expect(read(config(0)) & 0x3e00).toBe(0);
    write(config(0), pin(20));
    expect(read(config(0)) & 0x3e00).toBe(pin(20));
  });

  test('LegacyReplacement takes IRQ 0 from the PIT and IRQ 8 from the RTC', () => {
    m.route(2, 0x30);
    m.route(8, 0x38);
    m.out(0x43, 0x34);
    m.out(0x40, 0);
    m.out(0x40, 1);
    write(GENERAL_CONFIGURATION, ENABLE | LEGACY);
    m.nowNs = 1e9;
    m.core.platformTimerTick(m.nowNs);
    expect(m.take()).toBe(-1);
    write(config(0), TN_ENABLE);
    write(comparator(0), read(MAIN_COUNTER) + 10);
    write(config(1), TN_ENABLE);
    write(comparator(1), read(MAIN_COUNTER) + 10);
    m.nowNs += 1000;
    m.core.platformTimerTick(m.nowNs);
    expect(m.take()).toBe(0x38);
    m.eoi();
    expect(m.take()).toBe(0x30);
    m.eoi();
    write(GENERAL_CONFIGURATION, ENABLE);
    m.nowNs += 1e9;
    m.core.platformTimerTick(m.nowNs);
    expect(m.take()).toBe(0x30);
  });

  test('no interrupt while the timer or the counter is off', () => {
    write(config(2), TN_ENABLE | pin(21));
    write(comparator(2), 1000);
    expect(m.core.platformTimerTick(1e9)).toBe(Infinity);
    write(config(2), pin(21));
    write(GENERAL_CONFIGURATION, ENABLE);
    expect(m.core.platformTimerTick(2e9)).toBe(Infinity);
    m.nowNs = 2e9;
    m.takePending(0);
    write(config(2), TN_ENABLE | pin(21));
    expect(m.takePending(0)).toBe(PEND_INTR);
    expect(m.take()).toBe(-1);
  });

  test('10^6 random accesses neither trap nor hang', () => {
    const random = randomSource(0x4e7);
    for (let i = 0; i < 1_000_000; i++) {
      const r = random();
      const offset = BigInt((r >>> 20) & 3 ? 0x100 + ((r >>> 22) & 0xfc) : (r >>> 22) & 0xff);
      switch ((r >>> 8) & 3) {
        case 0:
          m.core.mmioWrite(BASE + offset, r & 1 ? 4 : 8, BigInt(random() >>> (r & 31)));
          break;
        case 1:
          m.core.mmioRead(BASE + offset, 1 << (r & 3));
          break;
        case 2:
          m.nowNs += (r >>> 12) * ((r & 0xff) === 0 ? 1e6 : 1);
          break;
        default:
          if (m.core.platformTimerTick(m.nowNs) <= m.nowNs) throw new Error('deadline in the past');
      }
    }
    m.core.platformReset();
    expect(read(MAIN_COUNTER)).toBe(0);
    expect(m.core.platformTimerTick(m.nowNs)).toBe(Infinity);
  });
});
