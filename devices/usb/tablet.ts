/** bhyve's USB tablet: an absolute pointing device with three buttons and a wheel (HID 1.11), at SuperSpeed. */
import {
  POINTER_LEFT,
  POINTER_MIDDLE,
  POINTER_RIGHT,
  POINTER_WHEEL_DOWN,
  POINTER_WHEEL_UP,
  type PointerSink,
} from '../input/input-router.ts';
import { StateFields } from '../platform/state-fields.ts';
import type { DeviceState } from '../snapshot.ts';
import * as U from './usb-device.ts';

/** Standard requests (USB 3.2, table 9-4). */
const GET_STATUS = 0;
const CLEAR_FEATURE = 1;
const SET_FEATURE = 3;
const SET_ADDRESS = 5;
const GET_DESCRIPTOR = 6;
const GET_CONFIGURATION = 8;
const SET_CONFIGURATION = 9;
const GET_INTERFACE = 10;
const SET_INTERFACE = 11;
const SET_SEL = 48;
const SET_ISOCH_DELAY = 49;

const FEATURE_ENDPOINT_HALT = 0;
const FEATURE_REMOTE_WAKEUP = 1;
const STATUS_REMOTE_WAKEUP = 0x02;

/** HID requests (HID 1.11, 7.2). */
const GET_REPORT = 1;
const GET_IDLE = 2;
const GET_PROTOCOL = 3;
const SET_REPORT = 9;
const SET_IDLE = 10;
const SET_PROTOCOL = 11;

const DESCRIPTOR_DEVICE = 1;
const DESCRIPTOR_CONFIGURATION = 2;
const DESCRIPTOR_STRING = 3;
const DESCRIPTOR_BOS = 15;
const DESCRIPTOR_HID = 0x21;
const DESCRIPTOR_REPORT = 0x22;

/** bhyve's own identifiers. */
const VENDOR = 0xfb5d;
const PRODUCT = 0x0001;
const STRINGS = ['', 'BHYVE', 'HID Tablet', '01', 'HID Tablet Device'] as const;
const LANGUAGE_ENGLISH_US = 0x0409;

const ENDPOINT_IN = 0x81;
const COORDINATE_LIMIT = 0x8000;
const REPORT_BYTES = 6;
/** Reports that wait to be fetched. Movements that nobody has fetched are joined. */
const MAX_REPORTS = 32;

/** Buttons 1-3, absolute X and Y of 0-32767, relative wheel. */
const REPORT_DESCRIPTOR = Uint8Array.of(
  ...[0x05, 0x01, 0x09, 0x02, 0xa1, 0x01, 0x09, 0x01, 0xa1, 0x00], // Generic Desktop, Mouse, Application, Pointer, Physical
  ...[0x05, 0x09, 0x19, 0x01, 0x29, 0x03, 0x15, 0x00, 0x25, 0x01, 0x75, 0x01, 0x95, 0x03, 0x81, 0x02], // three buttons
  ...[0x75, 0x05, 0x95, 0x01, 0x81, 0x03], // five bits of padding
  ...[0x05, 0x01, 0x09, 0x30, 0x09, 0x31, 0x35, 0x00, 0x46, 0xff, 0x7f, 0x15, 0x00, 0x26, 0xff, 0x7f], // X, Y: 0-32767
  ...[0x75, 0x10, 0x95, 0x02, 0x81, 0x02], // two absolute words
  ...[0x05, 0x01, 0x09, 0x38, 0x35, 0x00, 0x45, 0x00, 0x15, 0x81, 0x25, 0x7f, 0x75, 0x08, 0x95, 0x01, 0x81, 0x06], // wheel
  ...[0xc0, 0xc0],
);

function low(value: number): number {
  return value & 0xff;
}

function high(value: number): number {
  return (value >> 8) & 0xff;
}

const DEVICE_DESCRIPTOR = Uint8Array.of(
  ...[18, DESCRIPTOR_DEVICE, 0x00, 0x03, 0, 0, 0, 9], // USB 3.0, class by interface, 2^9 bytes at endpoint 0
  ...[low(VENDOR), high(VENDOR), low(PRODUCT), high(PRODUCT), 0x00, 0x00, 1, 2, 3, 1],
);

const HID_DESCRIPTOR = Uint8Array.of(
  ...[
    9,
    DESCRIPTOR_HID,
    0x11,
    0x01,
    0,
    1,
    DESCRIPTOR_REPORT,
    low(REPORT_DESCRIPTOR.length),
    high(REPORT_DESCRIPTOR.length),
  ],
);

const CONFIGURATION_BYTES = 9 + 9 + 9 + 7 + 6;
const CONFIGURATION_DESCRIPTOR = Uint8Array.of(
  ...[9, DESCRIPTOR_CONFIGURATION, CONFIGURATION_BYTES, 0, 1, 1, 4, 0xa0, 0], // bus-powered with remote wake-up
  ...[9, 4, 0, 0, 1, 3, 1, 2, 0], // interface: HID, boot, mouse
  ...HID_DESCRIPTOR,
  ...[7, 5, ENDPOINT_IN, 3, 8, 0, 0x0a], // interrupt IN, 8 bytes
  ...[6, 0x30, 0, 0, 8, 0], // SuperSpeed companion: 8 bytes an interval
);

const BOS_DESCRIPTOR = Uint8Array.of(
  ...[5, DESCRIPTOR_BOS, 22, 0, 2],
  ...[7, 0x10, 0x02, 0x02, 0, 0, 0], // USB 2.0 extension: link power management
  ...[10, 0x10, 0x03, 0, 0x08, 0x00, 3, 10, 32, 0], // SuperSpeed: 5 Gb/s
);

function stringDescriptor(index: number): Uint8Array | undefined {
  if (index === 0) return Uint8Array.of(4, DESCRIPTOR_STRING, low(LANGUAGE_ENGLISH_US), high(LANGUAGE_ENGLISH_US));
  const text = STRINGS[index];
  if (text === undefined) return undefined;
  const units = [...text].flatMap((character) => [low(character.charCodeAt(0)), high(character.charCodeAt(0))]);
  return Uint8Array.of(2 + units.length, DESCRIPTOR_STRING, ...units);
}

const NOTHING = new Uint8Array(0);
const STATE_KIND = 'usb-tablet';
const STATE_VERSION = 1;

export class UsbTablet implements U.UsbDevice, PointerSink {
  readonly speed = U.SPEED_SUPER;
  onReport: () => void = () => {};
  badRequests = 0;
  droppedReports = 0;
  /** Reports of {@link REPORT_BYTES}, the oldest first. */
  #reports: Uint8Array[] = [];
  #last = new Uint8Array(REPORT_BYTES);
  #lastButtons = 0;
  #configuration = 0;
  #protocol = 1;
  #idle = 0;
  #remoteWakeup = false;
  #halted = false;

  /** The guest uses the device. */
  get configured(): boolean {
    return this.#configuration !== 0;
  }

  pointer(buttons: number, x: number, y: number, width: number, height: number): void {
    let bits = 0;
    if (buttons & POINTER_LEFT) bits |= 1;
    if (buttons & POINTER_RIGHT) bits |= 2;
    if (buttons & POINTER_MIDDLE) bits |= 4;
    // RFB tells a step of the wheel as a button that is pressed and let go.
    const pressed = buttons & ~this.#lastButtons;
    this.#lastButtons = buttons;
    const wheel = pressed & POINTER_WHEEL_UP ? 1 : pressed & POINTER_WHEEL_DOWN ? -1 : 0;
    const across = Math.min(COORDINATE_LIMIT - 1, Math.floor((COORDINATE_LIMIT * x) / Math.max(1, width)));
    const down = Math.min(COORDINATE_LIMIT - 1, Math.floor((COORDINATE_LIMIT * y) / Math.max(1, height)));
    this.#push(Uint8Array.of(bits, low(across), high(across), low(down), high(down), wheel));
  }

  #push(report: Uint8Array<ArrayBuffer>): void {
    const waiting = this.#reports.at(-1);
    if (waiting && waiting[0] === report[0] && waiting[5] === 0 && report[5] === 0) this.#reports.pop();
    else if (report.every((byte, at) => byte === this.#last[at]) && report[5] === 0) return;
    if (this.#reports.length >= MAX_REPORTS) {
      this.droppedReports++;
      this.#reports.shift();
    }
    this.#last = report;
    this.#reports.push(report);
    this.onReport();
  }

  hasInterruptIn(endpoint: number): boolean {
    return this.configured && !this.#halted && endpoint === (ENDPOINT_IN & 0x0f);
  }

  interruptIn(endpoint: number): Uint8Array | undefined {
    return this.hasInterruptIn(endpoint) ? this.#reports.shift() : undefined;
  }

  control(setup: U.SetupPacket, _data: Uint8Array): Uint8Array | undefined {
    const recipient = setup.requestType & U.RECIPIENT_MASK;
    let answer: Uint8Array | undefined;
    switch (setup.requestType & U.REQUEST_TYPE_MASK) {
      case U.REQUEST_STANDARD:
        answer = this.#standard(setup, recipient);
        break;
      case U.REQUEST_CLASS:
        if (recipient === U.RECIPIENT_INTERFACE) answer = this.#hid(setup);
        break;
    }
    if (!answer) this.badRequests++;
    return answer?.subarray(0, setup.lengthBytes);
  }

  #standard({ request, value, index }: U.SetupPacket, recipient: number): Uint8Array | undefined {
    switch (request) {
      case GET_DESCRIPTOR:
        return descriptor(value >> 8, value & 0xff);
      case GET_STATUS:
        if (recipient === U.RECIPIENT_ENDPOINT) return Uint8Array.of(this.#halted && index === ENDPOINT_IN ? 1 : 0, 0);
        if (recipient === U.RECIPIENT_DEVICE) return Uint8Array.of(this.#remoteWakeup ? STATUS_REMOTE_WAKEUP : 0, 0);
        return Uint8Array.of(0, 0);
      case SET_FEATURE:
      case CLEAR_FEATURE:
        this.#feature(recipient, value, index, request === SET_FEATURE);
        return NOTHING;
      case GET_CONFIGURATION:
        return Uint8Array.of(this.#configuration);
      case SET_CONFIGURATION:
        if (value > 1) return undefined;
        this.#configuration = value;
        this.#reports = [];
        return NOTHING;
      case GET_INTERFACE:
        return Uint8Array.of(0);
      case SET_INTERFACE:
        return value === 0 && index === 0 ? NOTHING : undefined;
      case SET_ADDRESS:
      case SET_SEL:
      case SET_ISOCH_DELAY:
        return NOTHING;
      default:
        return undefined;
    }
  }

  #feature(recipient: number, feature: number, index: number, set: boolean): void {
    if (recipient === U.RECIPIENT_DEVICE && feature === FEATURE_REMOTE_WAKEUP) this.#remoteWakeup = set;
    if (recipient === U.RECIPIENT_ENDPOINT && feature === FEATURE_ENDPOINT_HALT && index === ENDPOINT_IN) {
      this.#halted = set;
    }
  }

  #hid({ request, value }: U.SetupPacket): Uint8Array | undefined {
    switch (request) {
      case GET_REPORT:
        return this.#last;
      case GET_IDLE:
        return Uint8Array.of(this.#idle);
      case GET_PROTOCOL:
        return Uint8Array.of(this.#protocol);
      case SET_REPORT:
        return NOTHING;
      case SET_IDLE:
        this.#idle = value >> 8;
        return NOTHING;
      case SET_PROTOCOL:
        this.#protocol = value & 1;
        return NOTHING;
      default:
        return undefined;
    }
  }

  reset(): void {
    this.#reports = [];
    this.#last = new Uint8Array(REPORT_BYTES);
    this.#lastButtons = 0;
    this.#configuration = 0;
    this.#protocol = 1;
    this.#idle = 0;
    this.#remoteWakeup = false;
    this.#halted = false;
  }

  counters(): Readonly<Record<string, number>> {
    return { 'tablet bad requests': this.badRequests, 'tablet dropped reports': this.droppedReports };
  }

  save(): DeviceState {
    return {
      kind: STATE_KIND,
      version: STATE_VERSION,
      fields: {
        reports: this.#reports.flatMap((report) => [...report]),
        last: this.#last.slice(),
        lastButtons: this.#lastButtons,
        configuration: this.#configuration,
        protocol: this.#protocol,
        idle: this.#idle,
        remoteWakeup: this.#remoteWakeup,
        halted: this.#halted,
      },
    };
  }

  restore(state: DeviceState): void {
    this.prepareRestore(state)();
  }

  /** Checks a state and returns what puts it in place. */
  prepareRestore(state: DeviceState): () => void {
    const fields = StateFields.open(state, STATE_KIND, STATE_VERSION);
    const bytes = fields.integers('reports', MAX_REPORTS * REPORT_BYTES, 0xff);
    const last = fields.bytes('last', REPORT_BYTES);
    const lastButtons = fields.integer('lastButtons', 0xff);
    const configuration = fields.integer('configuration', 1);
    const protocol = fields.integer('protocol', 1);
    const idle = fields.integer('idle', 0xff);
    const remoteWakeup = fields.flag('remoteWakeup');
    const halted = fields.flag('halted');
    return () => {
      this.#reports = [];
      for (let at = 0; at + REPORT_BYTES <= bytes.length; at += REPORT_BYTES) {
        this.#reports.push(Uint8Array.from(bytes.slice(at, at + REPORT_BYTES)));
      }
      this.#last = Uint8Array.from(last);
      this.#lastButtons = lastButtons;
      this.#configuration = configuration;
      this.#protocol = protocol;
      this.#idle = idle;
      this.#remoteWakeup = remoteWakeup;
      this.#halted = halted;
    };
  }
}

function descriptor(type: number, index: number): Uint8Array | undefined {
  switch (type) {
    case DESCRIPTOR_DEVICE:
      return DEVICE_DESCRIPTOR;
    case DESCRIPTOR_CONFIGURATION:
      return index === 0 ? CONFIGURATION_DESCRIPTOR : undefined;
    case DESCRIPTOR_STRING:
      return stringDescriptor(index);
    case DESCRIPTOR_BOS:
      return BOS_DESCRIPTOR;
    case DESCRIPTOR_HID:
      return HID_DESCRIPTOR;
    case DESCRIPTOR_REPORT:
      return REPORT_DESCRIPTOR;
    default:
      return undefined;
  }
}
