/**
 * One port of an AHCI adapter: its registers, its command list, and the device behind it (AHCI 1.3.1, 3.3 and 5). Queued commands run
 * side by side, others alone. Stopping the command list drains what is in flight: PxCMD.CR stays set until then.
 */
import {
  ATA_BSY,
  ATA_DRQ,
  ATA_ERR,
  ATA_DSC,
  ATA_DRDY,
  DataLengthError,
  type AtaDevice,
  type AtaRegisters,
  type AtaResult,
} from '../ata/command.ts';
import { GuestAddressError, type GuestMemory } from '../bus/guest-memory.ts';
import type { Counters } from '../device.ts';
import type { StateFields } from '../platform/state-fields.ts';
import type { StateValue } from '../snapshot.ts';
import { PrdTable, readHeader, readTable, type CommandHeader } from './command-table.ts';
import * as F from './fis.ts';
import * as R from './registers.ts';

/** Status of a port without a device (AHCI 10.1.1): bits that no device drives. */
const TFD_NO_DEVICE = 0x7f;
const SIGNATURE_NONE = 0xffffffff;

/** What a port needs of its adapter. */
export interface PortHost {
  readonly memory: GuestMemory;
  /** True while the function may master the bus. */
  readonly busMaster: boolean;
  /** PxIS or PxIE changed: the adapter looks whether to interrupt. */
  portInterrupt(index: number): void;
  /** A request that lasts: the adapter knows when none is left. */
  track(work: Promise<void>): void;
}

export class AhciPort {
  readonly device: AtaDevice | undefined;
  readonly #index: number;
  readonly #host: PortHost;

  /** Commands that failed because of what the guest had set up in memory. */
  #badRequests = 0;
  /** Commands carried out. */
  #commandsDone = 0;
  #listLow = 0;
  #listHigh = 0;
  #fisLow = 0;
  #fisHigh = 0;
  #is = 0;
  #ie = 0;
  #command = 0;
  #currentSlot = 0;
  #tfd = TFD_NO_DEVICE;
  #signature = SIGNATURE_NONE;
  #ssts = 0;
  #sctl = 0;
  #serr = 0;
  #sact = 0;
  #ci = 0;
  #sntf = 0;

  /** Slots whose command is on its way, a bit each. */
  #running = 0;
  /** A command that is not queued runs: no other starts. */
  #exclusive = false;
  /** An error stopped the command list until software restarts it (6.2.2). */
  #halted = false;
  /** A software reset began; the next control FIS ends it. */
  #softReset = false;
  /** Grows when the list is stopped: results of older commands are dropped. */
  #generation = 0;
  /** Commands of older generations that still run. */
  #draining = 0;
  /** To be done when nothing is in flight any more. */
  #whenDrained: (() => void)[] = [];
  /** Queued commands that ended well and have not been told to the host. */
  #done = 0;

  constructor(index: number, device: AtaDevice | undefined, host: PortHost) {
    this.#index = index;
    this.device = device;
    this.#host = host;
    this.powerOn();
  }

  counters(): Counters {
    return { commands: this.#commandsDone, 'bad requests': this.#badRequests };
  }

  /** Bits that ask for an interrupt now. */
  get interrupting(): boolean {
    return (this.#status & this.#ie) !== 0;
  }

  get #status(): number {
    const connect = this.#serr & R.SERR_DIAG_X ? R.IS_PCS : 0;
    const ready = this.#serr & R.SERR_DIAG_N ? R.IS_PRCS : 0;
    return (this.#is | connect | ready) >>> 0;
  }

  get #busy(): boolean {
    return this.#running !== 0 || this.#draining > 0;
  }

  /** The machine is switched on, or reset as a whole. */
  powerOn(): void {
    this.device?.powerOn();
    this.reset();
  }

  /** A reset of the adapter. What is in flight is drained; its results are dropped. */
  reset(): void {
    this.#abandon();
    this.#listLow = this.#listHigh = this.#fisLow = this.#fisHigh = 0;
    this.#is = this.#ie = 0;
    this.#sctl = this.#serr = this.#sntf = 0;
    this.#command = R.CMD_SUD | R.CMD_POD | (this.device?.isPacketDevice ? R.CMD_ATAPI : 0);
    this.#currentSlot = 0;
    this.#linkUp();
  }

  #abandon(): void {
    this.#generation++;
    for (let slots = this.#running; slots !== 0; slots &= slots - 1) this.#draining++;
    this.#running = 0;
    this.#exclusive = false;
    this.#halted = false;
    this.#done = 0;
    this.#ci = 0;
    this.#sact = 0;
  }

  /** The device answers after COMRESET: status and signature, without posting them. */
  #linkUp(): void {
    this.#softReset = false;
    if (!this.device) {
      this.#ssts = 0;
      this.#signature = SIGNATURE_NONE;
      this.#tfd = TFD_NO_DEVICE;
      return;
    }
    this.device.reset();
    this.#ssts = R.SSTS_DET_ONLINE | R.SSTS_GEN3 | R.SSTS_IPM_ACTIVE;
    this.#signature = this.device.signature;
    this.#tfd = 0x100 | this.#resetStatus;
  }

  /** Packet devices come up without DRDY (ACS-3, 6.2). */
  get #resetStatus(): number {
    return this.device?.isPacketDevice ? ATA_DSC : ATA_DRDY | ATA_DSC;
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Registers

  read(offset: number): number {
    switch (offset) {
      case R.PX_CLB:
        return this.#listLow;
      case R.PX_CLBU:
        return this.#listHigh;
      case R.PX_FB:
        return this.#fisLow;
      case R.PX_FBU:
        return this.#fisHigh;
      case R.PX_IS:
        return this.#status;
      case R.PX_IE:
        return this.#ie;
      case R.PX_CMD:
        return this.#commandRegister;
      case R.PX_TFD:
        return this.#exclusive ? this.#tfd | ATA_BSY : this.#tfd;
      case R.PX_SIG:
        return this.#signature;
      case R.PX_SSTS:
        return this.#ssts;
      case R.PX_SCTL:
        return this.#sctl;
      case R.PX_SERR:
        return this.#serr;
      case R.PX_SACT:
        return this.#sact >>> 0;
      case R.PX_CI:
        return this.#ci >>> 0;
      case R.PX_SNTF:
        return this.#sntf;
      default:
        return 0;
    }
  }

  get #commandRegister(): number {
    let value = this.#command | (this.#currentSlot << R.CMD_CCS_SHIFT);
    if (this.device) value |= R.CMD_CPS;
    if (this.#command & R.CMD_FRE) value |= R.CMD_FR;
    if (this.#command & R.CMD_ST || this.#busy) value |= R.CMD_CR;
    return value >>> 0;
  }

  write(offset: number, value: number): void {
    switch (offset) {
      case R.PX_CLB:
        this.#listLow = (value & ~0x3ff) >>> 0;
        break;
      case R.PX_CLBU:
        this.#listHigh = value;
        break;
      case R.PX_FB:
        this.#fisLow = (value & ~0xff) >>> 0;
        break;
      case R.PX_FBU:
        this.#fisHigh = value;
        break;
      case R.PX_IS:
        this.#is &= ~(value & R.IS_WRITABLE);
        this.#host.portInterrupt(this.#index);
        break;
      case R.PX_IE:
        this.#ie = (value & R.IE_WRITABLE) >>> 0;
        this.#host.portInterrupt(this.#index);
        break;
      case R.PX_CMD:
        this.#writeCommand(value);
        break;
      case R.PX_SCTL:
        this.#writeControl(value);
        break;
      case R.PX_SERR:
        this.#serr = (this.#serr & ~value) >>> 0;
        this.#host.portInterrupt(this.#index);
        break;
      case R.PX_SACT:
        if (this.#command & R.CMD_ST) this.#sact |= value;
        break;
      case R.PX_CI:
        if (this.#command & R.CMD_ST && this.device) {
          this.#ci |= value;
          this.#advance();
        }
        break;
      case R.PX_SNTF:
        this.#sntf &= ~value;
        break;
      default:
        break;
    }
  }

  #writeCommand(value: number): void {
    const before = this.#command;
    this.#command = ((value & R.CMD_WRITABLE) | (this.device?.isPacketDevice ? R.CMD_ATAPI : 0)) >>> 0;
    // Command list override: the device looks idle, whatever it does.
    if (value & R.CMD_CLO) this.#tfd &= ~(ATA_BSY | ATA_DRQ);
    const started = this.#command & R.CMD_ST;
    if (before & R.CMD_ST && !started) {
      this.#abandon();
      this.#currentSlot = 0;
    } else if (!(before & R.CMD_ST) && started) {
      this.#halted = false;
      this.#advance();
    }
  }

  #writeControl(value: number): void {
    const before = this.#sctl & R.SCTL_DET_MASK;
    this.#sctl = value & 0xfff;
    const detection = value & R.SCTL_DET_MASK;
    if (!this.device || before === detection) return;
    if (detection === R.SCTL_DET_RESET) {
      this.#abandon();
      this.#ssts = R.SSTS_DET_PRESENT;
      this.#tfd = ATA_BSY | TFD_NO_DEVICE;
    } else if (detection === R.SCTL_DET_OFFLINE) {
      this.#abandon();
      this.#ssts = R.SSTS_DET_OFFLINE;
      this.#tfd = TFD_NO_DEVICE;
    } else if (detection === 0) {
      this.#drained(() => {
        this.#linkUp();
        this.#serr |= R.SERR_DIAG_X | R.SERR_DIAG_N;
        this.#postSignature();
        this.#host.portInterrupt(this.#index);
      });
    }
  }

  /** Does it now or when nothing of older generations runs any more. */
  #drained(then: () => void): void {
    if (this.#busy) this.#whenDrained.push(then);
    else then();
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Commands

  /** Starts what can start, lowest slot first. */
  #advance(): void {
    while (this.#command & R.CMD_ST && !this.#halted && !this.#exclusive && this.#draining === 0) {
      const waiting = this.#ci & ~this.#running;
      if (waiting === 0) return;
      const slot = 31 - Math.clz32(waiting & -waiting);
      if (!this.#start(slot)) return;
    }
  }

  /** Starts the command of a slot; false when it has to wait. */
  #start(slot: number): boolean {
    if (!this.#host.busMaster) return false;
    const { memory } = this.#host;
    this.#currentSlot = slot;
    let header: CommandHeader;
    let table: { fis: Uint8Array; packet: Uint8Array };
    try {
      header = readHeader(memory, this.#listHigh * 2 ** 32 + this.#listLow, slot);
      table = readTable(memory, header.tableGpa);
    } catch (error) {
      if (!(error instanceof GuestAddressError)) throw error;
      this.#hostMemoryError(error);
      return false;
    }
    const { fis, packet } = table;
    if (fis[0] !== F.FIS_REGISTER_H2D) {
      // A FIS of another type leads nowhere: the slot is done with.
      this.#badRequests++;
      this.#ci &= ~(1 << slot);
      return true;
    }
    if (!((fis[1] ?? 0) & F.FIS_COMMAND)) {
      this.#control(slot, fis[15] ?? 0);
      return true;
    }
    const registers = F.registersOf(fis);
    const queued = this.device?.isQueued(registers.command) ?? false;
    if (!queued && this.#running !== 0) return false;
    this.#execute(slot, header, registers, packet, queued);
    return true;
  }

  /** A device control FIS: software reset (Serial ATA 3.2, 11.4). */
  #control(slot: number, control: number): void {
    this.#ci &= ~(1 << slot);
    if (control & F.CONTROL_SRST) {
      this.#softReset = true;
    } else if (this.#softReset && this.device) {
      this.#softReset = false;
      this.device.reset();
      this.#signature = this.device.signature;
      this.#tfd = 0x100 | this.#resetStatus;
      this.#postSignature();
    }
  }

  #execute(slot: number, header: CommandHeader, registers: AtaRegisters, packet: Uint8Array, queued: boolean): void {
    const { device } = this;
    if (!device) return;
    const bit = 1 << slot;
    const data = new PrdTable(this.#host.memory, header);
    let outcome: AtaResult | Promise<AtaResult>;
    this.#running |= bit;
    // A queued command leaves the list when the device has taken it (9.3.2).
    if (queued) this.#ci &= ~bit;
    else this.#exclusive = true;
    try {
      outcome = device.execute({ registers, packet, data });
    } catch (error) {
      data.release();
      this.#running &= ~bit;
      this.#exclusive = false;
      this.#failed(slot, queued, error);
      return;
    }
    if (!(outcome instanceof Promise)) {
      this.#running &= ~bit;
      this.#exclusive = false;
      data.written(outcome.storedBytes);
      data.release();
      this.#finish(slot, registers, data, outcome);
      return;
    }
    const generation = this.#generation;
    const end = (then: () => void): void => {
      if (generation !== this.#generation) {
        this.#draining--;
      } else {
        this.#running &= ~bit;
        if (!queued) this.#exclusive = false;
        then();
      }
      this.#afterEnd();
    };
    const work = outcome.then(
      (result) => {
        // Also of an abandoned command: its data has landed in memory that may hold code.
        data.written(result.storedBytes);
        data.release();
        end(() => this.#finish(slot, registers, data, result));
      },
      (error: unknown) => {
        data.release();
        end(() => this.#failed(slot, queued, error));
      },
    );
    this.#host.track(work);
  }

  #afterEnd(): void {
    if (!this.#busy) for (const then of this.#whenDrained.splice(0)) then();
    this.#advance();
  }

  /** The device has answered. */
  #finish(slot: number, registers: AtaRegisters, data: PrdTable, result: AtaResult): void {
    this.#commandsDone++;
    if (this.#halted) return;
    if (result.protocol === 'queued') {
      if (result.status & ATA_ERR) this.#queuedFailed(slot, registers, result);
      else this.#queuedDone(slot);
      return;
    }
    this.#storeByteCount(slot, result.transferredBytes);
    const hasFailed = (result.status & ATA_ERR) !== 0;
    this.#tfd = result.status | (result.error << 8);
    if (!hasFailed) this.#ci &= ~(1 << slot);
    let bits: number;
    if (result.protocol === 'pio-in' && !hasFailed) {
      this.#postFis(R.RFIS_PIO_SETUP, F.pioSetupFis(registers, result));
      bits = R.IS_PSS;
    } else {
      // Commands of the packet and PIO data-out protocols end with a register FIS, as DMA ones do.
      this.#postFis(R.RFIS_D2H, F.registerFis(registers, result));
      bits = R.IS_DHRS;
    }
    if (data.interrupt) bits |= R.IS_DPS;
    if (hasFailed) {
      bits |= R.IS_TFES;
      this.#halted = true;
    }
    this.#raise(bits);
  }

  /** Bytes transferred, for the driver (PRDBC, 4.2.2). */
  #storeByteCount(slot: number, bytes: number): void {
    try {
      const gpa = this.#listHigh * 2 ** 32 + this.#listLow + slot * R.HEADER_BYTES + 4;
      this.#host.memory.writeU32(gpa, bytes);
    } catch (error) {
      if (!(error instanceof GuestAddressError)) throw error;
      this.#badRequests++;
    }
  }

  /** Queued commands that end together share one FIS and one interrupt. */
  #queuedDone(slot: number): void {
    const first = this.#done === 0;
    this.#done |= 1 << slot;
    if (!first) return;
    const generation = this.#generation;
    queueMicrotask(() => {
      if (generation === this.#generation) this.#tellDone();
    });
  }

  #tellDone(): void {
    const done = this.#done;
    this.#done = 0;
    if (done === 0) return;
    this.#sact &= ~done;
    this.#tfd = ATA_DRDY | ATA_DSC;
    this.#postFis(R.RFIS_SET_DEVICE_BITS, F.setDeviceBitsFis(ATA_DRDY | ATA_DSC, 0, done));
    this.#raise(R.IS_SDBS);
  }

  /** The device aborts all queued commands; the host reads log 10h to learn which one it was (Serial ATA 3.2, 13.6.4). */
  #queuedFailed(slot: number, registers: AtaRegisters, result: AtaResult): void {
    this.#tellDone();
    this.device?.queuedError(slot, registers, result);
    this.#tfd = result.status | (result.error << 8);
    this.#halted = true;
    this.#postFis(R.RFIS_SET_DEVICE_BITS, F.setDeviceBitsFis(result.status, result.error, 0));
    this.#raise(R.IS_SDBS | R.IS_TFES);
  }

  /** Host memory was not as the command needed it. */
  #failed(slot: number, queued: boolean, error: unknown): void {
    if (queued) this.#ci |= 1 << slot;
    if (error instanceof DataLengthError) {
      this.#badRequests++;
      this.#tfd = ATA_DRDY | ATA_DSC | ATA_ERR | (0x04 << 8);
      this.#halted = true;
      this.#raise(R.IS_OFS | R.IS_TFES);
    } else {
      this.#hostMemoryError(error);
    }
  }

  #hostMemoryError(error: unknown): void {
    if (!(error instanceof GuestAddressError)) throw error;
    this.#badRequests++;
    this.#halted = true;
    this.#raise(R.IS_HBFS);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // What the host gets to see

  #postFis(offset: number, fis: Uint8Array): void {
    if (!(this.#command & R.CMD_FRE)) return;
    try {
      this.#host.memory.write(this.#fisHigh * 2 ** 32 + this.#fisLow + offset, fis);
    } catch (error) {
      if (!(error instanceof GuestAddressError)) throw error;
      this.#badRequests++;
    }
  }

  #postSignature(): void {
    if (this.device) this.#postFis(R.RFIS_D2H, F.signatureFis(this.device.signature, this.#resetStatus));
  }

  #raise(bits: number): void {
    this.#is |= bits;
    this.#host.portInterrupt(this.#index);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Snapshots

  save(): { [field: string]: StateValue } {
    return {
      list: [this.#listLow, this.#listHigh],
      fis: [this.#fisLow, this.#fisHigh],
      is: this.#is >>> 0,
      ie: this.#ie,
      command: this.#command,
      currentSlot: this.#currentSlot,
      tfd: this.#tfd,
      signature: this.#signature,
      ssts: this.#ssts,
      sctl: this.#sctl,
      serr: this.#serr,
      sact: this.#sact >>> 0,
      // Queued commands in flight are started over.
      ci: (this.#ci | this.#running) >>> 0,
      done: this.#done >>> 0,
      halted: this.#halted,
      softReset: this.#softReset,
      device: this.device ? { ...this.device.save() } : {},
    };
  }

  prepareRestore(fields: StateFields): () => void {
    const word = (name: string): number => fields.integer(name, 0xffffffff);
    const [listLow = 0, listHigh = 0] = fields.integers('list', 2, 0xffffffff);
    const [fisLow = 0, fisHigh = 0] = fields.integers('fis', 2, 0xffffffff);
    const is = word('is');
    const ie = word('ie');
    const command = word('command');
    const currentSlot = fields.integer('currentSlot', 31);
    const tfd = fields.integer('tfd', 0xffff);
    const signature = word('signature');
    const ssts = fields.integer('ssts', 0xfff);
    const sctl = fields.integer('sctl', 0xfff);
    const serr = word('serr');
    const sact = word('sact');
    const ci = word('ci');
    const done = word('done');
    const halted = fields.flag('halted');
    const softReset = fields.flag('softReset');
    const deviceFields = fields.group('device');
    const device = Object.fromEntries(
      deviceFields.names().map((name) => [name, deviceFields.integer(name, 0xffffffff)]),
    );
    return () => {
      this.#abandon();
      this.#listLow = (listLow & ~0x3ff) >>> 0;
      this.#listHigh = listHigh;
      this.#fisLow = (fisLow & ~0xff) >>> 0;
      this.#fisHigh = fisHigh;
      this.#is = is;
      this.#ie = (ie & R.IE_WRITABLE) >>> 0;
      this.#command = ((command & R.CMD_WRITABLE) | (this.device?.isPacketDevice ? R.CMD_ATAPI : 0)) >>> 0;
      this.#currentSlot = currentSlot;
      this.#tfd = tfd;
      this.#signature = signature;
      this.#ssts = ssts;
      this.#sctl = sctl;
      this.#serr = serr;
      this.#sact = sact | 0;
      this.#ci = this.device ? ci | 0 : 0;
      this.#done = done | 0;
      this.#halted = halted;
      this.#softReset = softReset;
      this.device?.restore(device);
      this.#tellDone();
    };
  }

  /** Takes up what waits: after a restore, or when the function may master the bus again. */
  resume(): void {
    this.#advance();
  }
}
