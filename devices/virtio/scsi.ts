/**
 * The SCSI host adapter `virtio-scsi` (virtio 1.0, 5.6): a control queue for task management, an event queue, and request queues. What is behind
 * it are SCSI targets by number (devices/scsi).
 */
import { GuestAddressError } from '../bus/guest-memory.ts';
import type { AccessSize } from '../bus/port-bus.ts';
import { dropViews, scatter, viewsBytes } from '../block/scatter.ts';
import type { Counters } from '../device.ts';
import type { ScsiResult } from '../scsi/logical-unit.ts';
import { fixedSense } from '../scsi/sense.ts';
import { MAX_LUN, type ScsiTarget } from '../scsi/target.ts';
import type { StateFields } from '../platform/state-fields.ts';
import type { StateValue } from '../snapshot.ts';
import { VIRTIO_RING_F_INDIRECT_DESC, VirtioDevice, type VirtioDeviceOptions } from './device.ts';
import type { Chain, Segment, VirtQueue } from './queue.ts';

const CONTROL_QUEUE = 0;
const EVENT_QUEUE = 1;
export const FIRST_REQUEST_QUEUE = 2;
const REQUEST_QUEUES = 1;
const CONTROL_RING = 64;
/** bhyve has 64; with 256 a request of 1 MiB in pages fits a chain. */
const REQUEST_RING = 256;
const SEG_MAX = REQUEST_RING - 2;
/** bhyve says 2, and 1 command a unit: Linux then cuts every transfer into pieces of 1 KiB. */
const MAX_SECTORS = 0xffff;
const COMMANDS_PER_LUN = 128;

export const VIRTIO_SCSI_F_HOTPLUG = 1;
export const VIRTIO_SCSI_F_CHANGE = 2;

const CONFIG_BYTES = 36;
const CONFIG_SENSE_SIZE = 20;
const CONFIG_CDB_SIZE = 24;
const DEFAULT_SENSE_BYTES = 96;
const DEFAULT_CDB_BYTES = 32;
const MAX_SENSE_BYTES = 252;
const MAX_CDB_BYTES = 260;

/** Request: LUN, tag, attributes, CDB; response: lengths, status, sense data (5.6.6.1). */
const REQUEST_HEADER_BYTES = 19;
const RESPONSE_HEADER_BYTES = 12;
const EVENT_BYTES = 16;
/** Type, subtype, LUN and tag (5.6.6.2). */
const TASK_MANAGEMENT_BYTES = 24;
const LUN_BYTES = 8;

export const VIRTIO_SCSI_S_OK = 0;
export const VIRTIO_SCSI_S_OVERRUN = 1;
export const VIRTIO_SCSI_S_ABORTED = 2;
export const VIRTIO_SCSI_S_BAD_TARGET = 3;
export const VIRTIO_SCSI_S_RESET = 4;
export const VIRTIO_SCSI_S_FAILURE = 9;
export const VIRTIO_SCSI_S_FUNCTION_SUCCEEDED = 10;
export const VIRTIO_SCSI_S_FUNCTION_REJECTED = 11;
export const VIRTIO_SCSI_S_INCORRECT_LUN = 12;

const T_TMF = 0;
const T_AN_QUERY = 1;
const T_AN_SUBSCRIBE = 2;
export const TMF_ABORT_TASK = 0;
export const TMF_ABORT_TASK_SET = 1;
export const TMF_CLEAR_ACA = 2;
export const TMF_CLEAR_TASK_SET = 3;
export const TMF_I_T_NEXUS_RESET = 4;
export const TMF_LOGICAL_UNIT_RESET = 5;
export const TMF_QUERY_TASK = 6;
export const TMF_QUERY_TASK_SET = 7;

const EVENT_PARAM_CHANGE = 3;
const EVENTS_MISSED = 0x80000000;

export interface VirtioScsiOptions extends VirtioDeviceOptions {
  /** Targets by their number, 0 to 255. */
  readonly targets: ReadonlyMap<number, ScsiTarget>;
}

/** A command on its way to its unit. */
interface Task {
  readonly tag: bigint;
  readonly target: number;
  readonly lun: number;
  readonly settled: Promise<void>;
  /** What to say instead of the unit's answer. */
  response: number;
}

interface Address {
  readonly target: number;
  readonly lun: number;
}

export class VirtioScsi extends VirtioDevice {
  readonly #targets: ReadonlyMap<number, ScsiTarget>;
  readonly #config = new Uint8Array(CONFIG_BYTES);
  readonly #tasks = new Set<Task>();
  #commandsDone = 0;
  #eventsMissed = false;

  constructor(options: VirtioScsiOptions) {
    super('virtio-scsi', { deviceId: 0x1004, type: 0x0008, classCode: 0x01 }, options, {
      queueSizes: [CONTROL_RING, CONTROL_RING, ...Array.from({ length: REQUEST_QUEUES }, () => REQUEST_RING)],
      // Legacy drivers see bhyve's: none.
      featureBits: [],
      modernFeatureBits: [VIRTIO_SCSI_F_HOTPLUG, VIRTIO_SCSI_F_CHANGE, VIRTIO_RING_F_INDIRECT_DESC],
      configBytes: CONFIG_BYTES,
    });
    this.#targets = options.targets;
    this.#setConfig();
  }

  #setConfig(): void {
    const fields = new DataView(this.#config.buffer);
    fields.setUint32(0, REQUEST_QUEUES, true);
    fields.setUint32(4, SEG_MAX, true);
    fields.setUint32(8, MAX_SECTORS, true);
    fields.setUint32(12, COMMANDS_PER_LUN, true);
    fields.setUint32(16, EVENT_BYTES, true);
    fields.setUint32(CONFIG_SENSE_SIZE, DEFAULT_SENSE_BYTES, true);
    fields.setUint32(CONFIG_CDB_SIZE, DEFAULT_CDB_BYTES, true);
    fields.setUint16(28, 0, true);
    fields.setUint16(30, Math.max(0, ...this.#targets.keys()), true);
    fields.setUint32(32, MAX_LUN, true);
  }

  get #senseBytes(): number {
    return new DataView(this.#config.buffer).getUint32(CONFIG_SENSE_SIZE, true);
  }

  get #cdbBytes(): number {
    return new DataView(this.#config.buffer).getUint32(CONFIG_CDB_SIZE, true);
  }

  protected override deviceConfig(): Uint8Array {
    return this.#config;
  }

  /** Drivers may change the sizes of sense data and CDBs; the others are the device's. */
  protected override writeDeviceRegister(offset: number, size: AccessSize, value: number): void {
    const fields = new DataView(this.#config.buffer);
    if (size === 4 && offset === CONFIG_SENSE_SIZE) fields.setUint32(offset, Math.min(value, MAX_SENSE_BYTES), true);
    else if (size === 4 && offset === CONFIG_CDB_SIZE) {
      fields.setUint32(offset, Math.min(Math.max(value, 16), MAX_CDB_BYTES), true);
    } else super.writeDeviceRegister(offset, size, value);
  }

  protected override driverReset(): void {
    this.#tasks.clear();
    this.#eventsMissed = false;
    this.#setConfig();
  }

  protected override resetDevice(): void {
    super.resetDevice();
    for (const { units } of this.#targets.values()) for (const unit of units.values()) unit.powerOn();
  }

  protected override queueNotified(index: number, queue: VirtQueue): void {
    // Buffers of the event queue wait there until something happens.
    if (index === EVENT_QUEUE) {
      if (this.#eventsMissed) this.#sendEvent(0, 0, 0, 0);
      return;
    }
    for (let count = 0; count < queue.size; count++) {
      const chain = queue.pop();
      if (!chain) break;
      this.#start(index, queue, chain);
    }
    this.signalQueue(queue);
  }

  #start(index: number, queue: VirtQueue, chain: Chain): void {
    try {
      if (index === CONTROL_QUEUE) this.#control(queue, chain);
      else this.#request(queue, chain);
    } catch (error) {
      if (!(error instanceof GuestAddressError)) throw error;
      this.badRequests++;
      queue.push(chain.head, 0);
    }
  }

  #views(segments: readonly Segment[]): Uint8Array[] {
    return segments.flatMap(({ gpa, lengthBytes }) => (lengthBytes === 0 ? [] : this.memory.views(gpa, lengthBytes)));
  }

  /** The first bytes of the readable part, at most `limitBytes`, copied: each byte is read once, for it may change. */
  #readHeader(chain: Chain, limitBytes: number): DataView {
    const bytes = new Uint8Array(limitBytes);
    let done = 0;
    for (const { gpa, lengthBytes } of chain.readable) {
      if (done === limitBytes) break;
      const part = bytes.subarray(done, done + lengthBytes);
      this.memory.read(gpa, part);
      done += part.length;
    }
    return new DataView(bytes.buffer, 0, done);
  }

  /** Target and unit of an 8-byte LUN (5.6.6.1): byte 0 is 1, then the target, then a LUN of either addressing method. */
  #address(header: DataView, offset: number): Address | undefined {
    if (header.getUint8(offset) !== 1) return undefined;
    return { target: header.getUint8(offset + 1), lun: header.getUint16(offset + 2) & 0x3fff };
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Requests

  #request(queue: VirtQueue, chain: Chain): void {
    const requestBytes = REQUEST_HEADER_BYTES + this.#cdbBytes;
    const responseBytes = RESPONSE_HEADER_BYTES + this.#senseBytes;
    const header = this.#readHeader(chain, requestBytes);
    const writable = this.#views(chain.writable);
    // As bhyve does: what has no header or no room for an answer is given back without one.
    if (header.byteLength < requestBytes || viewsBytes(writable) < responseBytes) {
      this.badRequests++;
      this.problem('request without header or response');
      queue.push(chain.head, 0);
      return;
    }
    const address = this.#address(header, 0);
    const target = address ? this.#targets.get(address.target) : undefined;
    if (!address || !target) {
      this.#respond(queue, chain, undefined, VIRTIO_SCSI_S_BAD_TARGET, 0);
      return;
    }
    const cdb = new Uint8Array(header.buffer, REQUEST_HEADER_BYTES, this.#cdbBytes).slice();
    const dataOut = dropViews(this.#views(chain.readable), requestBytes);
    const dataIn = dropViews(writable, responseBytes);
    const wantedBytes = viewsBytes(dataOut) + viewsBytes(dataIn);
    const work = target.execute(address.lun, { cdb, dataOut, dataIn }).then((result) => {
      // Whatever becomes of the answer: memory that may hold code has changed.
      this.#dataWritten(chain, responseBytes, result.status === 0 ? result.dataInBytes : viewsBytes(dataIn));
      return result;
    });
    const task: Task = {
      tag: header.getBigUint64(LUN_BYTES, true),
      ...address,
      settled: work.then(() => undefined),
      response: VIRTIO_SCSI_S_OK,
    };
    this.#tasks.add(task);
    const done = (result: ScsiResult): void => {
      this.#tasks.delete(task);
      this.#respond(queue, chain, result, task.response, wantedBytes);
      this.signalQueue(queue);
    };
    this.requests.begin(work, done, (error) => {
      this.#tasks.delete(task);
      this.attachment.deviceError(error);
    });
  }

  #dataWritten(chain: Chain, skipBytes: number, lengthBytes: number): void {
    let at = 0;
    for (const segment of chain.writable) {
      const start = Math.max(skipBytes - at, 0);
      const end = Math.min(skipBytes + lengthBytes - at, segment.lengthBytes);
      if (start < end) this.memory.written(segment.gpa + start, end - start);
      at += segment.lengthBytes;
    }
  }

  #respond(
    queue: VirtQueue,
    chain: Chain,
    result: ScsiResult | undefined,
    response: number,
    wantedBytes: number,
  ): void {
    this.#commandsDone++;
    const senseBytes = this.#senseBytes;
    const bytes = new Uint8Array(RESPONSE_HEADER_BYTES + senseBytes);
    const view = new DataView(bytes.buffer);
    const moved = result ? result.dataInBytes + result.dataOutBytes : 0;
    if (result && response === VIRTIO_SCSI_S_OK) {
      const sense = result.sense ? fixedSense(result.sense).subarray(0, senseBytes) : new Uint8Array(0);
      view.setUint32(0, sense.length, true);
      view.setUint32(4, Math.max(0, wantedBytes - moved), true);
      bytes[10] = result.status;
      bytes.set(sense, RESPONSE_HEADER_BYTES);
    }
    bytes[11] = response;
    this.#answer(queue, chain, bytes, bytes.length + (result?.dataInBytes ?? 0));
  }

  /** Writes an answer to the start of the writable part and gives the request back. */
  #answer(queue: VirtQueue, chain: Chain, bytes: Uint8Array, writtenBytes: number): void {
    try {
      scatter(this.#views(chain.writable), bytes);
      this.#dataWritten(chain, 0, bytes.length);
    } catch (error) {
      if (!(error instanceof GuestAddressError)) throw error;
      this.badRequests++;
    }
    queue.push(chain.head, writtenBytes);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Control

  #control(queue: VirtQueue, chain: Chain): void {
    const header = this.#readHeader(chain, TASK_MANAGEMENT_BYTES);
    const type = header.byteLength < 4 ? undefined : header.getUint32(0, true);
    if (type === T_TMF) {
      if (header.byteLength === TASK_MANAGEMENT_BYTES) {
        this.#taskManagement(queue, chain, header);
        return;
      }
    } else if (type === T_AN_QUERY || type === T_AN_SUBSCRIBE) {
      // No asynchronous notifications of the old kind: drivers use the event queue.
      const bytes = new Uint8Array(5);
      bytes[4] = VIRTIO_SCSI_S_OK;
      this.#answer(queue, chain, bytes, bytes.length);
      return;
    }
    this.badRequests++;
    this.problem('control request of an unknown type');
    queue.push(chain.head, 0);
  }

  #taskManagement(queue: VirtQueue, chain: Chain, header: DataView): void {
    const subtype = header.getUint32(4, true);
    const address = this.#address(header, 8);
    const tag = header.getBigUint64(16, true);
    const target = address ? this.#targets.get(address.target) : undefined;
    const respond = (response: number): void => this.#answer(queue, chain, Uint8Array.of(response), 1);
    if (!address || !target) {
      respond(VIRTIO_SCSI_S_BAD_TARGET);
      return;
    }
    if (subtype !== TMF_I_T_NEXUS_RESET && !target.units.has(address.lun)) {
      respond(VIRTIO_SCSI_S_INCORRECT_LUN);
      return;
    }
    const ofUnit = [...this.#tasks].filter((task) => task.target === address.target && task.lun === address.lun);
    switch (subtype) {
      case TMF_ABORT_TASK:
        this.#end(
          queue,
          respond,
          ofUnit.filter((task) => task.tag === tag),
          VIRTIO_SCSI_S_ABORTED,
        );
        break;
      case TMF_ABORT_TASK_SET:
      case TMF_CLEAR_TASK_SET:
        this.#end(queue, respond, ofUnit, VIRTIO_SCSI_S_ABORTED);
        break;
      case TMF_LOGICAL_UNIT_RESET:
        this.#end(queue, respond, ofUnit, VIRTIO_SCSI_S_RESET, () => target.reset(address.lun));
        break;
      case TMF_I_T_NEXUS_RESET: {
        const ofTarget = [...this.#tasks].filter((task) => task.target === address.target);
        this.#end(queue, respond, ofTarget, VIRTIO_SCSI_S_RESET, () => target.reset());
        break;
      }
      case TMF_CLEAR_ACA:
        respond(VIRTIO_SCSI_S_OK);
        break;
      case TMF_QUERY_TASK:
        respond(ofUnit.some((task) => task.tag === tag) ? VIRTIO_SCSI_S_FUNCTION_SUCCEEDED : VIRTIO_SCSI_S_OK);
        break;
      case TMF_QUERY_TASK_SET:
        respond(ofUnit.length > 0 ? VIRTIO_SCSI_S_FUNCTION_SUCCEEDED : VIRTIO_SCSI_S_OK);
        break;
      default:
        respond(VIRTIO_SCSI_S_FUNCTION_REJECTED);
    }
  }

  /** Tasks cannot be called back: they end with `response`, and when the last has, the function is complete. */
  #end(
    queue: VirtQueue,
    respond: (response: number) => void,
    tasks: readonly Task[],
    response: number,
    then: () => void = () => undefined,
  ): void {
    for (const task of tasks) task.response = response;
    if (tasks.length === 0) {
      then();
      respond(VIRTIO_SCSI_S_OK);
      return;
    }
    const settled = Promise.all(tasks.map((task) => task.settled));
    const complete = (): void => {
      then();
      respond(VIRTIO_SCSI_S_OK);
      this.signalQueue(queue);
    };
    this.requests.begin(settled, complete, (error) => this.attachment.deviceError(error));
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Events

  /** A unit's capacity or medium has changed: sense code and qualifier say how. */
  unitChanged(target: number, lun: number, asc: number, ascq: number): void {
    if (this.negotiated(VIRTIO_SCSI_F_CHANGE)) this.#sendEvent(EVENT_PARAM_CHANGE, target, lun, asc | (ascq << 8));
  }

  #sendEvent(type: number, target: number, lun: number, reason: number): void {
    const queue = this.queue(EVENT_QUEUE);
    const chain = queue.pop();
    if (!chain) {
      this.#eventsMissed = true;
      return;
    }
    const bytes = new Uint8Array(EVENT_BYTES);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, (type | (this.#eventsMissed ? EVENTS_MISSED : 0)) >>> 0, true);
    bytes.set([1, target, 0x40 | (lun >> 8), lun & 0xff], 4);
    view.setUint32(12, reason, true);
    this.#eventsMissed = false;
    this.#answer(queue, chain, bytes, bytes.length);
    this.signalQueue(queue);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Life cycle

  protected override async closeDevice(): Promise<void> {
    for (const { units } of this.#targets.values()) for (const unit of units.values()) await unit.close();
  }

  protected override deviceCounters(): Counters {
    let backendErrors = 0;
    let rejected = 0;
    for (const { units } of this.#targets.values()) {
      for (const unit of units.values()) {
        backendErrors += unit.backendErrors;
        rejected += unit.rejectedCommands;
      }
    }
    return {
      ...super.deviceCounters(),
      commands: this.#commandsDone,
      'backend errors': backendErrors,
      'rejected commands': rejected,
    };
  }

  protected override saveDevice(): { readonly [field: string]: StateValue } {
    const units: StateValue[] = [];
    for (const target of this.#targets.values()) {
      for (const unit of target.units.values()) units.push({ ...unit.save() });
    }
    return {
      ...super.saveDevice(),
      senseBytes: this.#senseBytes,
      cdbBytes: this.#cdbBytes,
      eventsMissed: this.#eventsMissed,
      units,
    };
  }

  protected override prepareDeviceRestore(fields: StateFields): () => void {
    const senseBytes = fields.integer('senseBytes', MAX_SENSE_BYTES);
    const cdbBytes = fields.integer('cdbBytes', MAX_CDB_BYTES);
    const eventsMissed = fields.flag('eventsMissed');
    const all = [...this.#targets.values()].flatMap((target) => [...target.units.values()]);
    const states = fields
      .groups('units', all.length)
      .map((group) => Object.fromEntries(group.names().map((name) => [name, group.integer(name, 0xffffffff)])));
    const restore = super.prepareDeviceRestore(fields);
    return () => {
      this.#tasks.clear();
      const config = new DataView(this.#config.buffer);
      config.setUint32(CONFIG_SENSE_SIZE, senseBytes, true);
      config.setUint32(CONFIG_CDB_SIZE, Math.max(cdbBytes, 16), true);
      this.#eventsMissed = eventsMissed;
      for (const [index, unit] of all.entries()) unit.restore(states[index] ?? {});
      restore();
    };
  }

  /** Commands that were in flight when the snapshot was made are done again. */
  protected override afterRestore(): void {
    for (const [index, queue] of this.queues.entries()) {
      if (index === EVENT_QUEUE) continue;
      for (const head of queue.takenHeads()) {
        const chain = queue.reread(head);
        if (chain) this.#start(index, queue, chain);
      }
      this.signalQueue(queue);
    }
  }
}
