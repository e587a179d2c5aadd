/** The AHCI adapter of bhyve: an Intel ICH8 with up to 32 ports (AHCI 1.3.1). */
import type { AtaDevice } from '../ata/command.ts';
import type { GuestMemory } from '../bus/guest-memory.ts';
import { allOnes, type AccessSize } from '../bus/port-bus.ts';
import type { PostedRange } from '../bus/posted-ranges.ts';
import type { Counters } from '../device.ts';
import { PciFunction } from '../pci/function.ts';
import type { StateFields } from '../platform/state-fields.ts';
import type { StateValue } from '../snapshot.ts';
import { AhciPort, type PortHost } from './port.ts';
import * as R from './registers.ts';

const ABAR = 5;
/** bhyve's adapter has no fewer ports, with or without drives. */
const MIN_PORTS = 6;
const MAX_MSI_MESSAGES = 16;

export interface AhciOptions {
  readonly memory: GuestMemory;
  /** Drives by port number; a port without one is left out or undefined. */
  readonly drives: readonly (AtaDevice | undefined)[];
}

export class AhciController extends PciFunction implements PortHost {
  readonly memory: GuestMemory;
  readonly ports: readonly AhciPort[];
  readonly #capabilities: number;
  readonly #implemented: number;
  readonly #messages: number;
  #control = 0;
  /** Ports that have interrupted and were not acknowledged. */
  #is = 0;
  #resetting = false;

  constructor({ memory, drives }: AhciOptions) {
    super('ahci', { vendorId: 0x8086, deviceId: 0x2821, classCode: 0x01, subclass: 0x06, progIf: 0x01 });
    if (drives.length > R.MAX_PORTS) throw new RangeError(`AHCI adapter with ${drives.length} ports`);
    this.memory = memory;
    const count = Math.max(MIN_PORTS, drives.length);
    this.ports = Array.from({ length: count }, (_, index) => new AhciPort(index, drives[index], this));
    this.#capabilities = R.capabilities(count);
    this.#implemented = drives.reduce((bits, drive, index) => (drive ? bits | (1 << index) : bits), 0);
    let messages = 1;
    while (messages < Math.min(count, MAX_MSI_MESSAGES)) messages *= 2;
    this.#messages = messages;
    this.addMsi(messages);
    this.requestIntx();
    this.addBar(ABAR, 'mem32', R.PORTS_OFFSET + count * R.PORT_STRIDE, { posted: this.#postedRegisters(false) });
  }

  /** Registers whose effect no driver waits for; acknowledgements of interrupts are among them while those are messages. */
  #postedRegisters(messages: boolean): PostedRange[] {
    const posted: PostedRange[] = messages ? [{ offset: R.REG_IS, lengthBytes: 4 }] : [];
    for (const [index, { device }] of this.ports.entries()) {
      if (!device) continue;
      const port = R.PORTS_OFFSET + index * R.PORT_STRIDE;
      posted.push({ offset: port + R.PX_CI, lengthBytes: 4 });
      // Nothing comes of PxSACT before PxCI is written.
      posted.push({ offset: port + R.PX_SACT, lengthBytes: 4, quiet: true });
      posted.push({ offset: port + R.PX_SNTF, lengthBytes: 4, quiet: true });
      if (messages) posted.push({ offset: port + R.PX_IS, lengthBytes: 4 });
    }
    return posted;
  }

  protected override messagesChanged(enabled: boolean): void {
    this.setPosted(ABAR, this.#postedRegisters(enabled));
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Registers

  protected override readBar(index: number, offset: number, size: AccessSize): number {
    if (index !== ABAR) return super.readBar(index, offset, size);
    const shift = 8 * (offset & 3);
    if ((offset & 3) + size > 4) {
      this.badAccesses++;
      return allOnes(size);
    }
    return (this.#readRegister(offset & ~3) >>> shift) & allOnes(size);
  }

  #readRegister(offset: number): number {
    if (offset >= R.PORTS_OFFSET) {
      const port = this.ports[Math.floor((offset - R.PORTS_OFFSET) / R.PORT_STRIDE)];
      return port?.read((offset - R.PORTS_OFFSET) % R.PORT_STRIDE) ?? 0;
    }
    switch (offset) {
      case R.REG_CAP:
        return this.#capabilities;
      case R.REG_GHC:
        return (this.#control | R.GHC_AE | this.#singleMessage | (this.#resetting ? R.GHC_HR : 0)) >>> 0;
      case R.REG_IS:
        return this.#is >>> 0;
      case R.REG_PI:
        return this.#implemented >>> 0;
      case R.REG_VS:
        return R.VERSION_1_3;
      case R.REG_CAP2:
        return R.CAP2_APST;
      default:
        return 0;
    }
  }

  /** The guest granted fewer messages than there are ports: all ports share the first (10.6.2.4). */
  get #singleMessage(): number {
    return this.msiEnabled && this.msiMessageCount > 1 && this.msiMessageCount < this.#messages ? R.GHC_MRSM : 0;
  }

  protected override writeBar(index: number, offset: number, size: AccessSize, value: number): void {
    if (index !== ABAR || size !== 4 || offset & 3) {
      this.badAccesses++;
      return;
    }
    if (offset >= R.PORTS_OFFSET) {
      const port = this.ports[Math.floor((offset - R.PORTS_OFFSET) / R.PORT_STRIDE)];
      if (!this.#resetting) port?.write((offset - R.PORTS_OFFSET) % R.PORT_STRIDE, value);
      return;
    }
    switch (offset) {
      case R.REG_GHC:
        if (value & R.GHC_HR) this.#adapterReset();
        else if (!this.#resetting) this.#setControl(value & R.GHC_IE);
        break;
      case R.REG_IS:
        this.#acknowledge(value);
        break;
      default:
        // The others are read-only.
        break;
    }
  }

  #setControl(control: number): void {
    const wasOff = (this.#control & R.GHC_IE) === 0;
    this.#control = control;
    if (wasOff && control & R.GHC_IE) {
      for (let port = 0; port < this.ports.length; port++) if (this.#is & (1 << port)) this.#sendMessage(port);
    }
    this.#updateLine();
  }

  #acknowledge(ports: number): void {
    this.#is &= ~ports;
    for (const [index, port] of this.ports.entries()) {
      if (ports & (1 << index) && port.interrupting) this.portInterrupt(index);
    }
    this.#updateLine();
  }

  // -------------------------------------------------------------------------------------------------------------------
  // For the ports

  portInterrupt(index: number): void {
    if (this.ports[index]?.interrupting) {
      this.#is |= 1 << index;
      // A message is an edge: each new reason, and each that an acknowledgement left over, sends one (10.6.2.1).
      if (this.#control & R.GHC_IE) this.#sendMessage(index);
    }
    this.#updateLine();
  }

  #sendMessage(port: number): void {
    if (!this.msiEnabled) return;
    this.attachment.expectAccess();
    const granted = this.msiMessageCount;
    this.raiseMsi(granted < this.#messages ? 0 : Math.min(port, granted - 1));
  }

  #updateLine(): void {
    this.setIntx(this.#is !== 0 && (this.#control & R.GHC_IE) !== 0);
  }

  track(work: Promise<void>): void {
    this.requests.begin(
      work,
      () => undefined,
      (error) => this.attachment.deviceError(error),
    );
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Life cycle

  /** GHC.HR: everything stops; the bit stays set until no data moves any more (10.4.3). */
  #adapterReset(): void {
    if (this.#resetting) return;
    this.#clear();
    for (const port of this.ports) port.reset();
    if (this.requests.inFlight === 0) return;
    this.#resetting = true;
    void this.requests.drain().then(() => {
      this.#resetting = false;
    });
  }

  #clear(): void {
    this.#control = 0;
    this.#is = 0;
    this.setIntx(false);
  }

  protected override resetDevice(): void {
    this.#clear();
    for (const port of this.ports) port.powerOn();
  }

  /** Commands that were issued without bus mastering go ahead when it comes. */
  protected override busMasterChanged(enabled: boolean): void {
    if (enabled) for (const port of this.ports) port.resume();
  }

  protected override async closeDevice(): Promise<void> {
    await Promise.all(this.ports.map(({ device }) => device?.close()));
  }

  protected override deviceCounters(): Counters {
    const sums: Record<string, number> = {};
    for (const port of this.ports) {
      if (!port.device) continue;
      for (const [name, value] of Object.entries({ ...port.counters(), ...port.device.counters() })) {
        sums[name] = (sums[name] ?? 0) + value;
      }
    }
    return sums;
  }

  protected override saveDevice(): { readonly [field: string]: StateValue } {
    return { control: this.#control, is: this.#is >>> 0, ports: this.ports.map((port) => port.save()) };
  }

  protected override prepareDeviceRestore(fields: StateFields): () => void {
    const control = fields.integer('control', 0xffffffff);
    const is = fields.integer('is', 0xffffffff);
    const saved = fields.groups('ports', this.ports.length);
    const restores = this.ports.flatMap((port, index) => {
      const state = saved[index];
      return state ? [port.prepareRestore(state)] : [];
    });
    return () => {
      this.#control = control & R.GHC_IE;
      this.#is = is | 0;
      for (const restore of restores) restore();
      for (const port of this.ports) port.resume();
      this.#updateLine();
    };
  }
}
