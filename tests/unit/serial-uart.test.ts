/** The rule by which the 16550 shows the host's input (core-as/intc/uart.ts): nothing is lost that the guest did not know of. */
import { beforeEach, expect, test } from 'vitest';
import * as L from '../../core-as/layout.ts';
import { IntcMachine, randomSource } from '../core/intc-support.ts';

const COM1 = 0x3f8;
const IER = COM1 + 1;
const IIR = COM1 + 2;
const FCR = COM1 + 2;
const MCR = COM1 + 4;
const LSR = COM1 + 5;

let m: IntcMachine;

function word(offset: number): number {
  return (L.UART + offset) >> 2;
}

function type(text: string): void {
  const head = Atomics.load(m.words, word(L.UART_RX_HEAD)) >>> 0;
  for (let i = 0; i < text.length; i++) {
    m.bytes[L.UART_RINGS + L.UART_RING_SIZE + ((head + i) % L.UART_RING_SIZE)] = text.charCodeAt(i);
  }
  Atomics.store(m.words, word(L.UART_RX_HEAD), (head + text.length) | 0);
  m.core.uartHostEvent(0);
}

/** Everything that LSR announces. */
function readAll(): string {
  let text = '';
  while (m.in(LSR) & 1) text += String.fromCharCode(m.in(COM1));
  return text;
}

/** As Linux opens a port: both FIFOs reset, registers read once, receive interrupt on, then the FIFO switched. */
function openAsLinux(): void {
  m.out(FCR, 0x01);
  m.out(FCR, 0x07);
  m.out(FCR, 0x00);
  for (const register of [LSR, COM1, IIR, COM1 + 6]) m.in(register);
  m.out(IER, 0x05);
  m.out(FCR, 0x01);
  m.out(FCR, 0x81);
}

beforeEach(() => {
  m = IntcMachine.create();
  m.initPics();
  Atomics.store(m.words, word(L.UART_CONNECTED), 1);
  m.core.uartHostEvent(0);
});

test('input waits through a driver that opens the port', () => {
  type('uname -a\npoweroff -f\n');
  expect(m.in(LSR)).toBe(0x60);
  expect(m.in(COM1)).toBe(0);
  openAsLinux();
  expect(readAll()).toBe('uname -a\npoweroff -f\n');
});

test('closing and opening a port loses nothing that was not announced', () => {
  m.out(FCR, 0x01);
  m.out(IER, 0x01);
  type('first second third');
  expect(m.in(COM1)).toBe('f'.charCodeAt(0));
  // Closing: the interrupt is off, the FIFO reset; nobody has looked at LSR or IIR.
  m.out(IER, 0);
  openAsLinux();
  expect(readAll()).toBe('irst second third');
});

test('what LSR announced is dropped by a reset, at most one FIFO of it; IIR announces nothing', () => {
  for (const announce of [LSR, IIR]) {
    m.out(FCR, 0x01);
    m.out(IER, 0x01);
    type('0123456789abcdefREST');
    m.in(announce);
    m.out(FCR, 0x03);
    expect(readAll()).toBe(announce === LSR ? 'REST' : '0123456789abcdefREST');
    m.out(IER, 0);
    m.out(FCR, 0);
  }
});

test('a guest that polls gets input without the interrupt, unless it sends between', () => {
  type('key');
  for (let i = 0; i < 100; i++) {
    for (let poll = 0; poll < 15; poll++) expect(m.in(LSR)).toBe(0x60);
    m.out(COM1, 0x2e);
  }
  for (let poll = 0; poll < 16; poll++) expect(m.in(LSR)).toBe(0x60);
  expect(m.in(LSR)).toBe(0x61);
  // Its echo does not end that; a system that takes over does.
  expect(m.in(COM1)).toBe('k'.charCodeAt(0));
  m.out(COM1, 'k'.charCodeAt(0));
  expect(m.in(COM1)).toBe('e'.charCodeAt(0));
  type('for the system');
  m.out(FCR, 0x01);
  m.out(FCR, 0x07);
  for (let poll = 0; poll < 15; poll++) expect(m.in(LSR)).toBe(0x60);
  m.out(IER, 1);
  // The key that the loader was never told of is the system's.
  expect(readAll()).toBe('yfor the system');
});

test('one byte at a time without FIFOs; loopback sees none of it', () => {
  m.out(MCR, 0x10);
  m.out(IER, 0x01);
  type('ab');
  expect(m.in(LSR) & 1).toBe(0);
  m.out(COM1, 0x4c);
  expect(m.in(COM1)).toBe(0x4c);
  m.out(MCR, 0);
  expect([m.in(COM1), m.in(COM1), m.in(COM1)]).toEqual([0x61, 0x62, 0]);
});

test('a guest that lowers RTS gets no more than the FIFO has until it raises it; one that never raises it is not asked', () => {
  m.out(FCR, 0x01);
  m.out(IER, 0x01);
  type('without RTS, ');
  expect(readAll()).toBe('without RTS, ');
  m.out(MCR, 0x02);
  type('with RTS, and sixteen in the FIFO');
  m.out(MCR, 0x00);
  const before = readAll();
  expect(before.length).toBeLessThanOrEqual(16);
  expect(m.in(IIR) & 1).toBe(1);
  m.out(MCR, 0x02);
  expect(before + readAll()).toBe('with RTS, and sixteen in the FIFO');
  // A system that opens the port anew says again whether it uses RTS.
  m.out(IER, 0);
  m.out(MCR, 0);
  m.out(IER, 1);
  type('again');
  expect(readAll()).toBe('again');
});

test('a reset of the machine keeps what the guest did not take', () => {
  m.out(FCR, 0x01);
  m.out(IER, 0x01);
  type('for the next boot');
  m.core.platformReset();
  openAsLinux();
  expect(readAll()).toBe('for the next boot');
});

test('the host hears of room when half of the ring is free and when all is', () => {
  m.out(FCR, 0x01);
  m.out(IER, 0x01);
  type('x'.repeat(L.UART_RING_SIZE));
  const events = (): number => Atomics.exchange(m.words, L.HOST_UART_EVENTS >> 2, 0);
  events();
  const heard: number[] = [];
  for (let taken = 1; taken <= L.UART_RING_SIZE; taken++) {
    m.in(COM1);
    if (events() & 1) heard.push(taken);
  }
  expect(heard).toEqual([L.UART_RING_SIZE / 2, L.UART_RING_SIZE]);
});

test('random opening, closing and reading: every byte once and in order, but for what resets drop', () => {
  const random = randomSource(0x0550);
  let typed = 0;
  let expected = 0;
  let dropped = 0;
  let received = 0;
  let announced = 0;
  const take = (): void => {
    if (!(m.in(LSR) & 1)) return;
    const byte = m.in(COM1);
    // A drop skips bytes of a FIFO that was announced, never more than sixteen at a reset.
    let skipped = 0;
    while ((expected & 0xff) !== byte) {
      expected++;
      if (++skipped > announced) throw new Error(`byte ${received} is ${byte}`);
    }
    dropped += skipped;
    expected++;
    received++;
    announced = 0;
  };
  for (let i = 0; i < 200_000; i++) {
    const r = random();
    switch ((r >>> 8) & 7) {
      case 0: {
        const room = L.UART_RING_SIZE - (typed - expected) - 64;
        const count = Math.max(0, Math.min(room, (r >>> 16) & 31));
        type(Array.from({ length: count }, () => String.fromCharCode(typed++ & 0xff)).join(''));
        break;
      }
      case 1:
        m.out(IER, (r >>> 16) & 3 ? 1 : 0);
        break;
      case 2:
        if (((r >>> 16) & 15) === 0) {
          m.out(FCR, (r >>> 20) & 3);
          announced = Math.min(announced + 16, 200);
        }
        break;
      default:
        take();
    }
  }
  m.out(IER, 1);
  while (m.in(LSR) & 1) take();
  expect(received).toBeGreaterThan(20_000);
  expect(received + dropped).toBeGreaterThan(typed - 17);
  expect(dropped).toBeLessThan(typed / 2);
});

test('a long burst has gaps: the interrupt line falls and rises again', () => {
  openAsLinux();
  m.out(IER, 0x01);
  const total = 200_000;
  let typed = 0;
  let taken = 0;
  let gaps = 0;
  for (let step = 0; step < 500_000 && taken < total; step++) {
    // The sender keeps up: the ring never runs dry.
    if (typed - taken < 1000 && typed < total) {
      type('x'.repeat(8000));
      typed += 8000;
    }
    if (m.in(LSR) & 1) {
      expect(m.in(COM1)).toBe('x'.charCodeAt(0));
      taken++;
    } else {
      gaps++;
      // The handler ends when IIR says that nothing is pending; that lets the line rise again.
      expect(m.in(IIR) & 1).toBe(1);
      expect(m.in(IIR) & 0x0f).toBe(0x0c);
    }
  }
  expect(taken).toBe(total);
  expect(gaps).toBe(3);
});
