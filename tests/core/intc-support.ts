/** A machine of interrupt controllers alone: the compiled core-as/intc over a memory whose clock the test turns. */
import * as L from '../../core-as/layout.ts';
import { compileCore } from '../support/compile-core.ts';

/** The exports of intc.entry.ts; AssemblyScript's u64 is a bigint, its bool a number. */
export interface IntcExports {
  platformReset(): void;
  lapicReset(cpu: number): void;
  lapicInit(cpu: number): void;
  portClaimed(port: number): number;
  allowBlocking(): void;
  portRead(port: number, size: number): number;
  portWrite(port: number, size: number, value: number): void;
  mmioClaimed(gpa: bigint): number;
  mmioRead(gpa: bigint, size: number): bigint;
  mmioWrite(gpa: bigint, size: number, value: bigint): void;
  lapicClaims(cpu: number, gpa: bigint): number;
  lapicMmioRead(cpu: number, offset: number, size: number): number;
  lapicMmioWrite(cpu: number, offset: number, size: number, value: number): void;
  lapicMsrRead(cpu: number, msr: number): bigint;
  lapicMsrWrite(cpu: number, msr: number, value: bigint): number;
  lapicMsrExists(cpu: number, msr: number, write: number): number;
  lapicSetTpr(cpu: number, cr8: number): void;
  lapicTpr(cpu: number): number;
  lapicProcessorPriority(block: number): number;
  interruptPending(cpu: number): number;
  interruptAcknowledge(cpu: number): number;
  acknowledgeNmi(cpu: number): number;
  raiseNmi(cpu: number): void;
  cpuTimerTick(cpu: number, nowNs: number): number;
  platformTimerTick(nowNs: number): number;
  setIsaIrq(irq: number, asserted: number): void;
  pulseIsaIrq(irq: number): void;
  setIoApicPin(pin: number, asserted: number): void;
  sendMsi(addressLow: number, addressHigh: number, data: number): void;
  uartHostEvent(n: number): void;
  uartIrqLevel(n: number): number;
  uartRead(n: number, register: number): number;
  uartRouteIntx(n: number, lines: number): void;
  uartWrite(n: number, register: number, value: number): void;
  pmTimerValue(): number;
  setCmos(index: number, value: number): void;
  cmos(index: number): number;
  picAcknowledge(): number;
  picOutput(): number;
  picSetLine(irq: number, asserted: number): void;
}

export const APIC_PAGE = 0xfee00000n;
export const LAPIC_ID = 0x20;
export const LAPIC_TPR = 0x80;
export const LAPIC_PPR = 0xa0;
export const LAPIC_EOI = 0xb0;
export const LAPIC_LDR = 0xd0;
export const LAPIC_DFR = 0xe0;
export const LAPIC_SVR = 0xf0;
export const LAPIC_ESR = 0x280;
export const LAPIC_ICR_LOW = 0x300;
export const LAPIC_ICR_HIGH = 0x310;
export const LAPIC_LVT_TIMER = 0x320;
export const LAPIC_LVT_LINT0 = 0x350;
export const LAPIC_LVT_ERROR = 0x370;
export const LAPIC_INITIAL_COUNT = 0x380;
export const LAPIC_CURRENT_COUNT = 0x390;
export const LAPIC_DIVIDE = 0x3e0;

const IOAPIC = 0xfec00000n;

// While the file is imported: compiling takes seconds, which a test's time limit must not pay for.
export const compiledIntc = await compileCore('tests/core/intc.entry.ts');

export interface MachineOptions {
  cpus?: number;
  flags?: number;
  wallSeconds?: number;
}

export class IntcMachine {
  readonly memory = new WebAssembly.Memory({ initial: 512, maximum: 65536, shared: true });
  readonly bytes = new Uint8Array(this.memory.buffer);
  readonly view = new DataView(this.memory.buffer);
  readonly words = new Int32Array(this.memory.buffer);
  nowNs = 0;
  readonly core: IntcExports;

  private constructor(
    module: WebAssembly.Module,
    readonly options: Required<MachineOptions>,
  ) {
    const instance = new WebAssembly.Instance(module, {
      env: {
        memory: this.memory,
        hostNowNs: () => this.nowNs,
        hostWallSeconds: () => options.wallSeconds,
      },
    });
    (instance.exports as { _start?: () => void })._start?.();
    this.core = instance.exports as unknown as IntcExports;
    this.view.setUint32(L.CFG_NCPUS, options.cpus, true);
    this.view.setUint32(L.CFG_FLAGS, options.flags, true);
    for (let cpu = 0; cpu < options.cpus; cpu++) {
      this.view.setUint32(this.block(cpu) + L.R_INDEX, cpu, true);
      this.core.lapicReset(cpu);
    }
    this.core.platformReset();
  }

  static create(options: MachineOptions = {}): IntcMachine {
    const flags = options.flags ?? L.CFGF_LPC | L.CFGF_HPET;
    return new IntcMachine(compiledIntc, {
      cpus: options.cpus ?? 2,
      flags,
      wallSeconds: options.wallSeconds ?? 1_700_000_000,
    });
  }

  block(cpu: number): number {
    return L.VCPU + cpu * L.VCPU_STRIDE;
  }

  in(port: number, size = 1): number {
    return this.core.portRead(port, size) >>> 0;
  }

  out(port: number, value: number, size = 1): void {
    this.core.portWrite(port, size, value);
  }

  apic(cpu: number, offset: number): number {
    return this.core.lapicMmioRead(cpu, offset, 4) >>> 0;
  }

  setApic(cpu: number, offset: number, value: number): void {
    this.core.lapicMmioWrite(cpu, offset, 4, value);
  }

  /** Enables the local APICs as an operating system does. */
  enableApics(): void {
    for (let cpu = 0; cpu < this.options.cpus; cpu++) this.setApic(cpu, LAPIC_SVR, 0x1ff);
  }

  ioApic(register: number): number {
    this.core.mmioWrite(IOAPIC, 4, BigInt(register));
    return Number(this.core.mmioRead(IOAPIC + 0x10n, 4));
  }

  setIoApic(register: number, value: number): void {
    this.core.mmioWrite(IOAPIC, 4, BigInt(register));
    this.core.mmioWrite(IOAPIC + 0x10n, 4, BigInt(value >>> 0));
  }

  /** A redirection table entry. */
  route(pin: number, low: number, destination = 0): void {
    this.setIoApic(0x11 + pin * 2, destination << 24);
    this.setIoApic(0x10 + pin * 2, low);
  }

  /** PEND_* bits of a vCPU since the last call. */
  takePending(cpu: number): number {
    return Atomics.exchange(this.words, (this.block(cpu) + L.R_PENDING) >> 2, 0);
  }

  /** The vector that the vCPU takes now, or -1. */
  take(cpu = 0): number {
    return this.core.interruptPending(cpu) ? this.core.interruptAcknowledge(cpu) : -1;
  }

  eoi(cpu = 0): void {
    this.setApic(cpu, LAPIC_EOI, 0);
  }

  /** Initializes the 8259 pair as a PC does: vectors 20h and 28h, cascade on IR2, everything unmasked. */
  initPics(icw4 = 1): void {
    this.out(0x20, 0x11);
    this.out(0xa0, 0x11);
    this.out(0x21, 0x20);
    this.out(0xa1, 0x28);
    this.out(0x21, 0x04);
    this.out(0xa1, 0x02);
    this.out(0x21, icw4);
    this.out(0xa1, icw4 & ~0x10);
    this.out(0x21, 0);
    this.out(0xa1, 0);
  }

  /** Everything that a snapshot holds: the shared block and the vCPUs' local APICs. */
  save(): { shared: Uint8Array; apics: Uint8Array[]; nowNs: number } {
    const apics: Uint8Array[] = [];
    for (let cpu = 0; cpu < this.options.cpus; cpu++) {
      const at = this.block(cpu);
      apics.push(this.bytes.slice(at, at + L.VCPU_STATE_SIZE));
    }
    return { shared: this.bytes.slice(L.SHARED, L.CHUNKS), apics, nowNs: this.nowNs };
  }

  restore(state: { shared: Uint8Array; apics: Uint8Array[]; nowNs: number }): void {
    this.bytes.set(state.shared, L.SHARED);
    state.apics.forEach((apic, cpu) => this.bytes.set(apic, this.block(cpu)));
    this.nowNs = state.nowNs;
  }
}

/** Deterministic 32-bit random numbers (xorshift). */
export function randomSource(seed: number): () => number {
  let x = seed | 0 || 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>> 0;
  };
}
