import { beforeEach, describe, expect, test } from 'vitest';
import { IntcMachine, randomSource } from './intc-support.ts';
import { CFGF_LPC, PEND_INTR } from '../../core-as/layout.ts';

const HZ = 1_193_182;

let m: IntcMachine;

beforeEach(() => {
  m = IntcMachine.create();
  m.initPics();
});

/** Sets the clock to the beginning of a PIT tick. */
function at(tick: number): void {
  m.nowNs = Math.ceil((tick * 1e9) / HZ);
}

function program(channel: number, mode: number, count: number, bcd = 0): void {
  m.out(0x43, (channel << 6) | 0x30 | (mode << 1) | bcd);
  m.out(0x40 + channel, count & 0xff);
  m.out(0x40 + channel, count >> 8);
}

function latched(channel: number): number {
  m.out(0x43, channel << 6);
  const low = m.in(0x40 + channel);
  return low | (m.in(0x40 + channel) << 8);
}

function status(channel: number): number {
  m.out(0x43, 0xe0 | (2 << channel));
  return m.in(0x40 + channel);
}

function out2(): boolean {
  return (m.in(0x61) & 0x20) !== 0;
}

function timerInterrupt(): boolean {
  const vector = m.take();
  if (vector === -1) return false;
  expect(vector).toBe(0x20);
  m.out(0x20, 0x20);
  return true;
}

describe('8254', () => {
  test('mode 0 interrupts once, N + 1 ticks after the count', () => {
    at(100);
    program(0, 0, 50);
    expect(status(0) & 0xc0).toBe(0x40);
    expect(m.core.platformTimerTick(m.nowNs)).toBe(Math.ceil((151 * 1e9) / HZ));
    at(101);
    expect(latched(0)).toBe(50);
    expect(status(0)).toBe(0x30);
    at(111);
    expect(latched(0)).toBe(40);
    at(150);
    m.core.platformTimerTick(m.nowNs);
    expect(timerInterrupt()).toBe(false);
    expect(latched(0)).toBe(1);
    at(151);
    expect(m.core.platformTimerTick(m.nowNs)).toBe(Infinity);
    expect(timerInterrupt()).toBe(true);
    expect(latched(0)).toBe(0);
    expect(status(0)).toBe(0xb0);
    at(152);
    expect(latched(0)).toBe(0xffff);
    at(100_000);
    m.core.platformTimerTick(m.nowNs);
    expect(timerInterrupt()).toBe(false);
  });

  test.each([2, 3])('mode %i interrupts at the rate, without drift, for ten seconds', (mode) => {
    program(0, mode, 11932);
    let interrupts = 0;
    let deadline = m.core.platformTimerTick(0);
    while (deadline <= 10e9) {
      m.nowNs = deadline;
      deadline = m.core.platformTimerTick(deadline);
      if (timerInterrupt()) interrupts++;
    }
    expect(interrupts).toBe(Math.floor((10 * HZ - 1) / 11932));
    expect(deadline).toBe(Math.ceil(((1 + (interrupts + 1) * 11932) * 1e9) / HZ));
  });

  test('missed periods are one interrupt and keep their phase', () => {
    program(0, 2, 1000);
    m.nowNs = 3600e9;
    const deadline = m.core.platformTimerTick(m.nowNs);
    expect(timerInterrupt()).toBe(true);
    m.core.platformTimerTick(m.nowNs);
    expect(timerInterrupt()).toBe(false);
    const tick = Math.floor((deadline * HZ) / 1e9);
    expect((tick - 1) % 1000).toBe(0);
    expect(deadline).toBeGreaterThan(m.nowNs);
  });

  test('count 0 is 65536 and in BCD 10000', () => {
    program(0, 2, 0);
    expect(m.core.platformTimerTick(0)).toBe(Math.ceil((65537 * 1e9) / HZ));
    program(0, 0, 0, 1);
    expect(m.core.platformTimerTick(0)).toBe(Math.ceil((10001 * 1e9) / HZ));
  });

  test('BCD counts read back as decimal digits', () => {
    program(2, 0, 0x1234, 1);
    m.out(0x61, 1);
    at(2);
    const start = latched(2);
    at(37);
    const now = latched(2);
    const digits = (n: number): number => Number(n.toString(16));
    expect(digits(start) - digits(now)).toBe(35);
    expect(status(2) & 1).toBe(1);
  });

  test('a new count in mode 2 starts with the next period', () => {
    program(0, 2, 1000);
    at(501);
    m.out(0x40, 100);
    m.out(0x40, 0);
    expect(status(0) & 0x40).toBe(0x40);
    expect(latched(0)).toBe(500);
    at(1000);
    m.core.platformTimerTick(m.nowNs);
    expect(timerInterrupt()).toBe(false);
    at(1001);
    const deadline = m.core.platformTimerTick(m.nowNs);
    expect(timerInterrupt()).toBe(true);
    expect(deadline).toBe(Math.ceil((1101 * 1e9) / HZ));
    expect(status(0) & 0x40).toBe(0);
  });

  test('read-back latches counts and status of several channels; a second latch changes nothing', () => {
    program(0, 2, 1000);
    program(2, 0, 2000);
    m.out(0x61, 1);
    at(11);
    m.out(0x43, 0xc0 | 0x02 | 0x08);
    at(300);
    m.out(0x43, 0xc0 | 0x02 | 0x08);
    expect(m.in(0x40)).toBe(0xb4);
    expect(m.in(0x40) | (m.in(0x40) << 8)).toBe(990);
    expect(m.in(0x42)).toBe(0x30);
    expect(m.in(0x42) | (m.in(0x42) << 8)).toBe(1990);
    expect(m.in(0x40) | (m.in(0x40) << 8)).toBe(1000 - 299);
  });

  test.each([6, 7])('mode %i counts as mode %i - 4, and reads back as it was written', (mode) => {
    m.out(0x43, 0x30 | (mode << 1));
    m.out(0x40, 100);
    m.out(0x40, 0);
    at(30);
    m.out(0x43, 0xe2);
    expect(m.in(0x40) & 0x3f).toBe(0x30 | (mode << 1));
    const count = m.in(0x40) | (m.in(0x40) << 8);
    m.out(0x43, 0x30 | ((mode - 4) << 1));
    m.out(0x40, 100);
    m.out(0x40, 0);
    at(60);
    expect(m.in(0x40) | (m.in(0x40) << 8)).toBe(count);
  });

  test('low-byte and high-byte access', () => {
    m.out(0x43, 0x14);
    m.out(0x40, 200);
    at(1);
    expect(m.in(0x40)).toBe(200);
    m.out(0x43, 0x24);
    m.out(0x40, 2);
    at(2);
    expect(m.in(0x40)).toBe(2);
    at(3);
    expect(m.in(0x40)).toBe(1);
  });

  test('gate of channel 2 stops and continues mode 0; OUT shows in port 61h', () => {
    program(2, 0, 1000);
    expect(out2()).toBe(false);
    at(500);
    expect(latched(2)).toBe(1000);
    m.out(0x61, 1);
    expect(m.in(0x61) & 0x0f).toBe(1);
    at(800);
    expect(latched(2)).toBe(700);
    m.out(0x61, 0);
    at(5000);
    expect(latched(2)).toBe(700);
    m.out(0x61, 1);
    at(5699);
    expect(out2()).toBe(false);
    at(5700);
    expect(out2()).toBe(true);
  });

  test('modes 1 and 5 wait for the gate, and can be triggered again', () => {
    program(2, 1, 100);
    at(500);
    expect(out2()).toBe(true);
    m.out(0x61, 1);
    at(550);
    expect(out2()).toBe(false);
    m.out(0x61, 0);
    m.out(0x61, 1);
    at(650);
    expect(out2()).toBe(false);
    at(651);
    expect(out2()).toBe(true);
    m.out(0x61, 0);
    program(2, 5, 10);
    at(700);
    expect(out2()).toBe(true);
    m.out(0x61, 1);
    at(710);
    expect(out2()).toBe(true);
    at(711);
    expect(out2()).toBe(false);
    at(712);
    expect(out2()).toBe(true);
  });

  test('mode 3 is a square wave; odd counts are high one tick longer', () => {
    m.out(0x61, 1);
    program(2, 3, 7);
    const wave: number[] = [];
    for (let tick = 1; tick <= 14; tick++) {
      at(tick);
      wave.push(out2() ? 1 : 0);
    }
    expect(wave.join('')).toBe('11110001111000');
    m.out(0x61, 0);
    expect(out2()).toBe(true);
  });

  test('mode 4 strobes for one tick', () => {
    program(0, 4, 20);
    expect(m.core.platformTimerTick(0)).toBe(Math.ceil((22 * 1e9) / HZ));
    at(21);
    expect(status(0) & 0x80).toBe(0);
    at(22);
    expect(status(0) & 0x80).toBe(0x80);
    m.core.platformTimerTick(m.nowNs);
    expect(timerInterrupt()).toBe(true);
  });

  test("Linux's calibration loop sees OUT rise after the programmed time", () => {
    m.out(0x61, (m.in(0x61) & ~0x02) | 0x01);
    m.out(0x43, 0xb0);
    const latch = Math.floor(HZ / 20);
    m.out(0x42, latch & 0xff);
    m.out(0x42, latch >> 8);
    const start = m.nowNs;
    while (!out2()) m.nowNs += 1000;
    expect(m.nowNs - start).toBeGreaterThan(49_998_000);
    expect(m.nowNs - start).toBeLessThan(50_003_000);
  });

  test('the refresh bit toggles every 18 ticks', () => {
    at(17);
    const before = m.in(0x61) & 0x10;
    at(18);
    expect(m.in(0x61) & 0x10).toBe(before ^ 0x10);
  });

  test('an earlier deadline wakes vCPU 0', () => {
    m.core.platformTimerTick(0);
    m.takePending(0);
    program(0, 2, 1000);
    expect(m.takePending(0)).toBe(PEND_INTR);
  });

  test('10^6 random accesses neither trap nor hang', () => {
    const fuzzed = IntcMachine.create({ flags: CFGF_LPC });
    const random = randomSource(0x8254);
    for (let i = 0; i < 1_000_000; i++) {
      const r = random();
      const port = r & 7 ? 0x40 + ((r >>> 3) & 3) : 0x61;
      switch ((r >>> 6) & 3) {
        case 0:
          fuzzed.core.portRead(port, 1);
          break;
        case 1:
          fuzzed.core.portWrite(port, 1, r >>> 16);
          break;
        case 2:
          fuzzed.nowNs += r >>> 12;
          break;
        default:
          if (fuzzed.core.platformTimerTick(fuzzed.nowNs) <= fuzzed.nowNs) throw new Error('deadline in the past');
      }
    }
    m = fuzzed;
    m.initPics();
    program(0, 0, 10);
    m.nowNs += 1e6;
    m.core.platformTimerTick(m.nowNs);
    expect(timerInterrupt()).toBe(true);
  });
});
