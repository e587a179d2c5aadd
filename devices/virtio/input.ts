/** The input device `virtio-input` (virtio 1.2, 5.8): a keyboard, a mouse or a tablet for the display's user. */
import { GuestAddressError } from '../bus/guest-memory.ts';
import type { AccessSize } from '../bus/port-bus.ts';
import { VIRTIO_INPUT_OPTIONS } from '../config/declarations/virtio.ts';
import { readSettings } from '../config/settings-of.ts';
import type { Counters } from '../device.ts';
import { DeviceError, type DeviceBuilder } from '../device-context.ts';
import * as E from '../input/evdev.ts';
import {
  POINTER_LEFT,
  POINTER_MIDDLE,
  POINTER_RIGHT,
  POINTER_WHEEL_DOWN,
  POINTER_WHEEL_UP,
  PRIORITY_VIRTIO,
  type KeyboardSink,
  type PointerSink,
} from '../input/input-router.ts';
import type { StateFields } from '../platform/state-fields.ts';
import type { StateValue } from '../snapshot.ts';
import { virtioOptions, VirtioDevice, type VirtioDeviceOptions } from './device.ts';
import type { VirtQueue } from './queue.ts';

const QUEUE_SIZE = 64;
const EVENT_QUEUE = 0;
const DEVICE_TYPE = 18;
/** bhyve's subsystem. */
const SUBSYSTEM = 0x1100;

/** Device configuration (5.8.4). */
const CONFIG_BYTES = 136;
const CONFIG_DATA = 8;
const SELECT_NAME = 0x01;
const SELECT_SERIAL = 0x02;
const SELECT_IDS = 0x03;
const SELECT_PROPERTIES = 0x10;
const SELECT_EVENT_BITS = 0x11;
const SELECT_AXIS = 0x12;

const EVENT_BYTES = 8;
/** Events that wait for the driver's buffers. */
const MAX_PENDING = 256;
const MAX_KEYS_DOWN = 128;
const AXIS_MAX = 0x7fff;
const COORDINATE_MAX = 0xffff;

export type InputKind = 'keyboard' | 'mouse' | 'tablet';

type InputEvent = readonly [type: number, code: number, value: number];

const NAMES: Readonly<Record<InputKind, string>> = {
  keyboard: 'bhyve virtio keyboard',
  mouse: 'bhyve virtio mouse',
  tablet: 'bhyve virtio tablet',
};
const BUTTONS: readonly (readonly [mask: number, code: number])[] = [
  [POINTER_LEFT, E.BTN_LEFT],
  [POINTER_RIGHT, E.BTN_RIGHT],
  [POINTER_MIDDLE, E.BTN_MIDDLE],
];

/** Codes that each kind has, by event type. */
function codesOf(kind: InputKind, type: number): readonly number[] {
  if (kind === 'keyboard') {
    if (type === E.EV_KEY) return E.KEYBOARD_CODES;
    if (type === E.EV_LED) return [E.LED_NUML, E.LED_CAPSL, E.LED_SCROLLL];
    return [];
  }
  if (type === E.EV_KEY) return BUTTONS.map(([, code]) => code);
  if (type === E.EV_REL) return kind === 'mouse' ? [E.REL_X, E.REL_Y, E.REL_WHEEL] : [E.REL_WHEEL];
  return type === E.EV_ABS && kind === 'tablet' ? [E.ABS_X, E.ABS_Y] : [];
}

function bitmap(codes: readonly number[]): Uint8Array {
  if (codes.length === 0) return new Uint8Array(0);
  const bytes = new Uint8Array((Math.max(...codes) >> 3) + 1);
  for (const code of codes) bytes[code >> 3] = (bytes[code >> 3] ?? 0) | (1 << (code & 7));
  return bytes;
}

function words(...values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 * values.length);
  const view = new DataView(bytes.buffer);
  for (const [index, value] of values.entries()) view.setUint32(4 * index, value, true);
  return bytes;
}

export class VirtioInput extends VirtioDevice implements KeyboardSink, PointerSink {
  /** Events for which there was no room any more. */
  droppedEvents = 0;
  #select = 0;
  #subselect = 0;
  #pending: InputEvent[] = [];
  readonly #down = new Set<number>();
  /** Keys that were down in a snapshot, or whose release found no room: they go up before the next event. */
  #stale: readonly number[] = [];
  #buttons = 0;
  #x = 0;
  #y = 0;

  constructor(
    options: VirtioDeviceOptions,
    private readonly inputKind: InputKind,
    private readonly serial: string,
  ) {
    const identity = { type: DEVICE_TYPE, subsystemId: SUBSYSTEM, classCode: 0x09 };
    // The type is younger than the legacy interface, which bhyve offers all the same; drivers use the modern one.
    super('virtio-input', identity, options, {
      queueSizes: [QUEUE_SIZE, QUEUE_SIZE],
      featureBits: [],
      configBytes: CONFIG_BYTES,
    });
  }

  /** The driver takes events. */
  get active(): boolean {
    return this.queue0.ready;
  }

  // -------------------------------------------------------------------------------------------------------------------
  // The user

  key(code: number, down: boolean): void {
    const key = E.evdevOfXtCode(code);
    if (key === undefined) return;
    // A key that is held is repeated by the guest.
    if (down === this.#down.has(key) && !this.#stale.includes(key)) return;
    if (down && this.#down.size >= MAX_KEYS_DOWN) return;
    const sent = this.#send([[E.EV_KEY, key, down ? 1 : 0]]);
    // A key that the guest was not told is down is not; one that it was not told has come up comes up before the next event.
    if (!down) this.#down.delete(key);
    else if (sent) this.#down.add(key);
    if (!down && !sent && this.#stale.length < MAX_KEYS_DOWN) this.#stale = [...this.#stale, key];
  }

  pointer(buttons: number, x: number, y: number, width: number, height: number): void {
    const events: InputEvent[] = [];
    if (this.inputKind === 'tablet') {
      const scale = (at: number, length: number): number =>
        Math.round((Math.max(0, Math.min(at, length - 1)) * AXIS_MAX) / Math.max(1, length - 1));
      events.push([E.EV_ABS, E.ABS_X, scale(x, width)], [E.EV_ABS, E.ABS_Y, scale(y, height)]);
    } else {
      if (x !== this.#x) events.push([E.EV_REL, E.REL_X, x - this.#x]);
      if (y !== this.#y) events.push([E.EV_REL, E.REL_Y, y - this.#y]);
    }
    const changed = buttons ^ this.#buttons;
    for (const [mask, code] of BUTTONS) if (changed & mask) events.push([E.EV_KEY, code, buttons & mask ? 1 : 0]);
    if (changed & buttons & POINTER_WHEEL_UP) events.push([E.EV_REL, E.REL_WHEEL, 1]);
    if (changed & buttons & POINTER_WHEEL_DOWN) events.push([E.EV_REL, E.REL_WHEEL, -1]);
    // What the guest was not told is in the next report.
    if (events.length > 0 && !this.#send(events)) return;
    this.#x = Math.max(0, Math.min(COORDINATE_MAX, x));
    this.#y = Math.max(0, Math.min(COORDINATE_MAX, y));
    this.#buttons = buttons & 0xff;
  }

  /** Events of one moment: all of them, or none, and then false. */
  #send(events: readonly InputEvent[]): boolean {
    const released = this.#stale.map((key): InputEvent => [E.EV_KEY, key, 0]);
    const report: InputEvent[] = [...released, ...events, [E.EV_SYN, E.SYN_REPORT, 0]];
    if (this.#pending.length + report.length > MAX_PENDING) {
      this.droppedEvents += report.length;
      return false;
    }
    for (const key of this.#stale) this.#down.delete(key);
    this.#stale = [];
    this.#pending.push(...report);
    if (!this.paused) this.#deliver();
    return true;
  }

  #deliver(): void {
    const queue = this.queue0;
    if (!queue.ready || !this.busMaster) return;
    let delivered = false;
    for (let event = this.#pending[0]; event; event = this.#pending[0]) {
      const chain = queue.pop();
      if (!chain) break;
      const bytes = new Uint8Array(EVENT_BYTES);
      const view = new DataView(bytes.buffer);
      view.setUint16(0, event[0], true);
      view.setUint16(2, event[1], true);
      view.setInt32(4, event[2], true);
      queue.push(chain.head, this.#write(chain.writable, bytes));
      this.#pending.shift();
      delivered = true;
    }
    if (delivered) this.signalQueue(queue);
  }

  #write(segments: readonly { readonly gpa: number; readonly lengthBytes: number }[], bytes: Uint8Array): number {
    let done = 0;
    try {
      for (const { gpa, lengthBytes } of segments) {
        const count = Math.min(lengthBytes, bytes.length - done);
        if (count > 0) this.memory.write(gpa, bytes.subarray(done, done + count));
        done += count;
      }
    } catch (error) {
      if (!(error instanceof GuestAddressError)) throw error;
    }
    if (done < bytes.length) this.badRequests++;
    return done;
  }

  // -------------------------------------------------------------------------------------------------------------------
  // The driver

  protected override queueNotified(index: number, queue: VirtQueue): void {
    if (index === EVENT_QUEUE) {
      this.#deliver();
      return;
    }
    // Lights of the keyboard: there are none to switch.
    for (let count = 0; count < queue.size; count++) {
      const chain = queue.pop();
      if (!chain) break;
      queue.push(chain.head, 0);
    }
    this.signalQueue(queue);
  }

  protected override driverReset(): void {
    this.#select = 0;
    this.#subselect = 0;
    this.#pending = [];
    this.#down.clear();
    this.#stale = [];
    this.#buttons = 0;
  }

  protected override resetDevice(): void {
    super.resetDevice();
    this.#x = 0;
    this.#y = 0;
  }

  protected override resumeDevice(): void {
    this.#deliver();
  }

  protected override deviceConfig(): Uint8Array {
    const config = new Uint8Array(CONFIG_BYTES);
    const data = this.#selected().subarray(0, CONFIG_BYTES - CONFIG_DATA);
    config[0] = this.#select;
    config[1] = this.#subselect;
    config[2] = data.length;
    config.set(data, CONFIG_DATA);
    return config;
  }

  #selected(): Uint8Array {
    const text = new TextEncoder();
    switch (this.#select) {
      case SELECT_NAME:
        return this.#subselect === 0 ? text.encode(NAMES[this.inputKind]) : words();
      case SELECT_SERIAL:
        return this.#subselect === 0 ? text.encode(this.serial) : words();
      case SELECT_IDS: {
        if (this.#subselect !== 0) return words();
        return Uint8Array.of(E.BUS_VIRTUAL, 0, 0x5d, 0xfb, 0x02, 0x00, 0x01, 0x00);
      }
      case SELECT_PROPERTIES:
        return words();
      case SELECT_EVENT_BITS:
        return bitmap(codesOf(this.inputKind, this.#subselect));
      case SELECT_AXIS:
        return codesOf(this.inputKind, E.EV_ABS).includes(this.#subselect) ? words(0, AXIS_MAX, 0, 0, 0) : words();
      default:
        return words();
    }
  }

  protected override writeDeviceRegister(offset: number, size: AccessSize, value: number): void {
    if (offset > 1) {
      this.badAccesses++;
      return;
    }
    if (offset === 1) this.#subselect = value & 0xff;
    else {
      this.#select = value & 0xff;
      if (size > 1) this.#subselect = (value >>> 8) & 0xff;
    }
  }

  protected override deviceCounters(): Counters {
    return { ...super.deviceCounters(), 'dropped events': this.droppedEvents };
  }

  protected override saveDevice(): { readonly [field: string]: StateValue } {
    return {
      ...super.saveDevice(),
      select: this.#select,
      subselect: this.#subselect,
      pending: this.#pending.flatMap(([type, code, value]) => [type, code, value >>> 0]),
      down: [...new Set([...this.#down, ...this.#stale])],
      buttons: this.#buttons,
      x: this.#x,
      y: this.#y,
    };
  }

  protected override prepareDeviceRestore(fields: StateFields): () => void {
    const restore = super.prepareDeviceRestore(fields);
    const select = fields.integer('select', 0xff);
    const subselect = fields.integer('subselect', 0xff);
    const flat = fields.integers('pending', 3 * MAX_PENDING, 0xffffffff);
    const down = fields.integers('down', 2 * MAX_KEYS_DOWN, 0xffff);
    const buttons = fields.integer('buttons', 0xff);
    const x = fields.integer('x', COORDINATE_MAX);
    const y = fields.integer('y', COORDINATE_MAX);
    return () => {
      restore();
      this.#select = select;
      this.#subselect = subselect;
      this.#pending = [];
      for (let at = 0; at + 2 < flat.length; at += 3) {
        this.#pending.push([(flat[at] ?? 0) & 0xffff, (flat[at + 1] ?? 0) & 0xffff, (flat[at + 2] ?? 0) | 0]);
      }
      this.#down.clear();
      for (const key of down) this.#down.add(key);
      this.#stale = down;
      this.#buttons = buttons;
      this.#x = x;
      this.#y = y;
    };
  }
}

/** Builds the device that the path names. */
export const buildVirtioInput: DeviceBuilder = (context, { slot, func }, variables) => {
  const { path } = readSettings(VIRTIO_INPUT_OPTIONS, (name) => variables.get(name));
  if (path !== 'keyboard' && path !== 'mouse' && path !== 'tablet') {
    throw new DeviceError(
      `virtio-input: ${path ?? 'no device'}: keyboard, mouse or tablet is expected; event devices of the host are not passed on`,
    );
  }
  const device = new VirtioInput(virtioOptions(context), path, `${slot}-${func}`);
  if (path === 'keyboard') context.input.registerKeyboard(device, PRIORITY_VIRTIO, () => device.active);
  else context.input.registerPointer(device, PRIORITY_VIRTIO, () => device.active);
  return device;
};
