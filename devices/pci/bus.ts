/**
 * The PCI buses: configuration mechanism #1 (PCI Local Bus 3.0, 3.2.2.3.2) and the memory-mapped one (PCI Express Base 3.0,
 * 7.2.2), handing out addresses, and INTx routing. Every configured bus is a root bus of its own; there are no bridges.
 */
import { allOnes, type AccessSize, type PortBus, type PortHandler } from '../bus/port-bus.ts';
import type { MmioBus, MmioHandler } from '../bus/mmio-bus.ts';
import type { Interrupts } from '../bus/interrupts.ts';
import type { InterruptLines, LineSource } from '../platform/interrupt-lines.ts';
import { StateFields, asStateValue } from '../platform/state-fields.ts';
import type { Counters, Device } from '../device.ts';
import { SnapshotError, type DeviceState, type StateValue } from '../snapshot.ts';
import { MEM64_BELOW_4G_MAX_BYTES, type Bar } from './bar.ts';
import { plainConfigRegister, type ConfigRegister } from './config-register.ts';
import type { PciAddress, PciAttachment, PciFunction } from './function.ts';
import { PirqRouter, type PinRoute } from './pirq.ts';
import { CONFIG_SPACE_BYTES, HEADER_MULTIFUNCTION, PCI_HEADER_TYPE } from './registers.ts';

export const CONFIG_ADDRESS_PORT = 0xcf8;
export const CONFIG_DATA_PORT = 0xcfc;
const CONFIG_ENABLE = 0x80000000;

export const ECAM_BASE = 0xe0000000;
export const ECAM_BYTES = 0x10000000;

const IO_BASE = 0x2000;
const IO_LIMIT = 0x10000;
const MEM32_BASE = 0xc0000000;
const MEM32_LIMIT = ECAM_BASE;
const GIB = 2 ** 30;
const MEM64_WINDOW_BYTES = 32 * GIB;
// Room left after each bus, so that a guest can move BARs; firmware tables advertise it.
const IO_SLOP = 32;
const MEM32_SLOP = 0x100000;
const MEM64_SLOP = 512 * 1024 * 1024;

/** A guest can bring conflicts about as often as it likes; functions count them all. */
const MAX_CONFLICT_MESSAGES = 20;

const STATE_KIND = 'pci';
const STATE_VERSION = 1;

const NOTHING_TO_RELEASE = (): void => undefined;

export interface PciBusOptions {
  readonly ports: PortBus;
  readonly mmio: MmioBus;
  readonly interrupts: Interrupts;
  readonly lines: InterruptLines;
  /** RAM from 4 GiB up; the 64-bit window lies above it. */
  readonly highBytes: number;
  /** A boot ROM is present: INTx routing by its fixed formula. */
  readonly bootRom: boolean;
  /** BARs decode from the start (`pci.enable_bars`). Default: when there is no boot ROM. */
  readonly enableBars?: boolean;
  /** IRQs of ISA devices that no PIRQ link may get at first: 1 and 12 for the keyboard controller, 4 and 3 for COM ports. */
  readonly reservedIrqs: readonly number[];
  readonly setLevelTriggered?: (irq: number) => void;
  /** The machine's; a register of its own by default. */
  readonly configRegister?: ConfigRegister;
  /** Holds back answers to the vCPUs until a promise settles (PciAttachment.stall); absent where accesses are direct calls. */
  readonly stall?: (where: PciAddress, until: Promise<void>) => void;
  /** PciAttachment.expectAccess; absent where nobody would wait for it. */
  readonly expectAccess?: () => void;
  /** GuestMemory.hold(), where chunks of guest memory may move. */
  readonly holdMemory?: () => () => void;
  /** A device threw: a bug of its own. */
  readonly deviceError?: (error: unknown) => void;
  /** Something for the user to read. */
  readonly message?: (text: string) => void;
}

/** An address range [base, limit) that a bus decodes; base === limit when it has none. */
export interface PciWindow {
  readonly base: number;
  readonly limit: number;
}

/** Route of an interrupt pin that some function of the slot uses, for ACPI's _PRT and the MP table. */
export interface PciPinRoute extends PinRoute {
  readonly slot: number;
  /** 1-4 for INTA#-INTD#. */
  readonly pin: number;
}

/** What firmware tables say about one bus. */
export interface PciBusDescription {
  readonly bus: number;
  readonly io: PciWindow;
  readonly mem32: PciWindow;
  readonly mem64: PciWindow;
  /** In slot and pin order. */
  readonly routing: readonly PciPinRoute[];
}

interface Slot {
  readonly functions: (PciFunction | undefined)[];
  /** Functions on each of INTA#-INTD#. */
  readonly pinUse: [number, number, number, number];
  readonly routes: (PinRoute | undefined)[];
}

interface Bus {
  readonly number: number;
  readonly slots: (Slot | undefined)[];
  io: PciWindow;
  mem32: PciWindow;
  mem64: PciWindow;
}

/** Not enough address space for the BARs of the configured devices. */
export class PciResourceError extends Error {
  override readonly name = 'PciResourceError';
}

function roundUp(value: number, granule: number): number {
  return Math.ceil(value / granule) * granule;
}

export class PciBus implements Device, PortHandler, MmioHandler {
  readonly pirqs: PirqRouter;
  readonly #options: PciBusOptions;
  readonly #buses = new Map<number, Bus>();
  readonly #configRegister: ConfigRegister;
  #configured = false;
  #conflictMessages = 0;

  constructor(options: PciBusOptions) {
    this.#options = options;
    this.#configRegister = options.configRegister ?? plainConfigRegister();
    this.pirqs = new PirqRouter({
      lines: options.lines,
      fixedRouting: options.bootRom,
      reservedIrqs: options.reservedIrqs,
      setLevelTriggered: options.setLevelTriggered,
    });
    // 0xCF9 is the reset control register, so only the one port; the address register takes 4-byte accesses alone.
    options.ports.claim('pci address', CONFIG_ADDRESS_PORT, 1, this);
    options.ports.claim('pci data', CONFIG_DATA_PORT, 4, this);
    options.mmio.claim('pci ecam', ECAM_BASE, ECAM_BYTES, this);
  }

  /** Plugs a function in. All functions are added before {@link configure}. */
  add(where: PciAddress, fn: PciFunction): void {
    const { bus: busNumber, slot: slotNumber, func } = where;
    if (this.#configured) throw new Error('the PCI bus is configured already');
    if (busNumber < 0 || busNumber > 255 || slotNumber < 0 || slotNumber > 31 || func < 0 || func > 7) {
      throw new RangeError(`no PCI address ${busNumber}:${slotNumber}:${func}`);
    }
    let bus = this.#buses.get(busNumber);
    if (!bus) {
      const none = { base: 0, limit: 0 };
      bus = { number: busNumber, slots: [], io: none, mem32: none, mem64: none };
      this.#buses.set(busNumber, bus);
    }
    const slot = (bus.slots[slotNumber] ??= { functions: [], pinUse: [0, 0, 0, 0], routes: [] });
    if (slot.functions[func]) throw new Error(`PCI address ${busNumber}:${slotNumber}:${func} is taken`);
    slot.functions[func] = fn;
    this.#configRegister.slotInUse(busNumber, slotNumber);
  }

  function(bus: number, slot: number, func: number): PciFunction | undefined {
    return this.#buses.get(bus)?.slots[slot]?.functions[func];
  }

  /** Every function with its address, in bus, slot and function order. */
  *functions(): Generator<{ where: PciAddress; fn: PciFunction }> {
    for (const bus of this.#sortedBuses()) {
      for (const [slotNumber, slot] of bus.slots.entries()) {
        for (const [func, fn] of slot?.functions.entries() ?? []) {
          if (fn) yield { where: { bus: bus.number, slot: slotNumber, func }, fn };
        }
      }
    }
  }

  #sortedBuses(): Bus[] {
    return [...this.#buses.values()].sort((a, b) => a.number - b.number);
  }

  /** Assigns addresses, pins and routes, and switches the decoders on. Call once, after all functions were added. */
  configure(): void {
    if (this.#configured) throw new Error('the PCI bus is configured already');
    this.#configured = true;
    const sources = new Map<PciFunction, LineSource>();
    const attached: { fn: PciFunction; pin: number; where: PciAddress }[] = [];
    for (const { where, fn } of this.functions()) {
      fn.attach(this.#attachment(where, fn, sources));
      attached.push({ fn, where, pin: fn.wantsIntx ? this.#choosePin(where) : 0 });
    }
    this.#assignAddresses();
    const enableBars = this.#options.enableBars ?? !this.#options.bootRom;
    const lines = attached.map(({ fn, where, pin }) => {
      if (pin === 0) return 0xff;
      const route = this.#routePin(where, pin);
      if (fn.coreDrivesIntx) this.pirqs.follow(route, (leads) => fn.intxRouted(leads));
      else sources.set(fn, this.pirqs.source(route));
      return this.pirqs.linkIrq(route.pirqLink) ?? 0xff;
    });
    this.pirqs.finish();
    attached.forEach(({ fn, pin }, index) => fn.finishAttach(pin, lines[index] ?? 0xff, enableBars));
  }

  #attachment(where: PciAddress, fn: PciFunction, sources: Map<PciFunction, LineSource>): PciAttachment {
    const { ports, mmio, interrupts, stall, expectAccess, holdMemory, deviceError } = this.#options;
    return {
      where,
      pirqs: this.pirqs,
      claimPorts: (name, first, count, handler) => ports.claim(name, first, count, handler),
      claimMmio: (name, base, lengthBytes, handler) => mmio.claim(name, base, lengthBytes, handler),
      postPorts: (first, parts) => ports.post(first, parts),
      postMmio: (base, parts) => mmio.post(base, parts),
      sendMsi: (address, data) => interrupts.sendMsi(address, data),
      setIntx: (asserted) => sources.get(fn)?.(asserted),
      stall: (until) => stall?.(where, until),
      expectAccess: () => expectAccess?.(),
      holdMemory: () => holdMemory?.() ?? NOTHING_TO_RELEASE,
      deviceError: (error) => {
        if (!deviceError) throw error;
        deviceError(error);
      },
      rangeReleased: () => {
        for (const other of this.functions()) other.fn.claimBars();
      },
      rangeTaken: (barIndex, error) => {
        if (this.#conflictMessages++ >= MAX_CONFLICT_MESSAGES) return;
        this.#options.message?.(
          `pci ${where.bus}:${where.slot}.${where.func}: BAR ${barIndex} decodes nothing: ${error.message}`,
        );
      },
    };
  }

  /** The least used pin of the slot, the lowest of equals. */
  #choosePin(where: PciAddress): number {
    const use = this.#buses.get(where.bus)?.slots[where.slot]?.pinUse;
    if (!use) return 0;
    const index = use.indexOf(Math.min(...use));
    use[index] = (use[index] ?? 0) + 1;
    return index + 1;
  }

  #routePin(where: PciAddress, pin: number): PinRoute {
    const slot = this.#buses.get(where.bus)?.slots[where.slot];
    const existing = slot?.routes[pin];
    if (existing) return existing;
    const route = this.pirqs.route(where.slot, pin);
    if (slot) slot.routes[pin] = route;
    return route;
  }

  /** BARs of a bus get their addresses by decreasing size; equal sizes in slot order. */
  #assignAddresses(): void {
    let io = IO_BASE;
    let mem32 = MEM32_BASE;
    const mem64Base = roundUp(4 * GIB + this.#options.highBytes, MEM64_WINDOW_BYTES);
    const mem64Limit = mem64Base + MEM64_WINDOW_BYTES;
    let mem64 = mem64Base;
    for (const bus of this.#sortedBuses()) {
      const start = { io, mem32, mem64 };
      const bars: { fn: PciFunction; bar: Bar }[] = [];
      for (const { where, fn } of this.functions()) {
        if (where.bus === bus.number) for (const bar of fn.bars) bars.push({ fn, bar });
      }
      bars.sort((a, b) => b.bar.sizeBytes - a.bar.sizeBytes);
      for (const { fn, bar } of bars) {
        const take = (next: number, limit: number): number => {
          let address = roundUp(next, bar.sizeBytes);
          if (bar.kind === 'io') address = this.#freePorts(address, bar.sizeBytes);
          if (address + bar.sizeBytes > limit) throw new PciResourceError(`no room for BAR ${bar.index} of ${fn.kind}`);
          fn.assignBar(bar, address);
          return address + bar.sizeBytes;
        };
        if (bar.kind === 'io') io = take(io, IO_LIMIT);
        else if (bar.kind === 'mem64' && bar.sizeBytes > MEM64_BELOW_4G_MAX_BYTES) mem64 = take(mem64, mem64Limit);
        else mem32 = take(mem32, MEM32_LIMIT);
      }
      io = Math.min(roundUp(io + IO_SLOP, IO_SLOP), IO_LIMIT);
      mem32 = Math.min(roundUp(mem32 + MEM32_SLOP, MEM32_SLOP), MEM32_LIMIT);
      mem64 = Math.min(roundUp(mem64 + MEM64_SLOP, MEM64_SLOP), mem64Limit);
      bus.io = { base: start.io, limit: io };
      bus.mem32 = { base: start.mem32, limit: mem32 };
      bus.mem64 = { base: start.mem64, limit: mem64 };
    }
  }

  /** The first place for a BAR of ports from an aligned one up that no other device has taken. */
  #freePorts(first: number, count: number): number {
    let address = first;
    for (let next = this.#options.ports.takenUntil(address, count); next !== undefined;) {
      address = roundUp(next, count);
      next = this.#options.ports.takenUntil(address, count);
    }
    return address;
  }

  /** Windows and interrupt routes of every bus, for ACPI and the MP table. */
  describe(): PciBusDescription[] {
    return this.#sortedBuses().map((bus) => {
      const routing: PciPinRoute[] = [];
      for (const [slot, entry] of bus.slots.entries()) {
        for (const [pin, route] of entry?.routes.entries() ?? []) if (route) routing.push({ slot, pin, ...route });
      }
      return { bus: bus.number, io: bus.io, mem32: bus.mem32, mem64: bus.mem64, routing };
    });
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Configuration accesses

  readConfig(bus: number, slot: number, func: number, offset: number, size: AccessSize): number {
    const entry = this.#buses.get(bus)?.slots[slot];
    const fn = entry?.functions[func];
    if (!entry || !fn || offset & (size - 1)) return allOnes(size);
    // Beyond the conventional 256 bytes there is only the end of the (empty) list of extended capabilities.
    if (offset >= CONFIG_SPACE_BYTES) return offset === CONFIG_SPACE_BYTES && size === 4 ? 0 : allOnes(size);
    const value = fn.readConfig(offset, size);
    const headerShift = (PCI_HEADER_TYPE - offset) * 8;
    if (headerShift < 0 || headerShift >= size * 8) return value;
    const functionCount = entry.functions.filter((other) => other !== undefined).length;
    const bit = HEADER_MULTIFUNCTION << headerShift;
    return (functionCount > 1 ? value | bit : value & ~bit) >>> 0;
  }

  writeConfig(bus: number, slot: number, func: number, offset: number, size: AccessSize, value: number): void {
    if (offset & (size - 1)) return;
    this.function(bus, slot, func)?.writeConfig(offset, size, value);
  }

  readPort(port: number, size: AccessSize): number {
    if (port === CONFIG_ADDRESS_PORT) return size === 4 ? this.#configRegister.address : allOnes(size);
    const address = this.#configRegister.address;
    if (!(address & CONFIG_ENABLE)) return allOnes(size);
    const offset = (address & 0xfc) + (port - CONFIG_DATA_PORT);
    return this.readConfig((address >>> 16) & 0xff, (address >>> 11) & 31, (address >>> 8) & 7, offset, size);
  }

  writePort(port: number, size: AccessSize, value: number): void {
    if (port === CONFIG_ADDRESS_PORT) {
      if (size === 4) this.#configRegister.address = (value & 0x80fffffc) >>> 0;
      return;
    }
    const address = this.#configRegister.address;
    if (!(address & CONFIG_ENABLE)) return;
    const offset = (address & 0xfc) + (port - CONFIG_DATA_PORT);
    this.writeConfig((address >>> 16) & 0xff, (address >>> 11) & 31, (address >>> 8) & 7, offset, size, value);
  }

  readMmio(offset: number, size: AccessSize): number {
    return this.readConfig(offset >>> 20, (offset >>> 15) & 31, (offset >>> 12) & 7, offset & 0xfff, size);
  }

  writeMmio(offset: number, size: AccessSize, value: number): void {
    this.writeConfig(offset >>> 20, (offset >>> 15) & 31, (offset >>> 12) & 7, offset & 0xfff, size, value);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Life cycle

  start(): void {
    for (const { fn } of this.functions()) fn.start();
  }

  async pause(): Promise<void> {
    await Promise.all([...this.functions()].map(({ fn }) => fn.pause()));
  }

  resume(): void {
    for (const { fn } of this.functions()) fn.resume();
  }

  async reset(): Promise<void> {
    this.#configRegister.address = 0;
    const resets = [...this.functions()].map(({ fn }) => fn.reset());
    this.pirqs.reset();
    await Promise.all(resets);
  }

  /** Closes every function, also when another one fails; rejects with what failed, by name. */
  async close(): Promise<void> {
    const failures: unknown[] = [];
    const close = async ({ where, fn }: { where: PciAddress; fn: PciFunction }): Promise<void> => {
      try {
        await fn.close();
      } catch (error) {
        const text = error instanceof Error ? error.message : String(error);
        failures.push(new Error(`${fn.kind} at ${where.bus}:${where.slot}:${where.func}: ${text}`, { cause: error }));
      }
    };
    await Promise.all([...this.functions()].map(close));
    if (failures.length > 0)
      throw failures.length === 1 ? failures[0] : new AggregateError(failures, failures.join('; '));
  }

  counters(): Counters {
    const all = [...this.functions()].flatMap(({ where, fn }) =>
      Object.entries(fn.counters()).map(([name, value]) => {
        return [`${fn.kind}-${where.bus}.${where.slot}.${where.func} ${name}`, value] as const;
      }),
    );
    return Object.fromEntries(all);
  }

  save(): DeviceState {
    const functions: { [name: string]: StateValue } = {};
    for (const { where, fn } of this.functions()) {
      functions[`${where.bus}.${where.slot}.${where.func}`] = asStateValue(fn.save());
    }
    return {
      kind: STATE_KIND,
      version: STATE_VERSION,
      fields: { configAddress: this.#configRegister.address, pirqs: asStateValue(this.pirqs.save()), functions },
    };
  }

  /** Needs the same functions at the same addresses. Guest memory must hold the snapshot's contents already. */
  restore(state: DeviceState): void {
    const fields = StateFields.open(state, STATE_KIND, STATE_VERSION);
    const configAddress = fields.integer('configAddress', 0xffffffff);
    const restorePirqs = this.pirqs.prepareRestore(fields.state('pirqs'));
    const saved = fields.group('functions');
    const present = [...this.functions()];
    if (saved.names().length !== present.length) throw new SnapshotError('pci: the snapshot has other functions');
    const restores = present.map(({ where, fn }) =>
      fn.prepareRestore(saved.state(`${where.bus}.${where.slot}.${where.func}`)),
    );
    this.#configRegister.address = configAddress;
    restorePirqs();
    for (const restore of restores) restore();
  }
}
