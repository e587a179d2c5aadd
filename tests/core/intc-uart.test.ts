import { beforeEach, describe, expect, test } from 'vitest';
import { IntcMachine, randomSource } from './intc-support.ts';
import * as L from '../../core-as/layout.ts';

const COM1 = 0x3f8;
const COM2 = 0x2f8;
const COM3 = 0x3e8;
const COM4 = 0x2e8;
const RBR = 0;
const THR = 0;
const IER = 1;
const IIR = 2;
const FCR = 2;
const LCR = 3;
const MCR = 4;
const LSR = 5;
const MSR = 6;
const SCR = 7;
const IRQ4 = 0x24;
const IRQ3 = 0x23;

let m: IntcMachine;

/** The host's end of a UART's rings. */
class Host {
  constructor(readonly n: number) {}

  #word(offset: number): number {
    return (L.UART + this.n * L.UART_STRIDE + offset) >> 2;
  }

  #ring(input: boolean): number {
    return L.UART_RINGS + (this.n * 2 + (input ? 1 : 0)) * L.UART_RING_SIZE;
  }

  connect(connected = true): void {
    Atomics.store(m.words, this.#word(L.UART_CONNECTED), connected ? 1 : 0);
    m.core.uartHostEvent(this.n);
  }

  /** Takes output, at most `limit` bytes. */
  take(limit = Infinity): Uint8Array {
    const head = Atomics.load(m.words, this.#word(L.UART_TX_HEAD)) >>> 0;
    const tail = Atomics.load(m.words, this.#word(L.UART_TX_TAIL)) >>> 0;
    const count = Math.min((head - tail) >>> 0, limit);
    const out = new Uint8Array(count);
    for (let i = 0; i < count; i++) out[i] = m.bytes[this.#ring(false) + ((tail + i) % L.UART_RING_SIZE)] ?? 0;
    Atomics.store(m.words, this.#word(L.UART_TX_TAIL), (tail + count) | 0);
    m.core.uartHostEvent(this.n);
    return out;
  }

  text(): string {
    return new TextDecoder().decode(this.take());
  }

  /** Puts as much input as there is room for; returns how much. */
  put(bytes: Uint8Array): number {
    const head = Atomics.load(m.words, this.#word(L.UART_RX_HEAD)) >>> 0;
    const tail = Atomics.load(m.words, this.#word(L.UART_RX_TAIL)) >>> 0;
    const count = Math.min(bytes.length, L.UART_RING_SIZE - ((head - tail) >>> 0));
    for (let i = 0; i < count; i++) m.bytes[this.#ring(true) + ((head + i) % L.UART_RING_SIZE)] = bytes[i] ?? 0;
    Atomics.store(m.words, this.#word(L.UART_RX_HEAD), (head + count) | 0);
    m.core.uartHostEvent(this.n);
    return count;
  }

  type(text: string): void {
    this.put(new TextEncoder().encode(text));
  }

  /** Makes both rings start just before the 32-bit wrap of their indexes. */
  startAt(index: number): void {
    for (const offset of [L.UART_TX_HEAD, L.UART_TX_TAIL, L.UART_RX_HEAD, L.UART_RX_TAIL]) {
      Atomics.store(m.words, this.#word(offset), index | 0);
    }
  }
}

let host: Host;

function events(): number {
  return Atomics.exchange(m.words, L.HOST_UART_EVENTS >> 2, 0);
}

function doorbell(): number {
  return Atomics.load(m.words, L.HOST_DOORBELL >> 2);
}

/** Takes the interrupt of the 8259, if there is one, and ends it. */
function irq(): number {
  const vector = m.take();
  if (vector >= 0) m.out(0x20, 0x20);
  return vector;
}

function send(text: string, port = COM1): void {
  for (const byte of new TextEncoder().encode(text)) m.out(port + THR, byte);
}

beforeEach(() => {
  m = IntcMachine.create();
  m.initPics();
  host = new Host(0);
  host.connect();
  m.in(COM1 + MSR);
  events();
});

describe('16550A registers', () => {
  test('reset state', () => {
    expect(m.in(COM1 + IER)).toBe(0);
    expect(m.in(COM1 + IIR)).toBe(0x01);
    expect(m.in(COM1 + LSR)).toBe(0x60);
    expect(m.in(COM1 + MSR)).toBe(0xb0);
    m.out(COM1 + LCR, 0x80);
    expect([m.in(COM1), m.in(COM1 + 1)]).toEqual([1, 0]);
    // Without a far end too: an open(2) that heeds the carrier must not wait for ever.
    expect(m.in(COM2 + MSR)).toBe(0xb0);
  });

  test('widths, scratch, divisor latch', () => {
    m.out(COM1 + IER, 0xff);
    expect(m.in(COM1 + IER)).toBe(0x0f);
    m.out(COM1 + MCR, 0xff);
    expect(m.in(COM1 + MCR)).toBe(0x1f);
    m.out(COM1 + SCR, 0xa5);
    expect(m.in(COM1 + SCR)).toBe(0xa5);
    m.out(COM1 + LCR, 0x83);
    m.out(COM1, 12);
    m.out(COM1 + 1, 3);
    expect([m.in(COM1), m.in(COM1 + 1)]).toEqual([12, 3]);
    m.out(COM1 + LCR, 0x03);
    expect(m.in(COM1 + IER)).toBe(0x0f);
    m.out(COM1 + LSR, 0);
    m.out(COM1 + MSR, 0);
    expect(m.in(COM1 + LSR)).toBe(0x60);
  });

  test("Linux's probe finds a 16550A and a working THRE interrupt", () => {
    m.out(COM1 + IER, 0);
    expect(m.in(COM1 + IER) & 0x0f).toBe(0);
    m.out(COM1 + IER, 0x0f);
    expect(m.in(COM1 + IER) & 0x0f).toBe(0x0f);
    m.out(COM1 + IER, 0);
    // Loopback: RTS and OUT2 must come back as CTS and DCD.
    m.out(COM1 + MCR, 0x10 | 0x0a);
    expect(m.in(COM1 + MSR) & 0xf0).toBe(0x90);
    m.out(COM1 + MCR, 0);
    m.out(COM1 + FCR, 0x01);
    expect(m.in(COM1 + IIR) >> 6).toBe(3);
    // Neither an enhanced feature register nor 64-byte FIFOs.
    m.out(COM1 + LCR, 0xbf);
    expect(m.in(COM1 + 2)).not.toBe(0);
    m.out(COM1 + LCR, 0x80);
    m.out(COM1 + FCR, 0x21);
    expect(m.in(COM1 + IIR) & 0x20).toBe(0);
    m.out(COM1 + LCR, 0x03);
    // THRE test: enabling twice raises it twice, though the first was read.
    m.out(COM1 + IER, 2);
    m.in(COM1 + IIR);
    m.out(COM1 + IER, 0);
    m.out(COM1 + IER, 2);
    expect(m.in(COM1 + IIR) & 0x0f).toBe(0x02);
    expect(m.in(COM1 + IIR) & 0x0f).toBe(0x01);
  });

  test('the four COM ports exist only with an LPC bridge', () => {
    for (const port of [COM1, COM2, COM3, COM4]) {
      expect(m.core.portClaimed(port)).toBe(1);
      expect(m.core.portClaimed(port + 7)).toBe(1);
      m.out(port + SCR, port & 0xff);
    }
    for (const port of [COM1, COM2, COM3, COM4]) expect(m.in(port + SCR)).toBe(port & 0xff);
    const bare = IntcMachine.create({ flags: 0 });
    expect(bare.core.portClaimed(COM1)).toBe(0);
    expect(bare.in(COM1 + SCR)).toBe(0xff);
  });

  test('modem status: the lines stay up when the far end goes and comes', () => {
    m.out(COM1 + IER, 8);
    for (const connected of [false, true]) {
      host.connect(connected);
      expect(m.in(COM1 + MSR)).toBe(0xb0);
      expect(m.in(COM1 + IIR)).toBe(0x01);
    }
  });
});

describe('loopback', () => {
  beforeEach(() => {
    m.out(COM1 + FCR, 0x01);
    m.out(COM1 + MCR, 0x10);
    m.in(COM1 + MSR);
  });

  test('data comes back and does not leave', () => {
    send('loop');
    expect(m.in(COM1 + LSR)).toBe(0x61);
    expect([0, 1, 2, 3].map(() => String.fromCharCode(m.in(COM1 + RBR))).join('')).toBe('loop');
    expect(m.in(COM1 + LSR)).toBe(0x60);
    expect(host.text()).toBe('');
  });

  test('the seventeenth byte overruns', () => {
    send('0123456789abcdefX');
    m.out(COM1 + IER, 4);
    expect(m.in(COM1 + IIR)).toBe(0xc6);
    expect(m.in(COM1 + LSR)).toBe(0x63);
    expect(m.in(COM1 + LSR)).toBe(0x61);
    expect(m.in(COM1 + IIR)).toBe(0xc1);
    expect(m.in(COM1 + RBR)).toBe(0x30);
  });

  test('modem control drives modem status; TERI is the trailing edge of RI', () => {
    m.out(COM1 + MCR, 0x1f);
    expect(m.in(COM1 + MSR)).toBe(0xf0 | 0x0b);
    m.out(COM1 + MCR, 0x10);
    expect(m.in(COM1 + MSR)).toBe(0x0f);
    expect(m.in(COM1 + MSR)).toBe(0x00);
  });

  test('input from the host waits until loopback ends', () => {
    m.out(COM1 + IER, 1);
    host.type('x');
    expect(m.in(COM1 + LSR) & 1).toBe(0);
    m.out(COM1 + MCR, 0);
    expect(m.in(COM1 + RBR)).toBe(0x78);
  });
});

describe('data', () => {
  test('output reaches the ring, and rings the doorbell once', () => {
    const before = doorbell();
    send('hello');
    expect(doorbell()).toBe(before + 1);
    expect(events()).toBe(1);
    expect(host.text()).toBe('hello');
    send('!');
    expect(doorbell()).toBe(before + 2);
  });

  test('without a backend output is dropped', () => {
    host.connect(false);
    for (let i = 0; i < 100_000; i++) m.out(COM1, i);
    expect(m.in(COM1 + LSR)).toBe(0x60);
    host.connect();
    expect(host.take().length).toBe(0);
  });

  test('input: one byte at a time without FIFOs, sixteen with', () => {
    m.out(COM1 + IER, 1);
    host.type('ab');
    expect(m.in(COM1 + LSR)).toBe(0x61);
    expect([m.in(COM1), m.in(COM1), m.in(COM1)]).toEqual([0x61, 0x62, 0]);
    m.out(COM1 + FCR, 0x01);
    host.type('0123456789abcdefgh');
    let text = '';
    while (m.in(COM1 + LSR) & 1) text += String.fromCharCode(m.in(COM1));
    expect(text).toBe('0123456789abcdefgh');
  });

  test('switching the FIFOs and resetting them drop what LSR announced, and nothing else', () => {
    m.out(COM1 + IER, 1);
    host.type('old');
    expect(m.in(COM1 + LSR) & 1).toBe(1);
    m.out(COM1 + FCR, 0x01);
    expect(m.in(COM1)).toBe('l'.charCodeAt(0));
    expect(m.in(COM1)).toBe('d'.charCodeAt(0));
    host.type('0123456789abcdefREST');
    expect(m.in(COM1 + LSR) & 1).toBe(1);
    m.out(COM1 + FCR, 0x03);
    expect(m.in(COM1)).toBe('R'.charCodeAt(0));
    m.out(COM1 + IER, 0);
    m.out(COM1 + FCR, 0x00);
    expect(m.in(COM1 + LSR) & 1).toBe(0);
    expect(m.in(COM1 + IIR)).toBe(0x01);
  });

  test('output written before a reset is still there', () => {
    send('last words');
    m.core.platformReset();
    expect(host.text()).toBe('last words');
    expect(m.in(COM1 + MSR)).toBe(0xb0);
  });
});

describe('interrupts', () => {
  test('THRE: at enabling, after each write, cleared by reading IIR', () => {
    m.out(COM1 + IER, 2);
    expect(irq()).toBe(IRQ4);
    expect(m.in(COM1 + IIR)).toBe(0x02);
    expect(m.in(COM1 + IIR)).toBe(0x01);
    send('x');
    expect(irq()).toBe(IRQ4);
    expect(m.in(COM1 + IIR)).toBe(0x02);
    expect(irq()).toBe(-1);
  });

  test('receive data goes before THRE, and is reported as timeout', () => {
    m.out(COM1 + IER, 3);
    expect(irq()).toBe(IRQ4);
    host.type('x');
    expect(m.in(COM1 + IIR)).toBe(0x0c);
    m.in(COM1);
    expect(m.in(COM1 + IIR)).toBe(0x02);
    expect(m.in(COM1 + IIR)).toBe(0x01);
    host.type('y');
    expect(irq()).toBe(IRQ4);
  });

  test('COM1 and COM3 share IRQ 4: one edge for both', () => {
    m.out(COM1 + IER, 2);
    expect(irq()).toBe(IRQ4);
    m.out(COM3 + IER, 2);
    expect(irq()).toBe(-1);
    m.in(COM1 + IIR);
    m.in(COM3 + IIR);
    m.out(COM3 + THR, 0x41);
    expect(irq()).toBe(IRQ4);
  });

  test('COM2 and COM4 use IRQ 3; both controllers see the edge', () => {
    m.out(COM2 + IER, 2);
    expect(irq()).toBe(IRQ3);
    m.enableApics();
    m.route(3, 0x53);
    m.in(COM2 + IIR);
    m.out(COM4 + IER, 2);
    expect(m.take()).toBe(0x53);
  });

  test('PCI functions: their registers, and a level that leads nowhere before it is routed', () => {
    new Host(5).connect();
    events();
    m.core.uartWrite(5, IER, 2);
    expect(m.core.uartIrqLevel(5)).toBe(1);
    expect(irq()).toBe(-1);
    expect(m.core.uartRead(5, IIR)).toBe(0x02);
    expect(m.core.uartIrqLevel(5)).toBe(0);
    m.core.uartWrite(5, THR, 0x5a);
    expect(new Host(5).text()).toBe('Z');
    expect(m.core.uartRead(8, IIR)).toBe(0xff);
    expect(m.core.uartIrqLevel(99)).toBe(0);
    m.core.uartWrite(99, THR, 0);
    m.core.uartHostEvent(99);
  });

  test('PCI functions: the core answers where the BAR is', () => {
    const pci = new Host(6);
    pci.connect();
    const base = 0x2008;
    expect(m.core.portClaimed(base)).toBe(0);
    m.view.setUint32(L.UART + 6 * L.UART_STRIDE + L.UART_IO_BASE, base, true);
    expect([-1, 0, 7, 8].map((offset) => m.core.portClaimed(base + offset))).toEqual([0, 1, 1, 0]);
    m.out(base + SCR, 0x5a);
    expect(m.in(base + SCR)).toBe(0x5a);
    m.out(base + IER, 2);
    expect(m.in(base + IIR)).toBe(0x02);
    send('pci', base);
    expect(pci.text()).toBe('pci');
    m.view.setUint32(L.UART + 6 * L.UART_STRIDE + L.UART_IO_BASE, 0, true);
    expect(m.core.portClaimed(base)).toBe(0);
    expect(m.core.portClaimed(0)).toBe(0);
  });

  describe('INTx lines of PCI functions', () => {
    const LEVEL = 0x8000;
    const PIN = 19;
    const VECTOR = 0x61;
    const IRQ10 = 0x2a;

    /** UART n wants to send, so its THRE interrupt is due. */
    const want = (n: number): void => m.core.uartWrite(n, IER, 2);
    const satisfy = (n: number): void => m.core.uartWrite(n, IER, 0);

    test('hold an I/O APIC pin while any UART or device does', () => {
      m.enableApics();
      m.route(PIN, VECTOR | LEVEL);
      for (const n of [4, 7]) {
        new Host(n).connect();
        m.core.uartRouteIntx(n, 1 << PIN);
      }
      want(4);
      expect(m.take()).toBe(VECTOR);
      want(7);
      satisfy(4);
      m.eoi();
      expect(m.take()).toBe(VECTOR);
      m.core.setIoApicPin(PIN, 1);
      satisfy(7);
      m.eoi();
      expect(m.take()).toBe(VECTOR);
      m.core.setIoApicPin(PIN, 0);
      m.eoi();
      expect(m.take()).toBe(-1);
    });

    test('hold an ISA line, whose I/O APIC pin goes with it, and move when they are routed elsewhere', () => {
      m.out(0x4d1, 0x04);
      new Host(5).connect();
      want(5);
      expect(m.core.picAcknowledge()).toBe(7 + 0x20);
      m.core.uartRouteIntx(5, (1 << PIN) | (1 << 10));
      expect(m.core.picOutput()).toBe(1);
      m.core.setIsaIrq(10, 1);
      m.core.setIsaIrq(10, 0);
      expect(m.core.picOutput()).toBe(1);
      m.core.uartRouteIntx(5, 0);
      expect(m.core.picOutput()).toBe(0);
      m.core.uartRouteIntx(5, 1 << 10);
      expect(m.take()).toBe(IRQ10);
      satisfy(5);
      m.out(0xa0, 0x20);
      m.out(0x20, 0x20);
      expect(m.core.picOutput()).toBe(0);
      m.enableApics();
      m.route(10, VECTOR | LEVEL);
      want(5);
      expect(m.take()).toBe(VECTOR);
    });

    test('are low after a reset; COM ports and UARTs that do not exist have none', () => {
      new Host(5).connect();
      new Host(0).connect();
      m.enableApics();
      m.route(PIN, VECTOR | LEVEL);
      for (const n of [0, 99]) {
        m.core.uartRouteIntx(n, 1 << PIN);
        want(n);
      }
      expect(m.take()).toBe(-1);
      m.core.uartRouteIntx(5, 1 << PIN);
      want(5);
      expect(m.take()).toBe(VECTOR);
      m.core.platformReset();
      m.eoi();
      m.route(PIN, VECTOR | LEVEL);
      expect(m.take()).toBe(-1);
    });
  });

  test('output wakes the host once as much has come together as it wants', () => {
    const notify = (L.UART + L.UART_TX_NOTIFY) >> 2;
    Atomics.store(m.words, notify, 5);
    send('1234');
    expect(events()).toBe(0);
    send('5');
    expect(events()).toBe(1);
    expect(host.text()).toBe('12345');
    send('6');
    expect(events()).toBe(0);
    Atomics.store(m.words, notify, 0);
    send('7');
    expect(events()).toBe(1);
  });
});

describe('flow control', () => {
  test('THRE is withheld while the ring is full, and its interrupt comes with room', () => {
    m.out(COM1 + FCR, 0x01);
    m.out(COM1 + IER, 2);
    m.in(COM1 + IIR);
    irq();
    let written = 0;
    while (m.in(COM1 + LSR) & 0x20) {
      for (let i = 0; i < 16; i++) m.out(COM1, written++);
      if (written > 100_000) throw new Error('never blocks');
    }
    expect(written).toBeGreaterThan(L.UART_RING_SIZE - 32);
    expect(written).toBeLessThanOrEqual(L.UART_RING_SIZE);
    m.in(COM1 + IIR);
    irq();
    expect(m.in(COM1 + LSR)).toBe(0x00);
    expect(m.in(COM1 + IIR)).toBe(0xc1);
    host.take(100);
    expect(m.in(COM1 + LSR)).toBe(0x00);
    host.take(4000);
    expect(irq()).toBe(IRQ4);
    expect(m.in(COM1 + LSR)).toBe(0x60);
    // Detaching the reader must not leave the guest waiting.
    while (m.in(COM1 + LSR) & 0x20) m.out(COM1, 0);
    host.connect(false);
    expect(m.in(COM1 + LSR)).toBe(0x60);
  });

  test('10 MB through the output ring arrive in order and complete', { timeout: 120_000 }, () => {
    const total = 10_000_000;
    host.startAt(0xffff_f000);
    m.out(COM1 + FCR, 0x01);
    const random = randomSource(50);
    let sent = 0;
    let received = 0;
    const drain = (limit: number): void => {
      for (const byte of host.take(limit)) {
        if (byte !== (((received * 7) ^ (received >>> 9)) & 0xff)) throw new Error(`byte ${received} is ${byte}`);
        received++;
      }
    };
    while (sent < total) {
      if (m.core.portRead(COM1 + LSR, 1) & 0x20) {
        for (let i = 0; i < 16 && sent < total; i++, sent++)
          m.core.portWrite(COM1, 1, ((sent * 7) ^ (sent >>> 9)) & 0xff);
      } else {
        drain(1 + (random() & 0x7fff));
      }
    }
    drain(Infinity);
    expect(received).toBe(total);
  });

  test('5 MB through the input ring; a host that found it full hears of room', { timeout: 60_000 }, () => {
    const total = 5_000_000;
    host.startAt(0xffff_f000);
    m.out(COM1 + FCR, 0x01);
    m.out(COM1 + IER, 1);
    const data = new Uint8Array(total).map((_, i) => (i * 13) ^ (i >>> 8));
    let put = host.put(data);
    events();
    let got = 0;
    while (got < total) {
      // After a long burst there is a gap, over once the guest has looked twice.
      if (!(m.in(COM1 + LSR) & 1) && !(m.in(COM1 + LSR) & 1) && !(m.in(COM1 + LSR) & 1))
        throw new Error(`input stops after ${got} of ${put}`);
      const byte = m.in(COM1);
      if (byte !== data[got]) throw new Error(`byte ${got} is ${byte}`);
      got++;
      // The host acts on events alone.
      if (put < total && events() & 1) put += host.put(data.subarray(put));
    }
    expect(m.in(COM1 + LSR) & 1).toBe(0);
  });

  test('10^6 random accesses neither trap nor hang', () => {
    const random = randomSource(0x16550);
    const ports = [COM1, COM2, COM3, COM4];
    for (let i = 0; i < 1_000_000; i++) {
      const r = random();
      const n = (r >>> 16) & 7;
      switch ((r >>> 8) & 7) {
        case 0:
        case 1:
          m.core.portRead((ports[n & 3] ?? COM1) + (r & 7), 1);
          break;
        case 2:
        case 3:
          m.core.portWrite((ports[n & 3] ?? COM1) + (r & 7), 1 << (r & 64 ? 0 : (r >>> 20) % 3), random());
          break;
        case 4:
          m.core.uartWrite(n, r & 7, r >>> 24);
          break;
        case 5:
          m.core.uartRead(n, r & 7);
          break;
        case 6:
          // Nonsense in the ring indexes must not matter either.
          m.view.setUint32(L.UART + n * L.UART_STRIDE + L.UART_TX_HEAD + ((r >>> 24) & 0x13 & ~3), random(), true);
          break;
        default:
          m.core.uartHostEvent(n);
      }
    }
    host.startAt(0);
    m.core.platformReset();
    host.connect();
    send('alive');
    expect(host.text()).toBe('alive');
  });
});
