/**
 * One PCI function: configuration space, BARs, capabilities, interrupts and life cycle. A device model extends {@link PciFunction},
 * declares what it has in its constructor, answers {@link PciFunction.readBar} and {@link PciFunction.writeBar}, and overrides the hooks
 * of the life cycle that concern it ({@link PciFunction.startDevice} and its neighbours).
 */
import { allOnes, RangeTakenError, type AccessSize, type PortHandler } from '../bus/port-bus.ts';
import type { MmioHandler } from '../bus/mmio-bus.ts';
import { DEVICE_RAM_GRANULE_BYTES, type DeviceRam } from '../bus/device-ram.ts';
import type { PostedRange } from '../bus/posted-ranges.ts';
import type { Counters, Device } from '../device.ts';
import { StateFields } from '../platform/state-fields.ts';
import { RequestTracker } from '../request-tracker.ts';
import type { DeviceState, StateValue } from '../snapshot.ts';
import { Bar, barSizeBytes, type BarKind, type BarOptions } from './bar.ts';
import { MsixTable } from './msix.ts';
import type { PirqRouter } from './pirq.ts';
import * as R from './registers.ts';

/** Read-only identification in the header. */
export interface PciIdentity {
  readonly vendorId: number;
  readonly deviceId: number;
  readonly classCode: number;
  readonly subclass: number;
  readonly progIf?: number;
  readonly revisionId?: number;
  readonly subsystemVendorId?: number;
  readonly subsystemId?: number;
}

/** Bus, device and function number. */
export interface PciAddress {
  readonly bus: number;
  readonly slot: number;
  readonly func: number;
}

/** What the bus offers to a function that was plugged in. */
export interface PciAttachment {
  readonly where: PciAddress;
  readonly pirqs: PirqRouter;
  /** Both throw {@link RangeTakenError} when the range overlaps another claim; both return a function that releases. */
  claimPorts(name: string, first: number, count: number, handler: PortHandler): () => void;
  claimMmio(name: string, base: number, lengthBytes: number, handler: MmioHandler): () => void;
  /** Makes writes within parts of a claim posted; both return a function that ends it. */
  postPorts(first: number, parts: readonly PostedRange[]): () => void;
  postMmio(base: number, parts: readonly PostedRange[]): () => void;
  sendMsi(address: bigint, data: number): void;
  /** Level of the function's INTx line. */
  setIntx(asserted: boolean): void;
  /**
   * The device is busy until the promise settles: no vCPU's access to any device is answered before, or before the bus's patience ends.
   * For a reset by the driver that must drain what is in flight.
   */
  stall(until: Promise<void>): void;
  /** The driver, which was interrupted, will read registers to learn why. */
  expectAccess(): void;
  /** GuestMemory.hold(). */
  holdMemory(): () => void;
  /** A bug of the device, never the guest's to see. */
  deviceError(error: unknown): void;
  /** A range became free: other functions' BARs that were in conflict try again. */
  rangeReleased(): void;
  /** A BAR decodes nothing where it was put, because another device has the place. */
  rangeTaken(barIndex: number, error: RangeTakenError): void;
}

const STATE_VERSION = 1;
/** Registers of the header that a guest may write, besides the command register and the BARs. */
const HEADER_WRITABLE = [R.PCI_CACHE_LINE_SIZE, R.PCI_LATENCY_TIMER, R.PCI_INTERRUPT_LINE] as const;

// Accesses to device memory that the core does not make itself: it lies where the core maps no memory.
function readRam(bytes: Uint8Array, offset: number, size: AccessSize): number {
  let value = 0;
  for (let i = 0; i < size; i++) value += (bytes[offset + i] ?? 0) * 2 ** (8 * i);
  return value;
}

function writeRam(bytes: Uint8Array, offset: number, size: AccessSize, value: number): void {
  for (let i = 0; i < size; i++) bytes[offset + i] = value >>> (8 * i);
}

export abstract class PciFunction implements Device {
  /** Device model name, as in the configuration (`virtio-blk`). */
  readonly kind: string;
  /** BAR claims that another device's range prevented. */
  barConflicts = 0;
  /** Interrupt messages that were lost because bus mastering is off. */
  lostMessages = 0;
  /** Accesses inside a BAR that the device model has no register for, or of a size it does not take. */
  badAccesses = 0;

  /** Requests that are on their way to a backend. {@link pause} and {@link reset} wait for them. */
  protected readonly requests = new RequestTracker(
    (error) => this.attachment.deviceError(error),
    () => this.attachment.holdMemory(),
  );
  #paused = false;

  readonly #config = new Uint8Array(R.CONFIG_SPACE_BYTES);
  readonly #view = new DataView(this.#config.buffer);
  /** Bits of {@link #config} that guest writes change. */
  readonly #writable = new Uint8Array(R.CONFIG_SPACE_BYTES);
  /** State after power-on, with resources assigned. */
  #resetImage: Uint8Array | undefined;
  #bars: Bar[] = [];
  #capabilityEnd = R.PCI_DEVICE_SPECIFIC;
  #lastCapability = 0;
  #msiOffset = 0;
  #msixOffset = 0;
  #msix: MsixTable | undefined;
  #msixBar = -1;
  #wantsIntx = false;
  #intxAsserted = false;
  #wasBusMaster = false;
  #hadMessages = false;
  /** Where the INTx line leads. Unknown while the bus drives it, or before it is routed. */
  #intxLines = 0;
  #attachment: PciAttachment | undefined;

  constructor(kind: string, identity: PciIdentity) {
    this.kind = kind;
    this.#view.setUint16(R.PCI_VENDOR_ID, identity.vendorId, true);
    this.#view.setUint16(R.PCI_DEVICE_ID, identity.deviceId, true);
    this.#config[R.PCI_REVISION_ID] = identity.revisionId ?? 0;
    this.#config[R.PCI_PROG_IF] = identity.progIf ?? 0;
    this.#config[R.PCI_SUBCLASS] = identity.subclass;
    this.#config[R.PCI_CLASS] = identity.classCode;
    this.#view.setUint16(R.PCI_SUBSYSTEM_VENDOR_ID, identity.subsystemVendorId ?? 0, true);
    this.#view.setUint16(R.PCI_SUBSYSTEM_ID, identity.subsystemId ?? 0, true);
    this.#config[R.PCI_INTERRUPT_LINE] = 0xff;
    new DataView(this.#writable.buffer).setUint16(R.PCI_COMMAND, R.COMMAND_WRITABLE, true);
    for (const register of HEADER_WRITABLE) this.#writable[register] = 0xff;
    // Device-specific space is plain memory unless a capability or the device says otherwise (as in bhyve).
    this.#writable.fill(0xff, R.PCI_DEVICE_SPECIFIC);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // For device models

  /** Where the function is plugged in. */
  get where(): PciAddress {
    return this.attachment.where;
  }

  protected get attachment(): PciAttachment {
    if (!this.#attachment) throw new Error(`${this.kind} is not plugged into a bus`);
    return this.#attachment;
  }

  /** Declares BAR `index` (0-5). Only in the constructor. */
  protected addBar(index: number, kind: BarKind, sizeBytes: number, options: BarOptions = {}): void {
    const bar = new Bar(index, kind, sizeBytes, options);
    const taken = this.#bars.some(
      (other) => index < other.index + other.registerCount && other.index < index + bar.registerCount,
    );
    if (taken || index < 0 || index + bar.registerCount > R.PCI_BAR_COUNT)
      throw new RangeError(`BAR ${index} is taken`);
    this.#bars.push(bar);
    this.#storeBar(bar);
  }

  /** Writes in these ranges of BAR `index` are posted from now on, and no others. */
  protected setPosted(index: number, ranges: readonly PostedRange[]): void {
    const bar = this.#bars.find((one) => one.index === index);
    if (!bar) throw new RangeError(`${this.kind} has no BAR ${index}`);
    bar.posted = ranges;
    if (bar.claimedAddress !== undefined) this.#post(bar, bar.claimedAddress);
  }

  /** Declares BAR `index` (32-bit memory) with memory of the device behind it. Only in the constructor. */
  protected addRamBar(index: number, ram: DeviceRam): void {
    const lengthBytes = ram.bytes.length;
    if (barSizeBytes('mem32', lengthBytes) !== lengthBytes || lengthBytes % DEVICE_RAM_GRANULE_BYTES !== 0) {
      throw new RangeError(`BAR ${index}: ${lengthBytes} bytes are no power of two from 2 MiB up`);
    }
    this.addBar(index, 'mem32', lengthBytes, { ram });
  }

  /** Appends a capability; `body` follows the id and next-pointer bytes and is read-only except for `writableMask`. */
  protected addCapability(id: number, body: Uint8Array, writableMask: Uint8Array): number {
    const offset = this.#capabilityEnd;
    const lengthBytes = 2 + body.length;
    if (offset + lengthBytes > R.CONFIG_SPACE_BYTES) throw new RangeError(`${this.kind}: no room for capability ${id}`);
    if (this.#lastCapability === 0) this.#config[R.PCI_CAPABILITIES] = offset;
    else this.#config[this.#lastCapability + 1] = offset;
    this.#config[offset] = id;
    this.#config[offset + 1] = 0;
    this.#config.set(body, offset + 2);
    const end = (offset + lengthBytes + 3) & ~3;
    this.#writable.fill(0, offset, end);
    this.#writable.set(writableMask, offset + 2);
    this.#lastCapability = offset;
    this.#capabilityEnd = end;
    this.#view.setUint16(R.PCI_STATUS, this.#view.getUint16(R.PCI_STATUS, true) | R.STATUS_CAPABILITIES, true);
    return offset;
  }

  /** MSI with up to `messages` (1, 2, 4 ... 32) vectors, 64-bit addresses, no mask bits. */
  protected addMsi(messages: number): void {
    const log2 = Math.log2(messages);
    if (!Number.isInteger(log2) || log2 < 0 || log2 > 5) throw new RangeError(`${messages} MSI messages`);
    const body = new Uint8Array(R.MSI_CAP_BYTES - 2);
    const mask = new Uint8Array(body.length);
    new DataView(body.buffer).setUint16(0, R.MSI_64BIT | (log2 << 1), true);
    const masks = new DataView(mask.buffer);
    masks.setUint16(0, R.MSI_ENABLE | R.MSI_MULTIPLE_ENABLE, true);
    masks.setUint32(2, 0xfffffffc, true);
    masks.setUint32(6, 0xffffffff, true);
    masks.setUint16(10, 0xffff, true);
    this.#msiOffset = this.addCapability(R.CAP_MSI, body, mask);
  }

  /** MSI-X with its table at offset 0 of BAR `barIndex`, which is added (32-bit memory) at the size it needs. */
  protected addMsix(vectorCount: number, barIndex: number): void {
    const table = new MsixTable(vectorCount, (address, data) => {
      if (this.#maySendMessage()) this.attachment.sendMsi(address, data);
    });
    this.addBar(barIndex, 'mem32', table.spanBytes);
    const body = new Uint8Array(R.MSIX_CAP_BYTES - 2);
    const fields = new DataView(body.buffer);
    fields.setUint16(0, vectorCount - 1, true);
    fields.setUint32(2, barIndex, true);
    fields.setUint32(6, table.pbaOffset | barIndex, true);
    const mask = new Uint8Array(body.length);
    new DataView(mask.buffer).setUint16(0, R.MSIX_ENABLE | R.MSIX_FUNCTION_MASK, true);
    this.#msixOffset = this.addCapability(R.CAP_MSIX, body, mask);
    this.#msix = table;
    this.#msixBar = barIndex;
  }

  /** PCI Express capability. An endpoint counts as integrated into the root complex, since every bus here is a root bus. */
  protected addPcieCapability(type: number): void {
    const effective = type === R.PCIE_TYPE_ENDPOINT ? R.PCIE_TYPE_ROOT_INTEGRATED_ENDPOINT : type;
    const body = new Uint8Array(R.PCIE_CAP_BYTES - 2);
    const fields = new DataView(body.buffer);
    fields.setUint16(0, 2 | (effective << 4), true);
    const mask = new Uint8Array(body.length);
    const masks = new DataView(mask.buffer);
    masks.setUint16(6, 0x7fff, true); // device control
    masks.setUint16(38, 0x7fff, true); // device control 2
    if (effective !== R.PCIE_TYPE_ROOT_INTEGRATED_ENDPOINT) {
      fields.setUint32(10, 0x411, true); // link capabilities: x1, 2.5 GT/s, L0s
      fields.setUint16(16, 0x11, true); // link status: x1, 2.5 GT/s
      masks.setUint16(14, 0x0fff, true); // link control
      masks.setUint16(26, 0x001f, true); // root control
    }
    this.addCapability(R.CAP_PCIE, body, mask);
  }

  /** A BAR answers at an address now, or (undefined) no longer. */
  protected barDecoded(_index: number, _address: number | undefined): void {}

  /** The function has an interrupt pin; the bus chooses which when it is plugged in. */
  protected requestIntx(): void {
    this.#wantsIntx = true;
  }

  /** Makes a byte of device-specific configuration space read-only (`writableBits` 0) or partly so. */
  protected setConfigMask(offset: number, writableBits: number): void {
    this.#writable[offset] = writableBits;
  }

  /** Sets a configuration byte from the device's side, whatever its mask. */
  protected setConfigByte(offset: number, value: number): void {
    this.#config[offset] = value;
  }

  /**
   * For a device whose interrupt output the core drives, instead of {@link setIntx}: the lines that it drives now, one bit each: ISA lines
   * 0-15, I/O APIC pins 16-23; none while INTx is disabled.
   */
  protected intxLeadsTo?(lines: number): void;

  /** Level that the device wants on its INTx line. */
  protected get intxAsserted(): boolean {
    return this.#intxAsserted;
  }

  /** Level that the device wants on its INTx line; it reaches the line only while neither MSI nor MSI-X is enabled. */
  protected setIntx(asserted: boolean): void {
    this.#intxAsserted = asserted;
    this.#updateIntx();
  }

  /** Sends MSI message `vector`; nothing happens while MSI is disabled. */
  protected raiseMsi(vector: number): void {
    if (!this.msiEnabled || vector < 0 || vector >= this.msiMessageCount) return;
    const address = this.#view.getBigUint64(this.#msiOffset + 4, true);
    const data = this.#view.getUint16(this.#msiOffset + 12, true);
    if (!this.#maySendMessage()) return;
    this.attachment.sendMsi(address, (data + vector) & 0xffff);
  }

  /** Sends MSI-X message `vector`, or keeps it pending while it is masked; nothing happens while MSI-X is disabled. */
  protected raiseMsix(vector: number): void {
    if (this.msixEnabled) this.#msix?.raise(vector);
  }

  get msiEnabled(): boolean {
    return this.#msiOffset !== 0 && (this.#view.getUint16(this.#msiOffset + 2, true) & R.MSI_ENABLE) !== 0;
  }

  /** Messages that the guest allowed (never more than the device asked for). */
  get msiMessageCount(): number {
    if (!this.msiEnabled) return 0;
    const control = this.#view.getUint16(this.#msiOffset + 2, true);
    return 1 << Math.min((control >> 4) & 7, (control >> 1) & 7);
  }

  /** MSI-X is on. When a guest enables both, MSI wins (as in bhyve). */
  get msixEnabled(): boolean {
    if (this.#msixOffset === 0 || this.msiEnabled) return false;
    return (this.#view.getUint16(this.#msixOffset + 2, true) & R.MSIX_ENABLE) !== 0;
  }

  get msixVectorCount(): number {
    return this.#msix?.vectorCount ?? 0;
  }

  /** A message is a memory write, which a function without bus mastering does not make (PCI Local Bus 3.0, 6.8.2). */
  #maySendMessage(): boolean {
    if (this.busMaster) return true;
    this.lostMessages++;
    return false;
  }

  /** The function may access guest memory. Without it a model makes no DMA. */
  get busMaster(): boolean {
    return (this.#view.getUint16(R.PCI_COMMAND, true) & R.COMMAND_BUS_MASTER) !== 0;
  }

  /** A guest read inside BAR `index`. Offset + size never exceed the BAR. */
  protected readBar(_index: number, _offset: number, size: AccessSize): number {
    this.badAccesses++;
    return allOnes(size);
  }

  protected writeBar(_index: number, _offset: number, _size: AccessSize, _value: number): void {
    this.badAccesses++;
  }

  /** A guest's write to configuration space before the default behaviour; true when the device dealt with it. */
  protected writeDeviceConfig(_offset: number, _size: AccessSize, _value: number): boolean {
    return false;
  }

  /** Called once, when the bus has plugged the function in and routed its interrupts. */
  protected attached(): void {}

  /** The guest switched bus mastering on or off. */
  protected busMasterChanged(_enabled: boolean): void {}

  /**
   * The function interrupts by messages now (MSI or MSI-X), or no longer. Messages are edges: a write that acknowledges one may be posted, while a level has to be gone
   * before the guest ends its interrupt.
   */
  protected messagesChanged(_enabled: boolean): void {}

  // The life cycle of the model (device.ts); configuration space, MSI-X, INTx and tracked requests are this class's.

  /** The machine starts: backends may be opened. */
  protected startDevice(): void {}

  /** Stops taking input. Requests in flight are waited for afterwards; what they complete may still reach the guest. */
  protected pauseDevice(): Promise<void> | void {}

  protected resumeDevice(): void {}

  /** Device part of a reset. Requests in flight are abandoned before and drained afterwards. */
  protected resetDevice(): void {}

  /** Releases backends. Requests in flight were abandoned and drained before. */
  protected closeDevice(): Promise<void> | void {}

  /** Counters besides those of the function itself. */
  protected deviceCounters(): Counters {
    return {};
  }

  /** True between pause and resume: input has to wait. */
  protected get paused(): boolean {
    return this.#paused;
  }

  /** Device part of a snapshot. */
  protected saveDevice(): { readonly [field: string]: StateValue } {
    return {};
  }

  /** Checks the device part of a snapshot (throwing SnapshotError) and returns what puts it in place. */
  protected prepareDeviceRestore(_fields: StateFields): () => void {
    return () => {};
  }

  // -------------------------------------------------------------------------------------------------------------------
  // For the bus

  get wantsIntx(): boolean {
    return this.#wantsIntx;
  }

  /** The core drives the INTx line: it has to be told where that leads. */
  get coreDrivesIntx(): boolean {
    return this.intxLeadsTo !== undefined;
  }

  /** Where the line leads, in the form of {@link intxLeadsTo}; called again when the guest routes it elsewhere. */
  intxRouted(lines: number): void {
    this.#intxLines = lines;
    this.#updateIntx();
  }

  /** Interrupt pin, 1-4 for INTA#-INTD#, 0 for none. */
  get interruptPin(): number {
    return this.#config[R.PCI_INTERRUPT_PIN] ?? 0;
  }

  get bars(): readonly Bar[] {
    return this.#bars;
  }

  /** The bus plugs the function in. */
  attach(attachment: PciAttachment): void {
    if (this.#attachment) throw new Error(`${this.kind} is plugged in already`);
    this.#attachment = attachment;
  }

  /** The bus has assigned addresses, pin and interrupt line; from now on this is the state that a reset restores. */
  finishAttach(pin: number, interruptLine: number, enableBars: boolean): void {
    this.#config[R.PCI_INTERRUPT_PIN] = pin;
    this.#config[R.PCI_INTERRUPT_LINE] = interruptLine;
    let command = R.COMMAND_BUS_MASTER;
    if (enableBars) {
      for (const bar of this.#bars) command |= bar.kind === 'io' ? R.COMMAND_IO : R.COMMAND_MEMORY;
    }
    this.#view.setUint16(R.PCI_COMMAND, command, true);
    for (const bar of this.#bars) this.#storeBar(bar);
    this.attached();
    this.#resetImage = this.#config.slice();
    this.#configChanged();
  }

  /** The bus moves a BAR while it hands out addresses, before {@link finishAttach}. */
  assignBar(bar: Bar, address: number): void {
    bar.assign(address);
  }

  readConfig(offset: number, size: AccessSize): number {
    if (offset & (size - 1) || offset + size > R.CONFIG_SPACE_BYTES) return allOnes(size);
    if (size === 1) return this.#configByte(offset);
    if (size === 2) return this.#configByte(offset) | (this.#configByte(offset + 1) << 8);
    const low = this.#configByte(offset) | (this.#configByte(offset + 1) << 8);
    const high = this.#configByte(offset + 2) | (this.#configByte(offset + 3) << 8);
    return (low | (high << 16)) >>> 0;
  }

  #configByte(offset: number): number {
    const value = this.#config[offset] ?? 0xff;
    // Interrupt status follows the device, whatever the interrupt disable bit says (PCI Local Bus 3.0, 6.2.3).
    if (offset === R.PCI_STATUS && this.intxAsserted) return value | R.STATUS_INTERRUPT;
    return value;
  }

  writeConfig(offset: number, size: AccessSize, value: number): void {
    if (offset & (size - 1) || offset + size > R.CONFIG_SPACE_BYTES) return;
    if (this.writeDeviceConfig(offset, size, value)) return;
    if (offset >= R.PCI_BAR0 && offset < R.PCI_BARS_END) {
      if (size === 4) this.#writeBarRegister((offset - R.PCI_BAR0) >> 2, value);
    } else {
      for (let i = 0; i < size; i++) {
        const mask = this.#writable[offset + i] ?? 0;
        const old = this.#config[offset + i] ?? 0;
        this.#config[offset + i] = (old & ~mask) | ((value >>> (8 * i)) & mask);
      }
    }
    this.#configChanged();
  }

  #writeBarRegister(register: number, value: number): void {
    for (const bar of this.#bars) {
      const half = register - bar.index;
      if (half < 0 || half >= bar.registerCount) continue;
      bar.writeRegister(half === 1, value);
      this.#storeBar(bar);
    }
  }

  #storeBar(bar: Bar): void {
    for (let half = 0; half < bar.registerCount; half++) {
      this.#view.setUint32(R.PCI_BAR0 + 4 * (bar.index + half), bar.registerValue(half === 1), true);
    }
  }

  /** Brings decoders and interrupt lines in line with configuration space. */
  #configChanged(): void {
    let released = false;
    for (const bar of this.#bars) {
      if (bar.claimedAddress !== undefined && bar.claimedAddress !== this.#decodedAddress(bar)) {
        bar.withdrawPosted?.();
        bar.withdrawPosted = undefined;
        bar.release?.();
        bar.release = undefined;
        bar.claimedAddress = undefined;
        bar.ram?.map(undefined);
        this.barDecoded(bar.index, undefined);
        released = true;
      }
    }
    this.claimBars();
    if (released) this.#attachment?.rangeReleased();
    const control = this.#msixOffset === 0 ? 0 : this.#view.getUint16(this.#msixOffset + 2, true);
    this.#msix?.setDeliverable(this.msixEnabled && !(control & R.MSIX_FUNCTION_MASK));
    this.#updateIntx();
    const { busMaster } = this;
    const hasMessages = this.msiEnabled || this.msixEnabled;
    if (hasMessages !== this.#hadMessages) {
      this.#hadMessages = hasMessages;
      this.messagesChanged(hasMessages);
    }
    if (busMaster !== this.#wasBusMaster) {
      this.#wasBusMaster = busMaster;
      this.busMasterChanged(busMaster);
    }
  }

  #decodedAddress(bar: Bar): number | undefined {
    const enable = bar.kind === 'io' ? R.COMMAND_IO : R.COMMAND_MEMORY;
    return this.#view.getUint16(R.PCI_COMMAND, true) & enable && bar.decodable ? bar.address : undefined;
  }

  /** Claims the ranges of all BARs whose decoder is on. One that overlaps a foreign range stays dark until that goes. */
  claimBars(): void {
    const attachment = this.#attachment;
    if (!attachment) return;
    for (const bar of this.#bars) {
      const address = this.#decodedAddress(bar);
      if (address === undefined || bar.claimedAddress === address) continue;
      const name = `${this.kind} BAR${bar.index}`;
      try {
        bar.release =
          bar.kind === 'io'
            ? attachment.claimPorts(name, address, bar.sizeBytes, this.#portHandler(bar))
            : attachment.claimMmio(name, address, bar.sizeBytes, this.#mmioHandler(bar));
        bar.claimedAddress = address;
        this.#post(bar, address);
        bar.conflictAddress = undefined;
        bar.ram?.map(address);
        this.barDecoded(bar.index, address);
      } catch (error) {
        if (!(error instanceof RangeTakenError)) throw error;
        if (bar.conflictAddress !== address) {
          this.barConflicts++;
          attachment.rangeTaken(bar.index, error);
        }
        bar.conflictAddress = address;
      }
    }
  }

  #post(bar: Bar, address: number): void {
    bar.withdrawPosted?.();
    const { attachment } = this;
    bar.withdrawPosted =
      bar.kind === 'io' ? attachment.postPorts(address, bar.posted) : attachment.postMmio(address, bar.posted);
  }

  #portHandler(bar: Bar): PortHandler {
    return {
      readPort: (port, size) => this.#readDecoded(bar, port - (bar.claimedAddress ?? 0), size),
      writePort: (port, size, value) => this.#writeDecoded(bar, port - (bar.claimedAddress ?? 0), size, value),
    };
  }

  #mmioHandler(bar: Bar): MmioHandler {
    return {
      readMmio: (offset, size) => this.#readDecoded(bar, offset, size),
      writeMmio: (offset, size, value) => this.#writeDecoded(bar, offset, size, value),
    };
  }

  #readDecoded(bar: Bar, offset: number, size: AccessSize): number {
    if (offset + size > bar.sizeBytes) {
      this.badAccesses++;
      return allOnes(size);
    }
    if (bar.index === this.#msixBar && this.#msix?.claims(offset)) return this.#msix.read(offset, size);
    if (bar.ram) return readRam(bar.ram.bytes, offset, size);
    return this.readBar(bar.index, offset, size);
  }

  #writeDecoded(bar: Bar, offset: number, size: AccessSize, value: number): void {
    if (offset + size > bar.sizeBytes) {
      this.badAccesses++;
      return;
    }
    if (bar.index === this.#msixBar && this.#msix?.claims(offset)) this.#msix.write(offset, size, value);
    else if (bar.ram) writeRam(bar.ram.bytes, offset, size, value);
    else this.writeBar(bar.index, offset, size, value);
  }

  #updateIntx(): void {
    const disabled = (this.#view.getUint16(R.PCI_COMMAND, true) & R.COMMAND_INTX_DISABLE) !== 0;
    const enabled = this.#wantsIntx && !disabled && !this.msiEnabled && !this.msixEnabled;
    if (this.intxLeadsTo) this.intxLeadsTo(enabled ? this.#intxLines : 0);
    else if (this.#wantsIntx) this.#attachment?.setIntx(this.#intxAsserted && enabled);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Life cycle

  start(): void {
    this.startDevice();
  }

  async pause(): Promise<void> {
    this.#paused = true;
    await this.pauseDevice();
    await this.requests.drain();
  }

  resume(): void {
    this.#paused = false;
    this.resumeDevice();
  }

  async close(): Promise<void> {
    await this.requests.abandon();
    await this.closeDevice();
  }

  counters(): Counters {
    const own = {
      'bad accesses': this.badAccesses,
      'BAR conflicts': this.barConflicts,
      'interrupt messages lost': this.lostMessages,
    };
    return { ...own, ...this.deviceCounters() };
  }

  async reset(): Promise<void> {
    const drained = this.requests.abandon();
    this.#resetNow();
    await drained;
  }

  #resetNow(): void {
    this.resetDevice();
    this.#intxAsserted = false;
    this.#msix?.reset();
    if (this.#resetImage) this.#loadConfig(this.#resetImage);
    this.#configChanged();
  }

  #loadConfig(image: Uint8Array): void {
    this.#config.set(image);
    for (const bar of this.#bars) {
      const register = R.PCI_BAR0 + 4 * bar.index;
      bar.writeRegister(false, this.#view.getUint32(register, true));
      if (bar.registerCount === 2) bar.writeRegister(true, this.#view.getUint32(register + 4, true));
      this.#storeBar(bar);
    }
  }

  save(): DeviceState {
    return {
      kind: this.kind,
      version: STATE_VERSION,
      fields: {
        config: this.#config.slice(),
        intx: this.#intxAsserted,
        msix: this.#msix ? this.#msix.save() : {},
        device: this.saveDevice(),
      },
    };
  }

  restore(state: DeviceState): void {
    this.prepareRestore(state)();
  }

  /** First half of {@link restore}: checks everything and changes nothing. The bus checks all functions before any changes. */
  prepareRestore(state: DeviceState): () => void {
    const fields = StateFields.open(state, this.kind, STATE_VERSION);
    const config = fields.bytes('config', R.CONFIG_SPACE_BYTES);
    const intx = fields.flag('intx');
    const restoreMsix = this.#msix?.prepareRestore(fields.group('msix'));
    const restoreDevice = this.prepareDeviceRestore(fields.group('device'));
    return () => {
      // Bits that no guest can change stay as this machine's configuration made them.
      const image = this.#config.map((byte, offset) => {
        const mask = this.#restorableMask(offset);
        return (byte & ~mask) | ((config[offset] ?? 0) & mask);
      });
      this.#loadConfig(image);
      this.#intxAsserted = intx;
      restoreMsix?.();
      restoreDevice();
      this.#configChanged();
    };
  }

  #restorableMask(offset: number): number {
    if (offset >= R.PCI_BAR0 && offset < R.PCI_BARS_END) {
      const register = (offset - R.PCI_BAR0) >> 2;
      return this.#bars.some((bar) => register >= bar.index && register < bar.index + bar.registerCount) ? 0xff : 0;
    }
    return this.#writable[offset] ?? 0;
  }
}
