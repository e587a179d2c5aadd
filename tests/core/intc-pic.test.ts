import { beforeEach, describe, expect, test } from 'vitest';
import { IntcMachine, LAPIC_LVT_LINT0, LAPIC_SVR, randomSource } from './intc-support.ts';
import * as L from '../../core-as/layout.ts';

let m: IntcMachine;

beforeEach(() => {
  m = IntcMachine.create();
  m.initPics();
});

function requests(): number {
  m.out(0x20, 0x0a);
  return m.in(0x20);
}

function inService(port = 0x20): number {
  m.out(port, 0x0b);
  return m.in(port);
}

describe('8259', () => {
  test('nothing is delivered before initialization', () => {
    const fresh = IntcMachine.create();
    fresh.core.pulseIsaIrq(4);
    expect(fresh.core.interruptPending(0)).toBe(0);
  });

  test('fixed priorities, EOI and nesting', () => {
    m.core.pulseIsaIrq(4);
    m.core.pulseIsaIrq(1);
    expect(requests()).toBe(0x12);
    expect(m.takePending(0) & L.PEND_INTR).toBe(L.PEND_INTR);
    expect(m.take()).toBe(0x21);
    expect(inService()).toBe(0x02);
    expect(m.take()).toBe(-1);
    m.core.pulseIsaIrq(0);
    expect(m.take()).toBe(0x20);
    expect(inService()).toBe(0x03);
    m.out(0x20, 0x20);
    expect(inService()).toBe(0x02);
    m.out(0x20, 0x20);
    expect(m.take()).toBe(0x24);
    m.out(0x20, 0x64);
    expect(inService()).toBe(0);
  });

  test('the slave comes between IRQ 1 and IRQ 3', () => {
    m.core.pulseIsaIrq(3);
    m.core.pulseIsaIrq(12);
    m.core.pulseIsaIrq(8);
    expect(m.take()).toBe(0x28);
    expect(inService(0xa0)).toBe(0x01);
    expect(inService()).toBe(0x04);
    expect(m.take()).toBe(-1);
    m.out(0xa0, 0x20);
    m.out(0x20, 0x20);
    expect(m.take()).toBe(0x2c);
    m.out(0xa0, 0x20);
    m.out(0x20, 0x20);
    expect(m.take()).toBe(0x23);
  });

  test('special fully nested mode lets the slave interrupt itself', () => {
    m.initPics(0x11);
    m.core.pulseIsaIrq(12);
    expect(m.take()).toBe(0x2c);
    m.core.pulseIsaIrq(8);
    expect(m.take()).toBe(0x28);
    m.core.pulseIsaIrq(9);
    expect(m.take()).toBe(-1);
  });

  test('masks hold back, unmasking releases', () => {
    m.out(0x21, 0x10);
    m.core.pulseIsaIrq(4);
    expect(m.take()).toBe(-1);
    expect(m.in(0x21)).toBe(0x10);
    m.out(0x21, 0);
    expect(m.take()).toBe(0x24);
  });

  test('rotation: non-specific, specific and set priority', () => {
    m.core.pulseIsaIrq(3);
    expect(m.take()).toBe(0x23);
    // IR3 is now the lowest: 4 goes before 1.
    m.out(0x20, 0xa0);
    m.core.pulseIsaIrq(1);
    m.core.pulseIsaIrq(4);
    expect(m.take()).toBe(0x24);
    m.out(0x20, 0xe4);
    m.core.pulseIsaIrq(5);
    expect(m.take()).toBe(0x25);
    m.out(0x20, 0x65);
    // Lowest 0: 1 is the highest.
    m.out(0x20, 0xc0);
    m.core.pulseIsaIrq(0);
    expect(m.take()).toBe(0x21);
    m.out(0x20, 0x20);
    expect(m.take()).toBe(0x20);
  });

  test('automatic EOI, rotating or not', () => {
    m.initPics(0x03);
    m.core.pulseIsaIrq(4);
    expect(m.take()).toBe(0x24);
    expect(inService()).toBe(0);
    m.out(0x20, 0x80);
    m.core.pulseIsaIrq(4);
    expect(m.take()).toBe(0x24);
    m.core.pulseIsaIrq(1);
    m.core.pulseIsaIrq(5);
    expect(m.take()).toBe(0x25);
    m.out(0x20, 0x00);
  });

  test('special mask mode lets lower levels through', () => {
    m.core.pulseIsaIrq(1);
    expect(m.take()).toBe(0x21);
    m.core.pulseIsaIrq(4);
    expect(m.take()).toBe(-1);
    m.out(0x21, 0x02);
    expect(m.take()).toBe(-1);
    m.out(0x20, 0x68);
    expect(m.take()).toBe(0x24);
    m.out(0x20, 0x20);
    // Non-specific EOI leaves the masked level alone.
    expect(inService()).toBe(0x02);
    m.out(0x20, 0x48);
    expect(inService()).toBe(0x02);
  });

  test('poll mode acknowledges by reading', () => {
    m.out(0x20, 0x0c);
    expect(m.in(0x20)).toBe(0);
    m.core.pulseIsaIrq(5);
    m.out(0x20, 0x0c);
    expect(m.in(0x20)).toBe(0x85);
    expect(inService()).toBe(0x20);
    expect(m.take()).toBe(-1);
  });

  test('ELCR makes lines level-triggered; system lines stay edges', () => {
    m.out(0x4d0, 0xff);
    m.out(0x4d1, 0xff);
    expect(m.in(0x4d0)).toBe(0xf8);
    expect(m.in(0x4d1)).toBe(0xde);
    m.core.setIsaIrq(5, 1);
    expect(m.take()).toBe(0x25);
    m.out(0x20, 0x20);
    expect(m.take()).toBe(0x25);
    m.core.setIsaIrq(5, 0);
    m.out(0x20, 0x20);
    expect(m.take()).toBe(-1);
    // A withdrawn level request leaves nothing but the spurious vector.
    m.core.setIsaIrq(5, 1);
    m.core.setIsaIrq(5, 0);
    expect(m.core.picAcknowledge()).toBe(0x27);
    expect(inService()).toBe(0);
  });

  test('an edge line must fall before it interrupts again', () => {
    m.core.setIsaIrq(4, 1);
    expect(m.take()).toBe(0x24);
    m.out(0x20, 0x20);
    m.core.setIsaIrq(4, 1);
    expect(m.take()).toBe(-1);
    m.core.setIsaIrq(4, 0);
    m.core.setIsaIrq(4, 1);
    expect(m.take()).toBe(0x24);
  });

  test('ICW1 clears masks, requests and modes', () => {
    m.out(0x21, 0xff);
    m.core.pulseIsaIrq(4);
    m.out(0x20, 0x11);
    m.out(0x21, 0x40);
    m.out(0x21, 0x04);
    m.out(0x21, 0x01);
    expect(m.in(0x21)).toBe(0);
    expect(requests()).toBe(0);
    m.core.pulseIsaIrq(6);
    expect(m.take()).toBe(0x46);
  });

  test('single mode needs no ICW3; without IC4 no ICW4', () => {
    m.out(0x20, 0x12);
    m.out(0x21, 0x60);
    m.out(0x21, 0xfe);
    expect(m.in(0x21)).toBe(0xfe);
    m.core.pulseIsaIrq(12);
    expect(m.take()).toBe(-1);
    m.core.pulseIsaIrq(0);
    expect(m.take()).toBe(0x60);
  });

  test('INTR reaches an enabled APIC only through LINT0', () => {
    m.setApic(0, LAPIC_SVR, 0x1ff);
    m.core.pulseIsaIrq(4);
    expect(m.core.interruptPending(0)).toBe(0);
    m.takePending(0);
    m.setApic(0, LAPIC_LVT_LINT0, 0x700);
    expect(m.takePending(0)).toBe(L.PEND_INTR);
    expect(m.core.interruptPending(1)).toBe(0);
    expect(m.take()).toBe(0x24);
    // As an ordinary vector on the second processor.
    m.setApic(0, LAPIC_LVT_LINT0, 0x10700);
    m.setApic(1, LAPIC_SVR, 0x1ff);
    m.setApic(1, LAPIC_LVT_LINT0, 0x51);
    m.out(0x20, 0x20);
    m.core.pulseIsaIrq(4);
    expect(m.take(1)).toBe(0x51);
  });

  test('two processors with ExtINT: one of them gets it', () => {
    m.enableApics();
    m.setApic(0, LAPIC_LVT_LINT0, 0x700);
    m.setApic(1, LAPIC_LVT_LINT0, 0x700);
    m.core.pulseIsaIrq(4);
    expect(m.core.interruptPending(0)).toBe(1);
    expect(m.core.interruptPending(1)).toBe(1);
    expect(m.core.interruptAcknowledge(1)).toBe(0x24);
    expect(m.core.interruptAcknowledge(0)).toBe(-1);
  });

  test('10^6 random accesses neither trap nor hang', () => {
    const random = randomSource(0x8259);
    const ports = [0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1];
    for (let i = 0; i < 1_000_000; i++) {
      const r = random();
      const port = ports[r % 6] ?? 0x20;
      switch ((r >>> 8) % 5) {
        case 0:
          m.core.portRead(port, 1);
          break;
        case 1:
          m.core.portWrite(port, 1, r >>> 16);
          break;
        case 2:
          m.core.setIsaIrq((r >>> 16) & 31, (r >>> 24) & 1);
          break;
        case 3:
          m.core.pulseIsaIrq((r >>> 16) & 31);
          break;
        default: {
          const vector = m.core.interruptAcknowledge(0);
          if (vector < -1 || vector > 255) throw new Error(`vector ${vector}`);
        }
      }
    }
    for (let irq = 0; irq < 16; irq++) m.core.setIsaIrq(irq, 0);
    m.initPics();
    m.core.pulseIsaIrq(7);
    expect(m.take()).toBe(0x27);
  });
});
