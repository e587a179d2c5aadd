/**
 * The network card `e1000`: Intel's 82545EM with a copper transceiver, as bhyve has it (registers: Software Developer's Manual, chapter 13).
 * Registers are words; BAR2 reaches them through a pair of ports. The chip's own faults are not modelled.
 */
import {
  NO_OFFLOAD,
  prepareBackendRestore,
  saveBackend,
  type NetworkBackend,
  type NetworkFrame,
  type NetworkPort,
} from '../../backends/network.ts';
import type { Clock } from '../../bus/clock.ts';
import type { GuestMemory } from '../../bus/guest-memory.ts';
import type { AccessSize } from '../../bus/port-bus.ts';
import type { Counters } from '../../device.ts';
import type { DeviceBuilder } from '../../device-context.ts';
import { PciFunction } from '../../pci/function.ts';
import type { StateFields } from '../../platform/state-fields.ts';
import type { StateValue } from '../../snapshot.ts';
import type { MacAddress } from '../addresses.ts';
import { openNetworkCard } from '../card.ts';
import { joined } from '../wire.ts';
import { Eeprom } from './eeprom.ts';
import { InterruptCauses } from './interrupts.ts';
import { readPhy } from './phy.ts';
import { addressWords, filterFrame, freeDescriptors, longestFrame, runsLow, storeFrame } from './receive.ts';
import * as R from './registers.ts';
import { MPC, RNBC, ROC, RUC, Statistics, TSCTC } from './statistics.ts';
import { Transmitter } from './transmit.ts';

const IDENTITY = { vendorId: 0x8086, deviceId: 0x100f, subsystemVendorId: 0x8086, subsystemId: 0x1008 } as const;

const REGISTER_BAR = 0;
const FLASH_BAR = 1;
const FLASH_BYTES = 0x10000;
const PORT_BAR = 2;
const PORT_BYTES = 8;
const IOADDR = 0;
const IODATA = 4;

const LEDCTL_RESET = 0x07061302;
const PBA_RESET = 0x00100030;
const RXDCTL_RESET = 0x01010000;
const MIN_FRAME = 14;

export interface E1000Options {
  readonly memory: GuestMemory;
  readonly clock: Clock;
  readonly backend: NetworkBackend;
  readonly mac: MacAddress;
}

export class E1000 extends PciFunction {
  /** Packets and descriptors of the guest that made no sense. */
  badDescriptors = 0;
  readonly #memory: GuestMemory;
  readonly #clock: Clock;
  readonly #backend: NetworkBackend;
  readonly #eeprom: Eeprom;
  readonly #interrupts: InterruptCauses;
  readonly #statistics = new Statistics();
  readonly #transmitter: Transmitter;
  /** Registers that are plain memory, by word. */
  readonly #words = new Uint32Array(R.PACKET_BUFFER / 4);
  readonly #writable = new Map<number, number>(R.PLAIN_REGISTERS);
  readonly #ral = new Uint32Array(R.RECEIVE_ADDRESSES);
  readonly #rah = new Uint32Array(R.RECEIVE_ADDRESSES);
  readonly #mta = new Uint32Array(R.TABLE_WORDS);
  readonly #vfta = new Uint32Array(R.TABLE_WORDS);
  readonly #packetBuffer = new Uint32Array((R.REGISTERS_BYTES - R.PACKET_BUFFER) / 4);
  #linkUp = true;
  #ioAddress = 0;
  #blocked = false;
  #moreLater = false;
  /** A frame was offered and found no room. */
  #starved = false;

  constructor(options: E1000Options) {
    super('e1000', { ...IDENTITY, classCode: 0x02, subclass: 0x00 });
    this.#memory = options.memory;
    this.#clock = options.clock;
    this.#backend = options.backend;
    this.#eeprom = new Eeprom(options.mac, IDENTITY);
    this.#interrupts = new InterruptCauses(options.clock, (asserted) => this.setIntx(asserted));
    this.#transmitter = this.#makeTransmitter();
    const posted = [R.TDT, R.RDT, R.IMS, R.IMC].map((offset) => ({ offset, lengthBytes: 4 }));
    this.addBar(REGISTER_BAR, 'mem32', R.REGISTERS_BYTES, { posted });
    this.addBar(FLASH_BAR, 'mem32', FLASH_BYTES);
    this.addBar(PORT_BAR, 'io', PORT_BYTES);
    this.requestIntx();
    this.#powerOn();
  }

  #word(offset: number): number {
    return this.#words[offset >> 2] ?? 0;
  }

  #setWord(offset: number, value: number): void {
    this.#words[offset >> 2] = value;
  }

  #base(low: number, high: number): number {
    return this.#word(high) * 2 ** 32 + this.#word(low);
  }

  #bad(): void {
    this.badDescriptors++;
  }

  get #vlanType(): number | undefined {
    return this.#word(R.CTRL) & R.CTRL_VME ? this.#word(R.VET) : undefined;
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Accesses

  protected override readBar(index: number, offset: number, size: AccessSize): number {
    if (index === FLASH_BAR) return 0;
    if (index === REGISTER_BAR) return this.#readPart(offset, size, (word) => this.#readRegister(word));
    return this.#readPart(offset, size, (word) => {
      if (word === IOADDR) return this.#ioAddress;
      return this.#ioAddress < R.REGISTERS_BYTES ? this.#readRegister(this.#ioAddress & ~3) : 0;
    });
  }

  /** An aligned part of a word; what straddles two reads as zero. */
  #readPart(offset: number, size: AccessSize, read: (word: number) => number): number {
    if (offset % size !== 0) {
      this.badAccesses++;
      return 0;
    }
    const value = read(offset & ~3);
    return Math.floor(value / 2 ** (8 * (offset & 3))) % 2 ** (8 * size);
  }

  protected override writeBar(index: number, offset: number, size: AccessSize, value: number): void {
    if (index === FLASH_BAR) return;
    if (size !== 4 || (offset & 3) !== 0) {
      this.badAccesses++;
      return;
    }
    if (index === REGISTER_BAR) this.#writeRegister(offset, value);
    else if (offset === IOADDR) this.#ioAddress = value;
    else if (offset === IODATA && this.#ioAddress < R.REGISTERS_BYTES) {
      this.#writeRegister(this.#ioAddress & ~3, value);
    }
  }

  /** The table that a register belongs to, and its place there. */
  #table(offset: number): readonly [Uint32Array, number] | undefined {
    if (offset >= R.PACKET_BUFFER) return [this.#packetBuffer, (offset - R.PACKET_BUFFER) >> 2];
    if (offset >= R.MTA && offset < R.MTA + 4 * R.TABLE_WORDS) return [this.#mta, (offset - R.MTA) >> 2];
    if (offset >= R.VFTA && offset < R.VFTA + 4 * R.TABLE_WORDS) return [this.#vfta, (offset - R.VFTA) >> 2];
    if (offset >= R.RAL && offset < R.RAL + 8 * R.RECEIVE_ADDRESSES) {
      const index = (offset - R.RAL) >> 3;
      return [offset & 4 ? this.#rah : this.#ral, index];
    }
    return undefined;
  }

  #readRegister(offset: number): number {
    const table = this.#table(offset);
    if (table) return table[0][table[1]] ?? 0;
    if (offset >= R.STATISTICS && offset < R.STATISTICS_END) return this.#statistics.read(offset - R.STATISTICS);
    switch (offset) {
      case R.STATUS:
        return R.STATUS_FD | R.STATUS_SPEED_1000 | (this.#linkUp ? R.STATUS_LU : 0);
      case R.EECD:
        return this.#eeprom.eecd;
      case R.EERD:
        return this.#eeprom.eerd;
      case R.ICR:
        return this.#interrupts.take();
      case R.ITR:
        return this.#interrupts.itr;
      case R.IMS:
        return this.#interrupts.mask;
      case R.CTRL:
      case R.MDIC:
      case R.RCTL:
      case R.TCTL:
      case R.RDH:
      case R.RDT:
      case R.TDH:
      case R.TDT:
        return this.#word(offset);
      default:
        if (this.#writable.has(offset)) return this.#word(offset);
        if (offset !== R.MANC && offset !== R.WUS && offset !== R.RXCW) this.badAccesses++;
        return 0;
    }
  }

  #writeRegister(offset: number, value: number): void {
    const table = this.#table(offset);
    if (table) {
      table[0][table[1]] = value;
      return;
    }
    switch (offset) {
      case R.CTRL:
        this.#writeControl(value);
        break;
      case R.EECD:
        this.#eeprom.writeEecd(value);
        break;
      case R.EERD:
        this.#eeprom.writeEerd(value);
        break;
      case R.MDIC:
        this.#writeMdic(value);
        break;
      case R.ICR:
        this.#interrupts.clear(value);
        break;
      case R.ITR:
        this.#interrupts.itr = value;
        break;
      case R.ICS:
        this.#interrupts.raise(value);
        break;
      case R.IMS:
        this.#interrupts.enable(value);
        break;
      case R.IMC:
        this.#interrupts.disable(value);
        break;
      case R.RCTL:
        this.#setWord(offset, value);
        this.#receiveReady();
        break;
      case R.RDH:
        this.#setWord(offset, value & 0xffff);
        break;
      case R.RDT:
        this.#setWord(offset, value & 0xffff);
        this.#receiveReady();
        break;
      case R.TCTL:
        this.#setWord(offset, value);
        this.#transmit();
        break;
      case R.TDH:
        this.#setWord(offset, value & 0xffff);
        break;
      case R.TDT:
        this.#setWord(offset, value & 0xffff);
        this.#transmit();
        break;
      default: {
        const writable = this.#writable.get(offset);
        if (writable !== undefined) this.#setWord(offset, (value & writable) >>> 0);
        else if (offset < R.STATISTICS || offset >= R.STATISTICS_END) this.badAccesses++;
      }
    }
  }

  #writeControl(value: number): void {
    if (value & R.CTRL_RST) {
      this.#driverReset();
      return;
    }
    // The bits that reset something clear themselves.
    this.#setWord(R.CTRL, (value & ~R.CTRL_RST & 0x7fffffff) >>> 0);
  }

  #writeMdic(value: number): void {
    const register = (value >>> 16) & 31;
    const address = (value >>> 21) & 31;
    let data = value & 0xffff;
    if (value & R.MDIC_OP_READ) data = readPhy(address, register, this.#linkUp);
    const failed = address !== 1 ? R.MDIC_ERROR : 0;
    const kept = value & ~(0xffff | R.MDIC_READY | R.MDIC_ERROR);
    this.#setWord(R.MDIC, (kept | data | R.MDIC_READY | failed) >>> 0);
    if (value & R.MDIC_INTERRUPT) this.#interrupts.raise(R.INT_MDAC);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Frames from the guest

  #makeTransmitter(): Transmitter {
    const card = this;
    const ring = {
      get base() {
        return card.#base(R.TDBAL, R.TDBAH);
      },
      get lengthBytes() {
        return card.#word(R.TDLEN);
      },
      get head() {
        return card.#word(R.TDH);
      },
      set head(index) {
        card.#setWord(R.TDH, index);
      },
      get tail() {
        return card.#word(R.TDT);
      },
    };
    return new Transmitter({
      ...{ memory: this.#memory, ring },
      backend: {
        get offload() {
          return card.#looped ? NO_OFFLOAD : card.#backend.offload;
        },
        send: (frame) => (card.#looped ? card.#loopBack(frame) : card.#backend.send(frame)),
      },
      get vlanType() {
        return card.#vlanType;
      },
      get padsShort() {
        return (card.#word(R.TCTL) & R.TCTL_PSP) !== 0;
      },
      sent: (frameBytes, start) => this.#statistics.sent(frameBytes, start),
      segmented: () => this.#statistics.count(TSCTC),
      bad: () => this.#bad(),
    });
  }

  /** RCTL.LBM: what is sent is received. */
  get #looped(): boolean {
    return (this.#word(R.RCTL) & R.RCTL_LBM) !== 0;
  }

  #loopBack(frame: NetworkFrame): boolean {
    this.#receive(frame);
    return true;
  }

  #transmit(): void {
    if (this.paused || this.#blocked || !this.busMaster || !(this.#word(R.TCTL) & R.TCTL_EN)) return;
    const before = this.#word(R.TDH);
    const { state, reported } = this.#transmitter.run();
    let causes = reported ? R.INT_TXDW : 0;
    if (state === 'done' && before !== this.#word(R.TDH)) causes |= R.INT_TXQE;
    if (causes !== 0) this.#interrupts.raise(causes);
    this.#blocked = state === 'blocked';
    if (state === 'more') this.#transmitLater();
  }

  #transmitLater(): void {
    if (this.#moreLater) return;
    this.#moreLater = true;
    this.#clock.at(this.#clock.nowNs(), () => {
      this.#moreLater = false;
      this.#transmit();
    });
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Frames for the guest

  get #receiveRing(): { base: number; lengthBytes: number; head: number; tail: number } {
    return {
      base: this.#base(R.RDBAL, R.RDBAH),
      lengthBytes: this.#word(R.RDLEN),
      head: this.#word(R.RDH),
      tail: this.#word(R.RDT),
    };
  }

  /** False: there is no room. */
  #receive(frame: NetworkFrame): boolean {
    const rctl = this.#word(R.RCTL);
    if (this.paused || !this.busMaster || this.#starved) return false;
    // A receiver that is switched off hears nothing.
    if (!(rctl & R.RCTL_EN)) return true;
    const bytes = joined(frame.parts);
    if (bytes.length < MIN_FRAME || bytes.length > longestFrame(rctl)) {
      this.#statistics.count(bytes.length < MIN_FRAME ? RUC : ROC);
      return true;
    }
    const filtered = filterFrame(bytes, {
      ...{ rctl, ral: this.#ral, rah: this.#rah, mta: this.#mta, vfta: this.#vfta },
      vet: this.#word(R.VET),
    });
    if (!filtered) return true;
    const ring = this.#receiveRing;
    const stored = storeFrame(bytes, filtered, {
      ...{ memory: this.#memory, ring, rctl },
      rxcsum: this.#word(R.RXCSUM),
      vlanType: this.#vlanType,
      bad: () => this.#bad(),
    });
    if (!stored) {
      this.#starved = true;
      this.#statistics.count(RNBC);
      this.#statistics.count(MPC);
      this.#interrupts.raise(R.INT_RXO);
      return false;
    }
    this.#setWord(R.RDH, ring.head);
    this.#statistics.received(bytes.length, bytes);
    this.#interrupts.raise(R.INT_RXT0 | (runsLow(ring, rctl) ? R.INT_RXDMT0 : 0));
    return true;
  }

  /** The driver gave buffers, or switched the receiver on. */
  #receiveReady(): void {
    if (this.paused) return;
    if (this.#starved && freeDescriptors(this.#receiveRing) === 0) return;
    const starved = this.#starved;
    this.#starved = false;
    if (starved) this.#backend.receiveReady();
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Life cycle

  #port(): NetworkPort {
    return {
      // Frames in the ring have their checksums: a guest may hand them on as they are.
      offload: NO_OFFLOAD,
      receive: (frame) => this.#receive(frame),
      drained: () => {
        this.#blocked = false;
        this.#transmit();
      },
      linkChanged: (up) => {
        if (this.#linkUp === up) return;
        this.#linkUp = up;
        this.#interrupts.raise(R.INT_LSC);
      },
    };
  }

  protected override startDevice(): void {
    this.#backend.open(this.#port());
  }

  protected override resumeDevice(): void {
    this.#interrupts.resume();
    this.#blocked = false;
    this.#starved = false;
    this.#transmit();
    this.#backend.receiveReady();
  }

  protected override busMasterChanged(enabled: boolean): void {
    if (!enabled) return;
    this.#transmit();
    this.#backend.receiveReady();
  }

  /** CTRL.RST: what tells the card where things are stays, what says that they are in use goes (as in bhyve). */
  #driverReset(): void {
    const keeps = new Set<number>([R.FCAL, R.FCAH, R.FCT, R.RDBAL, R.RDBAH, R.TDBAL, R.TDBAH]);
    for (const offset of this.#writable.keys()) if (!keeps.has(offset)) this.#setWord(offset, 0);
    for (const offset of [R.CTRL, R.MDIC, R.RCTL, R.TCTL, R.RDH, R.RDT, R.TDH, R.TDT]) this.#setWord(offset, 0);
    this.#setWord(R.LEDCTL, LEDCTL_RESET);
    this.#setWord(R.PBA, PBA_RESET);
    this.#setWord(R.RXDCTL, RXDCTL_RESET);
    for (let index = 0; index < R.RECEIVE_ADDRESSES; index++) this.#rah[index] = (this.#rah[index] ?? 0) & 0x7fffffff;
    // The first address comes from the EEPROM (manual, 13.5.4).
    const [ral, rah] = addressWords(this.#eeprom.mac);
    this.#ral[0] = ral;
    this.#rah[0] = rah + R.RAH_VALID;
    this.#eeprom.reset();
    this.#interrupts.reset();
    this.#statistics.reset();
    this.#transmitter.reset();
    this.#blocked = false;
    this.#starved = false;
  }

  #powerOn(): void {
    this.#words.fill(0);
    for (const table of [this.#ral, this.#rah, this.#mta, this.#vfta, this.#packetBuffer]) table.fill(0);
    this.#ioAddress = 0;
    this.#driverReset();
  }

  protected override resetDevice(): void {
    this.#powerOn();
  }

  protected override closeDevice(): Promise<void> {
    return this.#backend.close();
  }

  protected override deviceCounters(): Counters {
    return { 'bad descriptors': this.badDescriptors, ...this.#backend.counters() };
  }

  protected override saveDevice(): { readonly [field: string]: StateValue } {
    const registers = [...this.#writable.keys(), R.CTRL, R.MDIC, R.RCTL, R.TCTL, R.RDH, R.RDT, R.TDH, R.TDT];
    return {
      registers: registers.map((offset) => this.#word(offset)),
      ral: [...this.#ral],
      rah: [...this.#rah],
      mta: [...this.#mta],
      vfta: [...this.#vfta],
      packetBuffer: new Uint8Array(this.#packetBuffer.buffer.slice(0)),
      ioAddress: this.#ioAddress,
      eeprom: this.#eeprom.save(),
      interrupts: this.#interrupts.save(),
      statistics: this.#statistics.save(),
      transmitter: this.#transmitter.save(),
      backend: saveBackend(this.#backend),
    };
  }

  protected override prepareDeviceRestore(fields: StateFields): () => void {
    const offsets = [...this.#writable.keys(), R.CTRL, R.MDIC, R.RCTL, R.TCTL, R.RDH, R.RDT, R.TDH, R.TDT];
    const registers = fields.integers('registers', offsets.length, 0xffffffff);
    const tables = [
      [this.#ral, fields.integers('ral', R.RECEIVE_ADDRESSES, 0xffffffff)],
      [this.#rah, fields.integers('rah', R.RECEIVE_ADDRESSES, 0xffffffff)],
      [this.#mta, fields.integers('mta', R.TABLE_WORDS, 0xffffffff)],
      [this.#vfta, fields.integers('vfta', R.TABLE_WORDS, 0xffffffff)],
    ] as const;
    const packetBuffer = fields.bytes('packetBuffer', this.#packetBuffer.byteLength);
    const ioAddress = fields.integer('ioAddress', 0xffffffff);
    const restoreEeprom = this.#eeprom.prepareRestore(fields.group('eeprom'));
    const restoreInterrupts = this.#interrupts.prepareRestore(fields.group('interrupts'));
    const restoreStatistics = this.#statistics.prepareRestore(fields, 'statistics');
    const restoreTransmitter = this.#transmitter.prepareRestore(fields.group('transmitter'));
    const restoreBackend = prepareBackendRestore(this.#backend, fields, 'backend');
    return () => {
      offsets.forEach((offset, index) => this.#setWord(offset, registers[index] ?? 0));
      for (const [table, values] of tables) table.set(values);
      new Uint8Array(this.#packetBuffer.buffer).set(packetBuffer);
      this.#ioAddress = ioAddress;
      restoreEeprom();
      restoreInterrupts();
      restoreStatistics();
      restoreTransmitter();
      restoreBackend();
      this.#blocked = false;
      this.#starved = false;
    };
  }
}

export const buildE1000: DeviceBuilder = async (context, where, variables) => {
  const { memory, clock } = context;
  return new E1000({ memory, clock, ...(await openNetworkCard(context, where, variables)) });
};
