import { beforeEach, describe, expect, test } from 'vitest';
import { IntcMachine, randomSource } from './intc-support.ts';

const IRQ8 = 0x28;
const SECONDS = 0;
const SECONDS_ALARM = 1;
const MINUTES = 2;
const MINUTES_ALARM = 3;
const HOURS = 4;
const HOURS_ALARM = 5;
const WEEKDAY = 6;
const DAY = 7;
const MONTH = 8;
const YEAR = 9;
const A = 10;
const B = 11;
const C = 12;
const D = 13;
const CENTURY = 0x32;
const SET = 0x80;
const PIE = 0x40;
const AIE = 0x20;
const UIE = 0x10;
const BINARY = 4;
const H24 = 2;

let m: IntcMachine;

function read(register: number): number {
  m.out(0x70, register);
  return m.in(0x71);
}

function write(register: number, value: number): void {
  m.out(0x70, register);
  m.out(0x71, value);
}

/** The clock as an ISO string, whatever its format. */
function clock(): string {
  const b = read(B);
  const decode = (value: number): number => (b & BINARY ? value : (value >> 4) * 10 + (value & 15));
  const hourRegister = read(HOURS);
  const hour = b & H24 ? decode(hourRegister) : (decode(hourRegister & 0x7f) % 12) + (hourRegister & 0x80 ? 12 : 0);
  const two = (value: number): string => String(value).padStart(2, '0');
  const date = `${two(decode(read(CENTURY)))}${two(decode(read(YEAR)))}-${two(decode(read(MONTH)))}-${two(decode(read(DAY)))}`;
  return `${date}T${two(hour)}:${two(decode(read(MINUTES)))}:${two(decode(read(SECONDS)))}`;
}

function startAt(iso: string): void {
  m = IntcMachine.create({ wallSeconds: Date.parse(`${iso}Z`) / 1000 });
  m.initPics();
}

function interrupted(): boolean {
  const vector = m.take();
  if (vector === -1) return false;
  expect(vector).toBe(IRQ8);
  m.out(0xa0, 0x20);
  m.out(0x20, 0x20);
  return true;
}

beforeEach(() => startAt('2024-02-28T23:59:50'));

describe('RTC', () => {
  test('reset state', () => {
    expect(read(A) & 0x7f).toBe(0x20);
    expect(read(B)).toBe(H24);
    expect(read(C)).toBe(0);
    expect(read(D)).toBe(0x80);
    expect(m.in(0x70)).toBe(0xff);
    expect(clock()).toBe('2024-02-28T23:59:50');
  });

  test('time runs, through leap days and centuries', () => {
    m.nowNs = 10e9;
    expect(clock()).toBe('2024-02-29T00:00:00');
    expect(read(WEEKDAY)).toBe(5);
    m.nowNs += 86_400e9;
    expect(clock()).toBe('2024-03-01T00:00:00');
    startAt('1999-12-31T23:59:59');
    m.nowNs = 1e9;
    expect(clock()).toBe('2000-01-01T00:00:00');
    expect(read(CENTURY)).toBe(0x20);
    startAt('2100-02-28T23:59:59');
    m.nowNs = 1e9;
    expect(clock()).toBe('2100-03-01T00:00:00');
  });

  test('every day of 400 years is what Date says', () => {
    const start = Date.UTC(1970, 0, 1);
    write(B, H24 | BINARY);
    for (let day = 0; day < 146_097; day += 13) {
      const date = new Date(start + day * 86_400_000);
      m.nowNs = 0;
      write(B, SET | H24 | BINARY);
      write(CENTURY, Math.floor(date.getUTCFullYear() / 100));
      write(YEAR, date.getUTCFullYear() % 100);
      write(MONTH, date.getUTCMonth() + 1);
      write(DAY, date.getUTCDate());
      write(B, H24 | BINARY);
      m.nowNs = 86_400e9;
      const next = new Date(date.getTime() + 86_400_000);
      const shown = [read(CENTURY) * 100 + read(YEAR), read(MONTH), read(DAY), read(WEEKDAY)];
      const wanted = [next.getUTCFullYear(), next.getUTCMonth() + 1, next.getUTCDate(), next.getUTCDay() + 1];
      expect(shown).toEqual(wanted);
    }
  });

  test('a fractional start keeps its phase', () => {
    m = IntcMachine.create({ wallSeconds: 1_700_000_000.75 });
    const before = read(SECONDS);
    m.nowNs = 249_000_000;
    expect(read(SECONDS)).toBe(before);
    m.nowNs = 251_000_000;
    expect(read(SECONDS)).not.toBe(before);
  });

  test('BCD and binary, 12 and 24 hours', () => {
    expect(read(HOURS)).toBe(0x23);
    write(B, 0);
    expect(read(HOURS)).toBe(0x91);
    write(B, BINARY);
    expect(read(HOURS)).toBe(0x8b);
    expect(read(SECONDS)).toBe(50);
    m.nowNs = 10e9;
    expect(read(HOURS)).toBe(12);
    m.nowNs += 12 * 3600e9;
    expect(read(HOURS)).toBe(0x8c);
    expect(clock()).toBe('2024-02-29T12:00:00');
  });

  test('setting: SET stops the clock; the fields take effect when it clears', () => {
    write(B, SET | H24);
    m.nowNs = 30e9;
    expect(clock()).toBe('2024-02-28T23:59:50');
    write(CENTURY, 0x19);
    write(YEAR, 0x85);
    write(MONTH, 0x10);
    write(DAY, 0x26);
    write(HOURS, 0x01);
    write(MINUTES, 0x21);
    write(SECONDS, 0x00);
    write(B, H24);
    expect(clock()).toBe('1985-10-26T01:21:00');
    m.nowNs += 61e9;
    expect(clock()).toBe('1985-10-26T01:22:01');
    // A field written while the clock runs counts at once.
    write(HOURS, 0x12);
    expect(clock()).toBe('1985-10-26T12:22:01');
    // Nonsense becomes the nearest date.
    write(MONTH, 0x55);
    expect(clock()).toBe('1985-12-26T12:22:01');
    m.core.platformReset();
    expect(clock()).toBe('1985-12-26T12:22:01');
  });

  test("Linux's way of setting starts the first second half way", () => {
    write(B, SET | H24);
    write(A, 0x70);
    write(SECONDS, 0x30);
    write(B, H24);
    m.nowNs = 5e9;
    expect(read(SECONDS)).toBe(0x30);
    write(A, 0x26);
    m.nowNs += 499_999_000;
    expect(read(SECONDS)).toBe(0x30);
    m.nowNs += 2000;
    expect(read(SECONDS)).toBe(0x31);
  });

  test('UIP shows 244 us before an update, not while SET', () => {
    m.nowNs = 1e9 - 250_000;
    expect(read(A) & 0x80).toBe(0);
    m.nowNs = 1e9 - 200_000;
    expect(read(A) & 0x80).toBe(0x80);
    write(B, SET | H24);
    expect(read(A) & 0x80).toBe(0);
    write(B, H24);
    m.nowNs = 1e9;
    expect(read(A) & 0x80).toBe(0);
  });

  test('update interrupt each second, again only after C was read', () => {
    write(B, H24 | UIE);
    read(C);
    expect(m.core.platformTimerTick(0)).toBe(1e9);
    m.nowNs = 1e9;
    expect(m.core.platformTimerTick(m.nowNs)).toBe(Infinity);
    expect(interrupted()).toBe(true);
    m.nowNs = 2e9;
    m.core.platformTimerTick(m.nowNs);
    expect(interrupted()).toBe(false);
    expect(read(C)).toBe(0x90);
    expect(read(C)).toBe(0);
    expect(m.core.platformTimerTick(m.nowNs)).toBe(3e9);
    m.nowNs = 3e9;
    m.core.platformTimerTick(m.nowNs);
    expect(interrupted()).toBe(true);
  });

  test.each([
    [6, 1024],
    [15, 2],
    [3, 8192],
    [1, 256],
    [2, 128],
  ])('periodic interrupt: rate %i is %i Hz', (rate, hertz) => {
    write(A, 0x20 | rate);
    write(B, H24 | PIE);
    let deadline = m.core.platformTimerTick(0);
    let interrupts = 0;
    while (deadline <= 2e9) {
      m.nowNs = deadline;
      m.core.platformTimerTick(deadline);
      if (interrupted()) interrupts++;
      read(C);
      deadline = m.core.platformTimerTick(deadline);
    }
    expect(interrupts).toBe(2 * hertz);
  });

  test('rate 0 and a stopped divider have no periodic interrupt', () => {
    write(A, 0x20);
    write(B, H24 | PIE);
    expect(m.core.platformTimerTick(0)).toBe(Infinity);
    write(A, 0x76);
    expect(m.core.platformTimerTick(0)).toBe(Infinity);
  });

  test('alarm at a time, then a day later', () => {
    write(SECONDS_ALARM, 0x05);
    write(MINUTES_ALARM, 0x00);
    write(HOURS_ALARM, 0x00);
    write(B, H24 | AIE);
    expect(m.core.platformTimerTick(0)).toBe(15e9);
    m.nowNs = 15e9;
    m.core.platformTimerTick(m.nowNs);
    expect(interrupted()).toBe(true);
    expect(read(C)).toBe(0xb0);
    expect(m.core.platformTimerTick(m.nowNs)).toBe(15e9 + 86_400e9);
  });

  test('alarm wildcards: every minute, every second', () => {
    write(SECONDS_ALARM, 0x30);
    write(MINUTES_ALARM, 0xc0);
    write(HOURS_ALARM, 0xff);
    write(B, H24 | AIE);
    expect(m.core.platformTimerTick(0)).toBe(40e9);
    write(SECONDS_ALARM, 0xc0);
    expect(m.core.platformTimerTick(0)).toBe(1e9);
    // An hour that never comes.
    write(HOURS_ALARM, 0x25);
    expect(m.core.platformTimerTick(0)).toBe(Infinity);
  });

  test('alarm in 12-hour mode and in binary', () => {
    write(B, AIE | BINARY);
    write(SECONDS_ALARM, 0);
    write(MINUTES_ALARM, 30);
    write(HOURS_ALARM, 0x80 | 1);
    expect(m.core.platformTimerTick(0)).toBe((10 + 13.5 * 3600) * 1e9);
  });

  test('an alarm that passed unobserved shows its flag', () => {
    write(SECONDS_ALARM, 0x00);
    write(MINUTES_ALARM, 0x00);
    write(HOURS_ALARM, 0x12);
    read(C);
    m.nowNs = 3600e9;
    expect(read(C) & 0x20).toBe(0);
    m.nowNs = 24 * 3600e9;
    expect(read(C) & 0x20).toBe(0x20);
    expect(m.take()).toBe(-1);
    // Enabling an interrupt whose flag is up raises it.
    m.nowNs += 1e9;
    m.core.platformTimerTick(m.nowNs);
    write(B, H24 | UIE);
    expect(interrupted()).toBe(true);
  });

  test('RAM is kept over resets; presets do not reach the clock', () => {
    write(0x0f, 0xa5);
    write(0x7f, 0x5a);
    m.core.setCmos(0x34, 0x80);
    m.core.setCmos(B, 0xff);
    m.core.setCmos(CENTURY, 0x99);
    m.core.setCmos(0x1000, 0x99);
    m.core.platformReset();
    expect([read(0x0f), read(0x7f), read(0x34), m.core.cmos(0x34)]).toEqual([0xa5, 0x5a, 0x80, 0x80]);
    expect(read(B)).toBe(H24);
    expect(clock()).toBe('2024-02-28T23:59:50');
    m.out(0x70, 0x8f);
    expect(m.in(0x71)).toBe(0xa5);
  });

  test('PM timer: 3,579,545 Hz, 32 bits, by dword or byte', () => {
    m.nowNs = 1e9;
    expect(m.in(0x408, 4)).toBe(3_579_545);
    expect(m.in(0x409, 1)).toBe((3_579_545 >> 8) & 0xff);
    expect(m.in(0x40a, 2)).toBe(3_579_545 >> 16);
    m.out(0x408, 0, 4);
    m.nowNs = 1200e9;
    expect(m.in(0x408, 4)).toBe((1200 * 3_579_545) % 2 ** 32);
    expect(m.core.pmTimerValue() >>> 0).toBe((1200 * 3_579_545) % 2 ** 32);
  });

  test('10^6 random accesses neither trap nor hang', () => {
    const random = randomSource(0x146818);
    for (let i = 0; i < 1_000_000; i++) {
      const r = random();
      switch ((r >>> 8) & 3) {
        case 0:
          m.out(0x70, (r >>> 16) & (r & 1 ? 0xff : 0x0f));
          break;
        case 1:
          m.out(0x71, r >>> 16);
          break;
        case 2:
          m.in(0x71);
          m.nowNs += (r >>> 12) * ((r & 0xff) === 0 ? 1e9 : 1);
          break;
        default:
          if (m.core.platformTimerTick(m.nowNs) <= m.nowNs) throw new Error('deadline in the past');
      }
    }
    write(B, SET | H24);
    write(A, 0x26);
    write(SECONDS, 0x12);
    write(B, H24);
    expect(read(SECONDS)).toBe(0x12);
  });
});
