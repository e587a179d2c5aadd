/**
 * The ACPI fixed hardware (ACPI 5.0, 4.8): PM1 event and control registers at 0x400, GPE0 block at 0x40C, SMI command port
 * 0xB2. The PM timer at 0x408 is in the core. The SCI is ISA IRQ 9, level-triggered.
 */
import { allOnes, type AccessSize, type PortBus, type PortHandler } from '../bus/port-bus.ts';
import { PassiveDevice, type Counters } from '../device.ts';
import type { DeviceState } from '../snapshot.ts';
import type { InterruptLines, LineSource } from './interrupt-lines.ts';
import { StateFields } from './state-fields.ts';
import type { Suspend } from './suspend.ts';

export const PM1_STS_PORT = 0x400;
export const PM1_EN_PORT = 0x402;
export const PM1_CNT_PORT = 0x404;
export const GPE0_STS_PORT = 0x40c;
export const GPE0_EN_PORT = 0x40d;
export const SMI_CMD_PORT = 0xb2;
export const ACPI_ENABLE = 0xa0;
export const ACPI_DISABLE = 0xa1;
export const SCI_IRQ = 9;

/** PM1 status and enable bits (4.8.3.1). */
export const PM1_GBL = 0x0020;
export const PM1_PWRBTN = 0x0100;
export const PM1_RTC = 0x0400;
/** Bits that writing a one clears: WAK, RTC, SLPBTN, PWRBTN, BM. */
const PM1_STS_CLEARABLE = 0x8000 | PM1_RTC | 0x0200 | PM1_PWRBTN | 0x0010;
const PM1_EN_SETTABLE = PM1_RTC | PM1_PWRBTN | PM1_GBL;

/** PM1 control bits (4.8.3.2). */
export const PM1_SCI_EN = 0x0001;
export const PM1_SLP_EN = 0x2000;
/** Reserved bits and SLP_EN are not kept; SCI_EN changes through the SMI command port only. */
const PM1_CNT_DROPPED = 0xc003 | PM1_SLP_EN;
const SLP_TYP_SHIFT = 10;
/** \_S5 in our DSDT. */
const SLP_TYP_S5 = 5;

/** GPE0 bit 0: the VM generation counter changed. */
export const GPE_VM_GENERATION = 0x01;

const STATE_KIND = 'acpi-pm';
const STATE_VERSION = 1;

export class AcpiPm extends PassiveDevice implements PortHandler {
  /** Accesses of a width that the register does not take. */
  badAccesses = 0;
  readonly #sci: LineSource;
  readonly #suspend: Suspend;
  #status = 0;
  #enable = 0;
  #control = 0;
  #gpeStatus = 0;
  #gpeEnable = 0;

  constructor(ports: PortBus, lines: InterruptLines, suspend: Suspend) {
    super();
    this.#sci = lines.isaSource(SCI_IRQ);
    this.#suspend = suspend;
    ports.claim('acpi pm1', PM1_STS_PORT, 6, this);
    ports.claim('acpi gpe0', GPE0_STS_PORT, 2, this);
    ports.claim('acpi smi command', SMI_CMD_PORT, 1, this);
  }

  /** The guest's operating system has taken over power management. */
  get acpiEnabled(): boolean {
    return (this.#control & PM1_SCI_EN) !== 0;
  }

  /** Presses the power button. False when no operating system listens: the caller may then end the machine its own way. */
  pressPowerButton(): boolean {
    if (!this.acpiEnabled) return false;
    this.#status |= PM1_PWRBTN;
    this.#update();
    return true;
  }

  /** Raises a general-purpose event. */
  raiseGpe(bit: number): void {
    this.#gpeStatus |= bit & GPE_VM_GENERATION;
    this.#update();
  }

  #update(): void {
    this.#sci((this.#status & this.#enable) !== 0 || (this.#gpeStatus & this.#gpeEnable) !== 0);
  }

  readPort(port: number, size: AccessSize): number {
    if (port >= GPE0_STS_PORT && port <= GPE0_EN_PORT && size === 1) {
      return port === GPE0_STS_PORT ? this.#gpeStatus : this.#gpeEnable;
    }
    if (size === 2) {
      if (port === PM1_STS_PORT) return this.#status;
      if (port === PM1_EN_PORT) return this.#enable;
      if (port === PM1_CNT_PORT) return this.#control;
    }
    this.badAccesses++;
    return allOnes(size);
  }

  writePort(port: number, size: AccessSize, value: number): void {
    if (size === 1 && port === GPE0_STS_PORT) this.#gpeStatus &= ~value;
    else if (size === 1 && port === GPE0_EN_PORT) this.#gpeEnable = value & GPE_VM_GENERATION;
    else if (size === 1 && port === SMI_CMD_PORT) this.#smiCommand(value);
    else if (size === 2 && port === PM1_STS_PORT) this.#status &= ~(value & PM1_STS_CLEARABLE);
    else if (size === 2 && port === PM1_EN_PORT) this.#enable = value & PM1_EN_SETTABLE;
    else if (size === 2 && port === PM1_CNT_PORT) this.#writeControl(value);
    else this.badAccesses++;
    this.#update();
  }

  #smiCommand(value: number): void {
    if (value === ACPI_ENABLE) this.#control |= PM1_SCI_EN;
    else if (value === ACPI_DISABLE) this.#control &= ~PM1_SCI_EN;
  }

  #writeControl(value: number): void {
    this.#control = (this.#control & PM1_SCI_EN) | (value & ~PM1_CNT_DROPPED);
    if (value & PM1_SLP_EN && ((value >> SLP_TYP_SHIFT) & 7) === SLP_TYP_S5) this.#suspend('poweroff');
  }

  override counters(): Counters {
    return { 'bad accesses': this.badAccesses };
  }

  reset(): void {
    this.#status = 0;
    this.#enable = 0;
    this.#control = 0;
    this.#gpeStatus = 0;
    this.#gpeEnable = 0;
    this.#update();
  }

  save(): DeviceState {
    return {
      kind: STATE_KIND,
      version: STATE_VERSION,
      fields: {
        status: this.#status,
        enable: this.#enable,
        control: this.#control,
        gpeStatus: this.#gpeStatus,
        gpeEnable: this.#gpeEnable,
      },
    };
  }

  restore(state: DeviceState): void {
    const fields = StateFields.open(state, STATE_KIND, STATE_VERSION);
    const status = fields.integer('status', 0xffff);
    const enable = fields.integer('enable', 0xffff);
    const control = fields.integer('control', 0xffff);
    const gpeStatus = fields.integer('gpeStatus', 0xff);
    const gpeEnable = fields.integer('gpeEnable', 0xff);
    this.#status = status;
    this.#enable = enable;
    this.#control = control;
    this.#gpeStatus = gpeStatus;
    this.#gpeEnable = gpeEnable;
    this.#update();
  }
}
