/** An endpoint of a slot: its transfer ring, and transfers between the ring and a device (xHCI 1.2, 4.6, 4.10 and 4.11). */
import { GuestAddressError, type GuestMemory } from '../../bus/guest-memory.ts';
import type { StateFields } from '../../platform/state-fields.ts';
import type { StateValue } from '../../snapshot.ts';
import { REQUEST_IN, type SetupPacket, type UsbDevice } from '../usb-device.ts';
import * as R from './registers.ts';
import { nextTrb, parameter, RingError, trbType, type RingPlace, type Trb } from './trb.ts';

/** TRBs of one transfer at most; a driver for an interrupt endpoint needs one. */
const MAX_TRANSFER_TRBS = 64;
/** TRBs that one ring of the doorbell works off; a ring that never ends would hold up the machine. */
const MAX_TRBS_PER_RING = 1024;
/** Data of one control transfer: wLength has 16 bits. */
const MAX_CONTROL_BYTES = 0x10000;
const LENGTH_MASK = 0x1ffff;
const RESIDUE_MASK = 0xffffff;

/** A transfer event to be posted. */
export interface TransferEvent {
  readonly low: number;
  readonly high: number;
  readonly residueBytes: number;
  readonly code: number;
  readonly eventData: boolean;
}

/** A control transfer whose setup stage has been read. */
interface ControlTransfer {
  readonly setup: SetupPacket;
  /** IN: what the device answered; OUT: what came so far. Undefined: the device stalls. */
  data: Uint8Array | undefined;
  /** Bytes of it that were moved. */
  moved: number;
}

export class Endpoint {
  state = R.EP_RUNNING;
  dequeue: number;
  cycle: number;
  /** A transfer is in the ring and the device has nothing for it yet. */
  waiting = false;
  #control: ControlTransfer | undefined;
  /** Bytes moved since the last event data TRB (4.11.5.2). */
  #transferredBytes = 0;

  constructor(
    readonly type: number,
    place: RingPlace,
    private readonly memory: GuestMemory,
    private readonly report: (event: TransferEvent) => void,
  ) {
    this.dequeue = place.dequeue;
    this.cycle = place.cycle;
  }

  /** Works off what the driver has put into the ring. `number` is the endpoint's address without the direction. */
  run(device: UsbDevice | undefined, number: number): void {
    if (this.state === R.EP_STOPPED) this.state = R.EP_RUNNING;
    this.waiting = false;
    try {
      for (let trbs = 0; this.state === R.EP_RUNNING && trbs < MAX_TRBS_PER_RING; trbs++) {
        const more = this.type === R.EP_TYPE_CONTROL ? this.#controlTrb(device) : this.#transfer(device, number);
        if (!more) return;
      }
    } catch (error) {
      if (!(error instanceof GuestAddressError) && !(error instanceof RingError)) throw error;
      // A ring or a buffer that is not in memory (4.10.2.1).
      this.state = R.EP_ERROR;
      this.#event(this.dequeue, 0, R.TRB_ERROR);
    }
  }

  #at(place: RingPlace): void {
    this.dequeue = place.dequeue;
    this.cycle = place.cycle;
  }

  #event(gpa: number, residueBytes: number, code: number): void {
    const low = gpa % 2 ** 32;
    this.report({ low, high: Math.floor(gpa / 2 ** 32) >>> 0, residueBytes, code, eventData: false });
  }

  /** An event data TRB: the driver's own 64 bits and the bytes moved so far. */
  #eventData(trb: Trb, code: number): void {
    const residueBytes = this.#transferredBytes & RESIDUE_MASK;
    this.#transferredBytes = 0;
    if (trb.control & R.TRB_INTERRUPT) {
      this.report({ low: trb.low, high: trb.high, residueBytes, code, eventData: true });
    }
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Control endpoints: one TRB at a time

  #controlTrb(device: UsbDevice | undefined): boolean {
    const { trb, place } = nextTrb(this.memory, this);
    if (!trb) return false;
    const type = trbType(trb);
    if (type === R.TRB_EVENT_DATA_TYPE) {
      this.#at(place);
      this.#eventData(trb, R.SUCCESS);
      return true;
    }
    if (type === R.TRB_SETUP) {
      this.#control = this.#setup(device, trb);
      this.#at(place);
      return true;
    }
    const control = this.#control;
    if (!control || (type !== R.TRB_DATA && type !== R.TRB_NORMAL && type !== R.TRB_STATUS)) {
      if (type === R.TRB_NO_OP) {
        this.#at(place);
        if (trb.control & R.TRB_INTERRUPT) this.#event(trb.gpa, 0, R.SUCCESS);
        return true;
      }
      // Out of order: a data or status stage without a setup stage.
      this.state = R.EP_ERROR;
      this.#event(trb.gpa, 0, R.TRB_ERROR);
      return false;
    }
    if (type === R.TRB_STATUS && control.data && !isIn(control.setup)) {
      control.data = device?.control(control.setup, control.data.subarray(0, control.moved));
    }
    if (!control.data) {
      // The device stalls; the driver resets the endpoint and moves on.
      this.#control = undefined;
      this.state = R.EP_HALTED;
      this.#event(trb.gpa, type === R.TRB_STATUS ? 0 : trb.status & LENGTH_MASK, R.STALL);
      return false;
    }
    this.#at(place);
    if (type === R.TRB_STATUS) {
      this.#control = undefined;
      if (trb.control & R.TRB_INTERRUPT) this.#event(trb.gpa, 0, R.SUCCESS);
    } else {
      this.#dataStage(control, trb);
    }
    return true;
  }

  #setup(device: UsbDevice | undefined, trb: Trb): ControlTransfer {
    this.#transferredBytes = 0;
    const setup: SetupPacket = {
      requestType: trb.low & 0xff,
      request: (trb.low >>> 8) & 0xff,
      value: trb.low >>> 16,
      index: trb.high & 0xffff,
      lengthBytes: trb.high >>> 16,
    };
    if (!device || !(trb.control & R.TRB_IMMEDIATE)) return { setup, data: undefined, moved: 0 };
    const data = isIn(setup) ? device.control(setup, new Uint8Array(0)) : new Uint8Array(setup.lengthBytes);
    return { setup, data, moved: 0 };
  }

  #dataStage(control: ControlTransfer, trb: Trb): void {
    const data = control.data ?? new Uint8Array(0);
    const length = Math.min(trb.status & LENGTH_MASK, MAX_CONTROL_BYTES);
    const count = Math.min(length, data.length - control.moved);
    const part = data.subarray(control.moved, control.moved + count);
    if (isIn(control.setup)) {
      if (count > 0) this.memory.write(parameter(trb), part);
    } else if (trb.control & R.TRB_IMMEDIATE) {
      part.set(immediate(trb).subarray(0, count));
    } else if (count > 0) {
      this.memory.read(parameter(trb), part);
    }
    control.moved += count;
    this.#transferredBytes += count;
    const short = count < length;
    if (trb.control & R.TRB_INTERRUPT || (short && trb.control & R.TRB_SHORT_INTERRUPT)) {
      this.#event(trb.gpa, length - count, short ? R.SHORT_PACKET : R.SUCCESS);
    }
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Other endpoints: one transfer (chain of TRBs) at a time

  #transfer(device: UsbDevice | undefined, number: number): boolean {
    const trbs: Trb[] = [];
    let place: RingPlace = { dequeue: this.dequeue, cycle: this.cycle };
    do {
      if (trbs.length === MAX_TRANSFER_TRBS) throw new RingError('a transfer of more TRBs than any driver chains');
      const next = nextTrb(this.memory, place);
      // The rest is still to be written.
      if (!next.trb) return false;
      trbs.push(next.trb);
      place = next.place;
    } while ((trbs.at(-1)?.control ?? 0) & R.TRB_CHAIN);
    const first = trbs[0];
    if (!first) return false;
    if (trbType(first) === R.TRB_NO_OP) {
      this.#at(place);
      if (first.control & R.TRB_INTERRUPT) this.#event(first.gpa, 0, R.SUCCESS);
      return true;
    }
    if (this.type !== R.EP_TYPE_INTERRUPT_IN || !device?.hasInterruptIn(number)) {
      this.state = R.EP_HALTED;
      this.#event(first.gpa, first.status & LENGTH_MASK, device ? R.STALL : R.TRANSACTION_ERROR);
      return false;
    }
    if (trbs.some((trb) => trbType(trb) !== R.TRB_NORMAL && trbType(trb) !== R.TRB_EVENT_DATA_TYPE)) {
      this.state = R.EP_ERROR;
      this.#event(first.gpa, 0, R.TRB_ERROR);
      return false;
    }
    // The buffers must be there before the device gives away its report.
    for (const trb of trbs) {
      const length = trb.status & LENGTH_MASK;
      if (trbType(trb) === R.TRB_NORMAL && length > 0 && !this.memory.contains(parameter(trb), length)) {
        throw new GuestAddressError(parameter(trb), length);
      }
    }
    const data = device.interruptIn(number);
    if (!data) {
      this.waiting = true;
      return false;
    }
    this.#at(place);
    this.#deliver(trbs, data);
    return true;
  }

  #deliver(trbs: readonly Trb[], data: Uint8Array): void {
    let moved = 0;
    let short = false;
    this.#transferredBytes = 0;
    for (const trb of trbs) {
      if (trbType(trb) === R.TRB_EVENT_DATA_TYPE) {
        this.#eventData(trb, short ? R.SHORT_PACKET : R.SUCCESS);
        continue;
      }
      // A short packet ends the transfer; what follows it is passed over but for event data.
      if (short) continue;
      const length = trb.status & LENGTH_MASK;
      const count = Math.min(length, data.length - moved);
      if (count > 0) this.memory.write(parameter(trb), data.subarray(moved, moved + count));
      moved += count;
      this.#transferredBytes += count;
      short = count < length;
      if (trb.control & R.TRB_INTERRUPT || (short && trb.control & R.TRB_SHORT_INTERRUPT)) {
        this.#event(trb.gpa, length - count, short ? R.SHORT_PACKET : R.SUCCESS);
      }
    }
  }

  /** Stop endpoint command: a transfer that waits for the device is reported as stopped (4.6.9). */
  stop(): void {
    this.state = R.EP_STOPPED;
    this.waiting = false;
    try {
      const { trb } = nextTrb(this.memory, this);
      if (trb) this.#event(trb.gpa, trb.status & LENGTH_MASK, R.STOPPED);
    } catch (error) {
      if (!(error instanceof GuestAddressError) && !(error instanceof RingError)) throw error;
    }
  }

  /** The driver points elsewhere, or starts over. */
  moveTo(place: RingPlace): void {
    this.#at(place);
    this.#control = undefined;
    this.#transferredBytes = 0;
  }

  save(): { readonly [field: string]: StateValue } {
    const control = this.#control;
    return {
      type: this.type,
      state: this.state,
      dequeue: this.dequeue,
      cycle: this.cycle,
      waiting: this.waiting,
      transferredBytes: this.#transferredBytes,
      control: control
        ? {
            ...control.setup,
            stalled: control.data === undefined,
            data: control.data?.slice() ?? new Uint8Array(0),
            dataBytes: control.data?.length ?? 0,
            moved: control.moved,
          }
        : {},
    };
  }

  static restore(fields: StateFields, memory: GuestMemory, report: (event: TransferEvent) => void): Endpoint {
    const place = {
      dequeue: fields.integer('dequeue', Number.MAX_SAFE_INTEGER),
      cycle: fields.integer('cycle', 1),
    };
    const endpoint = new Endpoint(fields.integer('type', 7), place, memory, report);
    endpoint.state = fields.integer('state', R.EP_ERROR);
    endpoint.waiting = fields.flag('waiting');
    endpoint.#transferredBytes = fields.integer('transferredBytes', Number.MAX_SAFE_INTEGER);
    const control = fields.group('control');
    if (control.names().length === 0) return endpoint;
    const data = control.bytes('data', control.integer('dataBytes', MAX_CONTROL_BYTES));
    endpoint.#control = {
      setup: {
        requestType: control.integer('requestType', 0xff),
        request: control.integer('request', 0xff),
        value: control.integer('value', 0xffff),
        index: control.integer('index', 0xffff),
        lengthBytes: control.integer('lengthBytes', 0xffff),
      },
      data: control.flag('stalled') ? undefined : Uint8Array.from(data),
      moved: control.integer('moved', data.length),
    };
    return endpoint;
  }
}

function isIn(setup: SetupPacket): boolean {
  return (setup.requestType & REQUEST_IN) !== 0;
}

/** Data that lies in the TRB itself. */
function immediate(trb: Trb): Uint8Array {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, trb.low, true);
  view.setUint32(4, trb.high, true);
  return bytes;
}
