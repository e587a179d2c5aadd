/** A PS/2 mouse with three buttons and no wheel (IBM PS/2 Hardware Interface Technical Reference, Mouse). */
import type { DeviceState, Stateful } from '../snapshot.ts';
import { POINTER_LEFT, POINTER_MIDDLE, POINTER_RIGHT, type PointerSink } from '../input/input-router.ts';
import { StateFields } from './state-fields.ts';

const COMMAND_RESET = 0xff;
const COMMAND_SET_DEFAULTS = 0xf6;
const COMMAND_DISABLE = 0xf5;
const COMMAND_ENABLE = 0xf4;
const COMMAND_SET_SAMPLE_RATE = 0xf3;
const COMMAND_READ_ID = 0xf2;
const COMMAND_REMOTE_MODE = 0xf0;
const COMMAND_READ_DATA = 0xeb;
const COMMAND_STREAM_MODE = 0xea;
const COMMAND_STATUS_REQUEST = 0xe9;
const COMMAND_SET_RESOLUTION = 0xe8;
const COMMAND_SCALING_2_1 = 0xe7;
const COMMAND_SCALING_1_1 = 0xe6;

const REPLY_ACK = 0xfa;
const REPLY_SELF_TEST_PASSED = 0xaa;
const MOUSE_ID = 0x00;

/** Status byte: remote mode, reporting, 2:1 scaling, and the buttons. */
const STATUS_REMOTE = 0x40;
const STATUS_REPORTING = 0x20;
const STATUS_SCALING_2_1 = 0x10;
const STATUS_LEFT = 0x04;
const STATUS_MIDDLE = 0x02;
const STATUS_RIGHT = 0x01;

/** First byte of a packet. */
const PACKET_ALWAYS = 0x08;
const PACKET_X_SIGN = 0x10;
const PACKET_Y_SIGN = 0x20;
const PACKET_X_OVERFLOW = 0x40;
const PACKET_Y_OVERFLOW = 0x80;

const DEFAULT_RATE = 100;
const DEFAULT_RESOLUTION = 4;
const QUEUE_BYTES = 16;
const PACKET_BYTES = 3;
const DELTA_MAX = 255;
const COORDINATE_MAX = 0xffff;

const STATE_KIND = 'ps2-mouse';
const STATE_VERSION = 1;

export class Ps2Mouse implements Stateful, PointerSink {
  droppedBytes = 0;
  unknownCommands = 0;
  /** Called when the queue may have got a byte. */
  onOutput: () => void = () => {};
  #queue: number[] = [];
  #status = STATUS_REPORTING;
  #rate = DEFAULT_RATE;
  #resolution = DEFAULT_RESOLUTION;
  #pendingCommand = 0;
  #buttons = 0;
  #x = 0;
  #y = 0;
  #deltaX = 0;
  #deltaY = 0;
  /** The auxiliary port was enabled with A8; before that the mouse reports nothing. */
  #portEnabled = false;

  get hasOutput(): boolean {
    return this.#queue.length > 0;
  }

  take(): number | undefined {
    return this.#queue.shift();
  }

  setPortEnabled(enabled: boolean): void {
    this.#portEnabled = enabled;
  }

  #push(bytes: readonly number[]): void {
    if (this.#queue.length + bytes.length > QUEUE_BYTES) {
      this.droppedBytes += bytes.length;
      return;
    }
    this.#queue.push(...bytes);
    this.onOutput();
  }

  /** A byte from the host. Every one empties the queue first. */
  command(byte: number): void {
    this.#queue = [];
    if (this.#pendingCommand !== 0) {
      if (this.#pendingCommand === COMMAND_SET_SAMPLE_RATE) this.#rate = byte;
      else this.#resolution = byte;
      this.#pendingCommand = 0;
      this.#push([REPLY_ACK]);
      return;
    }
    switch (byte) {
      case COMMAND_RESET:
        this.#setDefaults();
        this.#push([REPLY_ACK, REPLY_SELF_TEST_PASSED, MOUSE_ID]);
        return;
      case COMMAND_SET_DEFAULTS:
        this.#setDefaults();
        break;
      case COMMAND_DISABLE:
        this.#status &= ~STATUS_REPORTING;
        break;
      case COMMAND_ENABLE:
        this.#status |= STATUS_REPORTING;
        break;
      case COMMAND_SET_SAMPLE_RATE:
      case COMMAND_SET_RESOLUTION:
        this.#pendingCommand = byte;
        break;
      case COMMAND_READ_ID:
        this.#push([REPLY_ACK, MOUSE_ID]);
        return;
      case COMMAND_REMOTE_MODE:
        this.#status |= STATUS_REMOTE;
        break;
      case COMMAND_STREAM_MODE:
        this.#status &= ~STATUS_REMOTE;
        break;
      case COMMAND_READ_DATA:
        this.#push([REPLY_ACK]);
        this.#pushPacket();
        return;
      case COMMAND_STATUS_REQUEST:
        this.#push([REPLY_ACK, this.#status | this.#statusButtons(), this.#resolution, this.#rate]);
        return;
      case COMMAND_SCALING_2_1:
        this.#status |= STATUS_SCALING_2_1;
        break;
      case COMMAND_SCALING_1_1:
        this.#status &= ~STATUS_SCALING_2_1;
        break;
      default:
        this.unknownCommands++;
    }
    this.#push([REPLY_ACK]);
  }

  #statusButtons(): number {
    let bits = 0;
    if (this.#buttons & POINTER_LEFT) bits |= STATUS_LEFT;
    if (this.#buttons & POINTER_MIDDLE) bits |= STATUS_MIDDLE;
    if (this.#buttons & POINTER_RIGHT) bits |= STATUS_RIGHT;
    return bits;
  }

  #setDefaults(): void {
    this.#status = STATUS_REPORTING;
    this.#rate = DEFAULT_RATE;
    this.#resolution = DEFAULT_RESOLUTION;
    this.#deltaX = 0;
    this.#deltaY = 0;
  }

  /** The user's pointer, at absolute display coordinates (y downwards) with POINTER_* buttons. */
  pointer(buttons: number, x: number, y: number): void {
    const clampedX = Math.max(0, Math.min(COORDINATE_MAX, Math.trunc(x) || 0));
    const clampedY = Math.max(0, Math.min(COORDINATE_MAX, Math.trunc(y) || 0));
    this.#deltaX += clampedX - this.#x;
    this.#deltaY += this.#y - clampedY;
    this.#x = clampedX;
    this.#y = clampedY;
    this.#buttons = buttons & (POINTER_LEFT | POINTER_MIDDLE | POINTER_RIGHT);
    if (this.#portEnabled && this.#status & STATUS_REPORTING && !(this.#status & STATUS_REMOTE)) this.#pushPacket();
  }

  #pushPacket(): void {
    // A movement that found the queue full is kept and reported with the next one.
    if (this.#queue.length + PACKET_BYTES > QUEUE_BYTES) {
      this.droppedBytes += PACKET_BYTES;
      return;
    }
    let first = PACKET_ALWAYS;
    if (this.#buttons & POINTER_LEFT) first |= 0x01;
    if (this.#buttons & POINTER_RIGHT) first |= 0x02;
    if (this.#buttons & POINTER_MIDDLE) first |= 0x04;
    if (this.#deltaX < 0) first |= PACKET_X_SIGN;
    if (this.#deltaY < 0) first |= PACKET_Y_SIGN;
    if (Math.abs(this.#deltaX) > DELTA_MAX) first |= PACKET_X_OVERFLOW;
    if (Math.abs(this.#deltaY) > DELTA_MAX) first |= PACKET_Y_OVERFLOW;
    const x = Math.max(-DELTA_MAX, Math.min(DELTA_MAX, this.#deltaX));
    const y = Math.max(-DELTA_MAX, Math.min(DELTA_MAX, this.#deltaY));
    this.#deltaX = 0;
    this.#deltaY = 0;
    this.#push([first, x & 0xff, y & 0xff]);
  }

  reset(): void {
    this.#queue = [];
    this.#pendingCommand = 0;
    this.#buttons = 0;
    this.#x = 0;
    this.#y = 0;
    this.#portEnabled = false;
    this.#setDefaults();
  }

  save(): DeviceState {
    return {
      kind: STATE_KIND,
      version: STATE_VERSION,
      fields: {
        queue: [...this.#queue],
        status: this.#status,
        rate: this.#rate,
        resolution: this.#resolution,
        pendingCommand: this.#pendingCommand,
        buttons: this.#buttons,
        x: this.#x,
        y: this.#y,
        deltaX: this.#deltaX,
        deltaY: this.#deltaY,
        portEnabled: this.#portEnabled,
      },
    };
  }

  restore(state: DeviceState): void {
    this.prepareRestore(state)();
  }

  prepareRestore(state: DeviceState): () => void {
    const fields = StateFields.open(state, STATE_KIND, STATE_VERSION);
    const queue = fields.integers('queue', QUEUE_BYTES, 0xff);
    const status = fields.integer('status', 0xff);
    const rate = fields.integer('rate', 0xff);
    const resolution = fields.integer('resolution', 0xff);
    const pendingCommand = fields.integer('pendingCommand', 0xff);
    const buttons = fields.integer('buttons', 7);
    const x = fields.integer('x', COORDINATE_MAX);
    const y = fields.integer('y', COORDINATE_MAX);
    const deltaX = fields.signed('deltaX', -COORDINATE_MAX, COORDINATE_MAX);
    const deltaY = fields.signed('deltaY', -COORDINATE_MAX, COORDINATE_MAX);
    const portEnabled = fields.flag('portEnabled');
    return () => {
      this.#queue = queue;
      this.#status = status;
      this.#rate = rate;
      this.#resolution = resolution;
      this.#pendingCommand = pendingCommand;
      this.#buttons = buttons;
      this.#x = x;
      this.#y = y;
      this.#deltaX = deltaX;
      this.#deltaY = deltaY;
      this.#portEnabled = portEnabled;
    };
  }
}
