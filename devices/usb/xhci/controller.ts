/** The host controller: registers, doorbells, the command ring, and slots that lead to devices (xHCI 1.2, chapters 4 and 5). */
import { GuestAddressError, type GuestMemory } from '../../bus/guest-memory.ts';
import type { StateFields } from '../../platform/state-fields.ts';
import type { StateValue } from '../../snapshot.ts';
import type { UsbDevice } from '../usb-device.ts';
import { executeCommand, type CommandTarget } from './commands.ts';
import type { TransferEvent } from './endpoint.ts';
import { EventRing } from './event-ring.ts';
import { Port } from './ports.ts';
import * as R from './registers.ts';
import { Slot } from './slot.ts';
import { address, nextTrb, RingError } from './trb.ts';

/** Commands that one ring of the doorbell executes: more than any driver has outstanding. */
const MAX_COMMANDS = 256;
const MICROFRAME_NS = 125_000;
const MICROFRAMES = 0x4000;

/** What the controller needs of the PCI function that it is. */
export interface ControllerHost {
  readonly memory: GuestMemory;
  nowNs(): number;
  /** Bus mastering is on. */
  mayAccess(): boolean;
  /** Level of the interrupt. True returned: a message was sent, which needs no acknowledgement. */
  interrupt(asserted: boolean): boolean;
}

export class XhciController implements CommandTarget {
  badAccesses = 0;
  /** Commands executed. */
  commands = 0;
  /** TRBs and commands that ended in an error of the driver's. */
  driverErrors = 0;
  readonly memory: GuestMemory;
  readonly events: EventRing;
  readonly ports: readonly Port[];
  readonly slots: readonly Slot[];
  #command = 0;
  #status = R.STS_HALTED;
  #notifications = 0;
  #config = 0;
  #dcbaap: [low: number, high: number] = [0, 0];
  /** The command ring's place while it is stopped: the register as written; while it runs, where it goes on. */
  #ring = { dequeue: 0, cycle: 0 };
  #ringRunning = false;
  /** When the controller began to run, in machine time. */
  #mfindexOriginNs = 0;
  /** A device had something to report while nothing could be done. */
  #reportsHeld = false;
  /** A doorbell rings inside of a transfer: it is served after it. */
  #busy = false;

  /** `devices` by port, the first at port 1. */
  constructor(
    private readonly host: ControllerHost,
    devices: readonly (UsbDevice | undefined)[],
  ) {
    this.memory = host.memory;
    this.events = new EventRing(
      host.memory,
      () => host.mayAccess(),
      (pending) => this.#interruptChanged(pending),
    );
    this.ports = Array.from({ length: R.MAX_PORTS }, (_, index) => {
      return new Port(devices[index], () => this.#portChanged(index + 1));
    });
    this.slots = Array.from({ length: R.MAX_SLOTS }, (_, index) => {
      return new Slot(index + 1, host.memory, (slot, endpoint, event) => this.#transferEvent(slot, endpoint, event));
    });
    for (const [index, device] of devices.entries()) {
      if (device) device.onReport = () => this.#deviceReady(index + 1);
    }
  }

  get maxSlots(): number {
    return Math.min(this.#config & 0xff, R.MAX_SLOTS);
  }

  get dcbaap(): number {
    return address(...this.#dcbaap);
  }

  get #running(): boolean {
    return (this.#command & R.CMD_RUN) !== 0 && this.host.mayAccess();
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Registers

  /** The aligned word at an offset of BAR 0. */
  read(offset: number): number {
    if (offset < R.OPERATIONAL) return this.#capability(offset);
    if (offset < R.PORTS) return this.#readOperational(offset - R.OPERATIONAL);
    const port = this.ports[Math.floor((offset - R.PORTS) / R.PORT_STRIDE)];
    if (port) return port.read((offset - R.PORTS) % R.PORT_STRIDE);
    if (offset >= R.EXTENDED_CAPABILITIES && offset < R.RUNTIME) {
      return EXTENDED_CAPABILITIES[(offset - R.EXTENDED_CAPABILITIES) / 4] ?? 0;
    }
    if (offset === R.RUNTIME + R.MFINDEX) return this.#microframe();
    if (offset >= R.RUNTIME && offset < R.DOORBELLS) return this.events.read(offset - R.RUNTIME);
    return 0;
  }

  #microframe(): number {
    if (!(this.#command & R.CMD_RUN)) return 0;
    return Math.floor((this.host.nowNs() - this.#mfindexOriginNs) / MICROFRAME_NS) % MICROFRAMES;
  }

  #capability(offset: number): number {
    switch (offset) {
      case R.CAP_LENGTH_VERSION:
        return (R.HCI_VERSION << 16) | R.OPERATIONAL;
      case R.CAP_HCSPARAMS1:
        return (R.MAX_PORTS << 24) | (1 << 8) | R.MAX_SLOTS;
      case R.CAP_HCSPARAMS2:
        return R.HCSPARAMS2;
      case R.CAP_HCCPARAMS1:
        return R.HCCPARAMS1;
      case R.CAP_DBOFF:
        return R.DOORBELLS;
      case R.CAP_RTSOFF:
        return R.RUNTIME;
      case R.CAP_HCCPARAMS2:
        return R.HCCPARAMS2;
      default:
        return 0;
    }
  }

  #readOperational(register: number): number {
    switch (register) {
      case R.USBCMD:
        return this.#command;
      case R.USBSTS:
        return this.#status;
      case R.PAGESIZE:
        return 1;
      case R.DNCTRL:
        return this.#notifications;
      case R.CRCR:
        // Everything but the running bit reads as zero (5.4.5).
        return this.#ringRunning ? R.CRCR_RUNNING : 0;
      case R.DCBAAP:
        return this.#dcbaap[0];
      case R.DCBAAP + 4:
        return this.#dcbaap[1];
      case R.CONFIG:
        return this.#config;
      default:
        return 0;
    }
  }

  /** A write of the aligned word at an offset of BAR 0. */
  write(offset: number, value: number): void {
    if (offset >= R.DOORBELLS) {
      this.#doorbell((offset - R.DOORBELLS) / 4, value);
      return;
    }
    if (offset >= R.RUNTIME) {
      if (offset !== R.RUNTIME + R.MFINDEX) this.events.write(offset - R.RUNTIME, value);
      return;
    }
    const port = offset < R.PORTS ? undefined : this.ports[Math.floor((offset - R.PORTS) / R.PORT_STRIDE)];
    if (port) port.write((offset - R.PORTS) % R.PORT_STRIDE, value);
    else if (offset >= R.OPERATIONAL && offset < R.PORTS) this.#writeOperational(offset - R.OPERATIONAL, value);
    else this.badAccesses++;
  }

  #writeOperational(register: number, value: number): void {
    switch (register) {
      case R.USBCMD:
        this.#writeCommand(value);
        break;
      case R.USBSTS:
        this.#status &= ~(value & R.STS_WRITE_1_TO_CLEAR);
        break;
      case R.DNCTRL:
        this.#notifications = value & 0xffff;
        break;
      case R.CRCR:
        this.#writeRingLow(value);
        break;
      case R.CRCR + 4:
        if (!this.#ringRunning) this.#ring.dequeue = address(this.#ring.dequeue % 2 ** 32, value);
        break;
      case R.DCBAAP:
        this.#dcbaap[0] = (value & ~0x3f) >>> 0;
        break;
      case R.DCBAAP + 4:
        this.#dcbaap[1] = value;
        break;
      case R.CONFIG:
        this.#config = value & 0x3ff;
        break;
      default:
        this.badAccesses++;
    }
  }

  #writeCommand(value: number): void {
    if (value & (R.CMD_RESET | R.CMD_LIGHT_RESET)) {
      this.reset();
      return;
    }
    const wasRunning = (this.#command & R.CMD_RUN) !== 0;
    // Saving and restoring state take no time: it stays where it is.
    this.#command = value & R.CMD_WRITABLE & ~(R.CMD_SAVE | R.CMD_RESTORE);
    if (this.#command & R.CMD_RUN) {
      this.#status &= ~R.STS_HALTED;
    } else {
      this.#status |= R.STS_HALTED;
      this.#ringRunning = false;
    }
    this.#interruptChanged(false);
    if (!wasRunning && this.#command & R.CMD_RUN) {
      this.#mfindexOriginNs = this.host.nowNs();
      this.resume();
    }
  }

  #writeRingLow(value: number): void {
    if (this.#ringRunning) {
      if (!(value & (R.CRCR_STOP | R.CRCR_ABORT))) return;
      this.#ringRunning = false;
      const { dequeue } = this.#ring;
      const high = Math.floor(dequeue / 2 ** 32);
      this.events.post(dequeue % 2 ** 32, high, (R.COMMAND_RING_STOPPED << 24) >>> 0, R.EVENT_COMMAND << 10);
      return;
    }
    const high = Math.floor(this.#ring.dequeue / 2 ** 32);
    this.#ring = { dequeue: address((value & ~0x3f) >>> 0, high), cycle: value & R.CRCR_CYCLE };
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Interrupts and events

  #interruptChanged(pending: boolean): void {
    if (pending) this.#status |= R.STS_EVENT_INTERRUPT;
    const asserted = this.events.asserted && (this.#command & R.CMD_INTERRUPTS) !== 0;
    if (this.host.interrupt(asserted) && asserted) this.events.messageSent();
  }

  #portChanged(port: number): void {
    this.#status |= R.STS_PORT_CHANGE;
    if (this.#command & R.CMD_RUN) this.events.post((port << 24) >>> 0, 0, (R.SUCCESS << 24) >>> 0, R.EVENT_PORT << 10);
  }

  #transferEvent(slot: number, endpoint: number, event: TransferEvent): void {
    if (event.code === R.TRB_ERROR) this.driverErrors++;
    const status = ((event.code << 24) | event.residueBytes) >>> 0;
    const control = (slot << 24) | (endpoint << 16) | (R.EVENT_TRANSFER << 10);
    this.events.post(event.low, event.high, status, control | (event.eventData ? R.TRB_EVENT_DATA : 0));
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Doorbells

  #doorbell(index: number, value: number): void {
    if (!this.#running) return;
    if (index === 0) {
      if ((value & 0xff) === 0) this.#runCommands();
      return;
    }
    const slot = this.slots[index - 1];
    const endpoint = value & 0xff;
    if (slot && endpoint > 0 && endpoint < R.ENDPOINTS) this.#runEndpoint(slot, endpoint);
  }

  #runCommands(): void {
    this.#ringRunning = true;
    try {
      for (let commands = 0; commands < MAX_COMMANDS && this.#ringRunning; commands++) {
        const { trb, place } = nextTrb(this.memory, this.#ring);
        this.#ring = { ...place };
        if (!trb) return;
        this.commands++;
        const { code, slot } = executeCommand(this, trb);
        if (code !== R.SUCCESS) this.driverErrors++;
        const low = trb.gpa % 2 ** 32;
        const high = Math.floor(trb.gpa / 2 ** 32);
        this.events.post(low, high, (code << 24) >>> 0, (slot << 24) | (R.EVENT_COMMAND << 10));
      }
    } catch (error) {
      if (!(error instanceof GuestAddressError) && !(error instanceof RingError)) throw error;
      this.driverErrors++;
      this.#ringRunning = false;
    }
  }

  #runEndpoint(slot: Slot, index: number): void {
    const endpoint = slot.endpoints[index];
    const port = this.ports[slot.port - 1];
    if (!endpoint || !port || slot.state === R.SLOT_DISABLED || this.#busy) return;
    this.#busy = true;
    endpoint.run(port.enabled ? port.device : undefined, index >> 1);
    this.#busy = false;
    slot.writeEndpoint(index);
  }

  /** A device has something to report: endpoints that wait for it go on. */
  #deviceReady(port: number): void {
    if (!this.#running) {
      this.#reportsHeld = true;
      return;
    }
    for (const slot of this.slots) {
      if (slot.port !== port || slot.state !== R.SLOT_CONFIGURED) continue;
      for (const [index, endpoint] of slot.endpoints.entries()) {
        if (endpoint?.waiting && endpoint.state === R.EP_RUNNING) this.#runEndpoint(slot, index);
      }
    }
  }

  /** Goes on with what could not be done: bus mastering was off, or the machine stood still. */
  resume(): void {
    if (!this.#reportsHeld) return;
    this.#reportsHeld = false;
    for (let port = 1; port <= R.MAX_PORTS; port++) if (this.ports[port - 1]?.device) this.#deviceReady(port);
  }

  // -------------------------------------------------------------------------------------------------------------------

  reset(): void {
    this.#command = 0;
    this.#status = R.STS_HALTED;
    this.#notifications = 0;
    this.#config = 0;
    this.#dcbaap = [0, 0];
    this.#ring = { dequeue: 0, cycle: 0 };
    this.#ringRunning = false;
    this.#reportsHeld = false;
    this.events.reset();
    for (const slot of this.slots) {
      slot.context = 0;
      slot.disable();
    }
    for (const port of this.ports) port.reset();
    this.#interruptChanged(false);
  }

  save(): { readonly [field: string]: StateValue } {
    return {
      command: this.#command,
      status: this.#status,
      notifications: this.#notifications,
      config: this.#config,
      dcbaapLow: this.#dcbaap[0],
      dcbaapHigh: this.#dcbaap[1],
      ringDequeue: this.#ring.dequeue,
      ringCycle: this.#ring.cycle,
      ringRunning: this.#ringRunning,
      reportsHeld: this.#reportsHeld,
      mfindexOriginNs: Math.floor(this.#mfindexOriginNs),
      events: this.events.save(),
      ports: this.ports.map((port) => port.save()),
      slots: this.slots.map((slot) => slot.save()),
    };
  }

  /** Checks a state and returns what puts it in place. */
  prepareRestore(fields: StateFields): () => void {
    const command = fields.integer('command', R.CMD_WRITABLE);
    const status = fields.integer('status', 0xffff);
    const notifications = fields.integer('notifications', 0xffff);
    const config = fields.integer('config', 0x3ff);
    const dcbaap: [number, number] = [
      fields.integer('dcbaapLow', 0xffffffff),
      fields.integer('dcbaapHigh', 0xffffffff),
    ];
    const ring = {
      dequeue: fields.integer('ringDequeue', Number.MAX_SAFE_INTEGER),
      cycle: fields.integer('ringCycle', 1),
    };
    const ringRunning = fields.flag('ringRunning');
    const reportsHeld = fields.flag('reportsHeld');
    const mfindexOriginNs = fields.integer('mfindexOriginNs', Number.MAX_SAFE_INTEGER);
    const restoreEvents = this.events.prepareRestore(fields.group('events'));
    const portFields = fields.groups('ports', R.MAX_PORTS);
    const slotFields = fields.groups('slots', R.MAX_SLOTS);
    const restores = [
      ...this.ports.flatMap((port, index) => (portFields[index] ? [port.prepareRestore(portFields[index])] : [])),
      ...this.slots.flatMap((slot, index) => (slotFields[index] ? [slot.prepareRestore(slotFields[index])] : [])),
    ];
    return () => {
      this.#command = command;
      this.#status = status;
      this.#notifications = notifications;
      this.#config = config;
      this.#dcbaap = dcbaap;
      this.#ring = ring;
      this.#ringRunning = ringRunning;
      this.#reportsHeld = reportsHeld;
      this.#mfindexOriginNs = mfindexOriginNs;
      restoreEvents();
      for (const restore of restores) restore();
    };
  }
}

/** Two Supported Protocol capabilities (7.2): USB 3.0 at ports 1-4, USB 2.0 at ports 5-8. */
const SUPPORTED_PROTOCOL = 2;
const NAME_USB = 0x20425355;
const EXTENDED_CAPABILITIES: readonly number[] = [
  ...[(3 << 24) | (4 << 8) | SUPPORTED_PROTOCOL, NAME_USB, (R.USB3_PORTS << 8) | 1, 0],
  ...[(2 << 24) | SUPPORTED_PROTOCOL, NAME_USB, ((R.MAX_PORTS - R.USB3_PORTS) << 8) | (R.USB3_PORTS + 1), 0],
];
