import { beforeEach, describe, expect, test } from 'vitest';
import { IntcMachine, LAPIC_DFR, LAPIC_LDR, LAPIC_SVR, LAPIC_TPR, randomSource } from './intc-support.ts';
import { PEND_INIT, PEND_INTR, PEND_NMI } from '../../core-as/layout.ts';

const LEVEL = 0x8000;
const MASKED = 0x10000;
const LOGICAL = 0x800;
const LOWEST_PRIORITY = 0x100;
const REMOTE_IRR = 0x4000;

let m: IntcMachine;

beforeEach(() => {
  m = IntcMachine.create();
  m.enableApics();
});

describe('I/O APIC', () => {
  test('identification and reset state', () => {
    expect(m.ioApic(1)).toBe(0x00170011);
    m.setIoApic(0, 0xffffffff);
    expect(m.ioApic(0)).toBe(0x0f000000);
    expect(m.ioApic(2)).toBe(0x0f000000);
    for (let pin = 0; pin < 24; pin++) {
      expect(m.ioApic(0x10 + pin * 2)).toBe(MASKED);
      expect(m.ioApic(0x11 + pin * 2)).toBe(0);
    }
    expect(m.ioApic(0x40)).toBe(0);
    expect(m.core.mmioClaimed(0xfec00fffn)).toBe(1);
    expect(m.core.mmioClaimed(0xfec01000n)).toBe(0);
    m.setIoApic(1, 0);
    expect(m.ioApic(1)).toBe(0x00170011);
  });

  test('status bits of an entry are read-only', () => {
    m.setIoApic(0x10 + 2 * 5, 0xffffffff);
    expect(m.ioApic(0x10 + 2 * 5)).toBe(0x1afff);
    m.setIoApic(0x11 + 2 * 5, 0xffffffff);
    expect(m.ioApic(0x11 + 2 * 5)).toBe(0xff000000);
  });

  test('IRQ 0 is pin 2, the others are pins of their number', () => {
    m.route(2, 0x30);
    m.route(4, 0x34);
    m.core.pulseIsaIrq(0);
    expect(m.take()).toBe(0x30);
    m.eoi();
    m.core.pulseIsaIrq(4);
    expect(m.take()).toBe(0x34);
  });

  test('an edge interrupts once a rise; masked edges are lost', () => {
    m.route(16, 0x41);
    m.core.setIoApicPin(16, 1);
    expect(m.take()).toBe(0x41);
    m.eoi();
    m.core.setIoApicPin(16, 1);
    expect(m.take()).toBe(-1);
    m.core.setIoApicPin(16, 0);
    m.route(16, 0x41 | MASKED);
    m.core.setIoApicPin(16, 1);
    m.route(16, 0x41);
    expect(m.take()).toBe(-1);
  });

  test('a level sets Remote IRR, and interrupts again at EOI while the line is high', () => {
    m.route(17, 0x42 | LEVEL);
    m.core.setIoApicPin(17, 1);
    expect(m.ioApic(0x10 + 34) & REMOTE_IRR).toBe(REMOTE_IRR);
    expect(m.take()).toBe(0x42);
    m.core.setIoApicPin(17, 0);
    m.core.setIoApicPin(17, 1);
    expect(m.take()).toBe(-1);
    m.eoi();
    expect(m.ioApic(0x10 + 34) & REMOTE_IRR).toBe(REMOTE_IRR);
    expect(m.take()).toBe(0x42);
    m.core.setIoApicPin(17, 0);
    m.eoi();
    expect(m.ioApic(0x10 + 34) & REMOTE_IRR).toBe(0);
    expect(m.take()).toBe(-1);
  });

  test('unmasking a level that is high interrupts', () => {
    m.route(18, 0x43 | LEVEL | MASKED);
    m.core.setIoApicPin(18, 1);
    expect(m.take()).toBe(-1);
    m.route(18, 0x43 | LEVEL);
    expect(m.take()).toBe(0x43);
  });

  test('Linux clears Remote IRR by making the entry an edge for a moment', () => {
    m.route(18, 0x43 | LEVEL);
    m.core.setIoApicPin(18, 1);
    expect(m.take()).toBe(0x43);
    m.core.setIoApicPin(18, 0);
    m.setIoApic(0x10 + 36, 0x43 | MASKED);
    m.setIoApic(0x10 + 36, 0x43 | LEVEL | MASKED);
    expect(m.ioApic(0x10 + 36)).toBe(0x43 | LEVEL | MASKED);
  });

  test('physical and logical destinations', () => {
    m.route(5, 0x50, 1);
    m.core.pulseIsaIrq(5);
    expect(m.take(0)).toBe(-1);
    expect(m.take(1)).toBe(0x50);
    m.route(5, 0x61, 0xff);
    m.core.pulseIsaIrq(5);
    expect([m.take(0), m.take(1)]).toEqual([0x61, 0x61]);
    m.setApic(0, LAPIC_LDR, 0x01000000);
    m.setApic(1, LAPIC_LDR, 0x02000000);
    m.route(5, 0x72 | LOGICAL, 2);
    m.core.pulseIsaIrq(5);
    expect([m.take(0), m.take(1)]).toEqual([-1, 0x72]);
    m.route(5, 0x83 | LOGICAL, 3);
    m.core.pulseIsaIrq(5);
    expect([m.take(0), m.take(1)]).toEqual([0x83, 0x83]);
  });

  test('cluster model', () => {
    m = IntcMachine.create({ cpus: 4 });
    m.enableApics();
    [0x11, 0x12, 0x21, 0x22].forEach((ldr, cpu) => {
      m.setApic(cpu, LAPIC_DFR, 0);
      m.setApic(cpu, LAPIC_LDR, ldr * 0x1000000);
    });
    m.route(5, 0x62 | LOGICAL, 0x23);
    m.core.pulseIsaIrq(5);
    expect([0, 1, 2, 3].map((cpu) => m.take(cpu))).toEqual([-1, -1, 0x62, 0x62]);
  });

  test('lowest priority goes to the least busy processor', () => {
    m.setApic(0, LAPIC_LDR, 0x01000000);
    m.setApic(1, LAPIC_LDR, 0x02000000);
    m.setApic(0, LAPIC_TPR, 0x40);
    m.route(6, 0x80 | LOGICAL | LOWEST_PRIORITY, 3);
    m.core.pulseIsaIrq(6);
    expect([m.take(0), m.take(1)]).toEqual([-1, 0x80]);
    // The second one is serving 80h now.
    m.core.pulseIsaIrq(6);
    expect(m.take(0)).toBe(0x80);
  });

  test('a disabled APIC leaves Remote IRR clear', () => {
    m.setApic(0, LAPIC_SVR, 0xff);
    m.route(17, 0x42 | LEVEL);
    m.core.setIoApicPin(17, 1);
    expect(m.ioApic(0x10 + 34) & REMOTE_IRR).toBe(0);
  });

  test('NMI, INIT and ExtINT deliveries', () => {
    m.takePending(1);
    m.route(3, 0x400, 1);
    m.core.pulseIsaIrq(3);
    expect(m.takePending(1)).toBe(PEND_NMI);
    m.route(3, 0x500, 1);
    m.core.pulseIsaIrq(3);
    expect(m.takePending(1)).toBe(PEND_INIT);
    m.route(3, 0x640, 1);
    m.core.pulseIsaIrq(3);
    expect(m.takePending(1)).toBe(0);
    // The 8259's output is pin 0.
    m.initPics();
    m.route(0, 0x700, 1);
    m.core.pulseIsaIrq(7);
    expect(m.takePending(1)).toBe(PEND_INTR);
    expect(m.core.interruptPending(0)).toBe(0);
    expect(m.take(1)).toBe(0x27);
    expect(m.core.interruptPending(1)).toBe(0);
  });

  test('MSI: physical, broadcast, logical, and what is none', () => {
    m.core.sendMsi(0xfee01000, 0, 0x91);
    expect([m.take(0), m.take(1)]).toEqual([-1, 0x91]);
    m.core.sendMsi(0xfeeff000, 0, 0xa1);
    expect([m.take(0), m.take(1)]).toEqual([0xa1, 0xa1]);
    m.setApic(1, LAPIC_LDR, 0x02000000);
    m.core.sendMsi(0xfee02004, 0, 0xb1);
    expect([m.take(0), m.take(1)]).toEqual([-1, 0xb1]);
    m.core.sendMsi(0xfed00000, 0, 0xc1);
    m.core.sendMsi(0xfee00000, 1, 0xc1);
    m.core.sendMsi(0xfee00000, 0, 0x6c1);
    m.core.sendMsi(0xfee00000, 0, 0x80c1);
    expect(m.take(0)).toBe(-1);
  });

  test('narrow and wide accesses', () => {
    m.route(1, 0x12345);
    m.core.mmioWrite(0xfec00000n, 1, 0x12n);
    expect(m.core.mmioRead(0xfec00010n, 4)).toBe(0x12345n);
    expect(m.core.mmioRead(0xfec00011n, 1)).toBe(0x23n);
    expect(m.core.mmioRead(0xfec00010n, 2)).toBe(0x2345n);
    expect(m.core.mmioRead(0xfec00010n, 8)).toBe(0x12345n);
    m.core.mmioWrite(0xfec00010n, 2, 0n);
    expect(m.core.mmioRead(0xfec00010n, 4)).toBe(0x12345n);
  });

  test('10^6 random accesses neither trap nor hang', () => {
    const random = randomSource(0x82093);
    for (let i = 0; i < 1_000_000; i++) {
      const r = random();
      switch ((r >>> 8) % 6) {
        case 0:
          m.core.mmioWrite(0xfec00000n + BigInt(r & 0xff ? (r & 1) * 0x10 : (r >>> 20) & 0xfff), 4, BigInt(r >>> 16));
          break;
        case 1:
          m.core.mmioRead(0xfec00000n + BigInt((r >>> 20) & 0xfff), 1 << (r & 3));
          break;
        case 2:
          m.core.setIoApicPin((r >>> 16) & 31, (r >>> 24) & 1);
          break;
        case 3:
          m.core.sendMsi(0xfee00000 | ((r >>> 12) & 0xfffff), 0, r);
          break;
        case 4:
          m.eoi((r >>> 16) & 1);
          break;
        default: {
          const vector = m.core.interruptAcknowledge((r >>> 16) & 1);
          if (vector < -1 || vector > 255) throw new Error(`vector ${vector}`);
        }
      }
    }
    for (let cpu = 0; cpu < 2; cpu++) for (let i = 0; i < 256; i++) m.eoi(cpu);
    for (let pin = 0; pin < 24; pin++) m.core.setIoApicPin(pin, 0);
    while (m.take() >= 0) m.eoi();
    m.route(9, 0xef | MASKED);
    m.route(9, 0xef | LEVEL);
    m.core.setIoApicPin(9, 1);
    expect(m.take()).toBe(0xef);
  });
});
