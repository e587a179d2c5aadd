/** A PS/2 keyboard (IBM PS/2 Hardware Interface Technical Reference, Keyboards): command set and its output queue, scan code set 2. */
import { StateFields } from './state-fields.ts';
import type { DeviceState, Stateful } from '../snapshot.ts';
import { scanCodeOfKeysym } from './scancodes.ts';

const COMMAND_RESET = 0xff;
const COMMAND_SET_DEFAULTS = 0xf6;
const COMMAND_DISABLE = 0xf5;
const COMMAND_ENABLE = 0xf4;
const COMMAND_SET_TYPEMATIC = 0xf3;
const COMMAND_READ_ID = 0xf2;
const COMMAND_SCAN_CODE_SET = 0xf0;
const COMMAND_ECHO = 0xee;
const COMMAND_SET_LEDS = 0xed;
/** Some systems send it as a probe. */
const COMMAND_NOP = 0x00;

const REPLY_ACK = 0xfa;
const REPLY_SELF_TEST_PASSED = 0xaa;
const REPLY_ID = [0xab, 0x83] as const;

const QUEUE_BYTES = 16;
const BREAK_PREFIX = 0xf0;
const EXTENDED_PREFIX = 0xe0;

const STATE_KIND = 'ps2-keyboard';
const STATE_VERSION = 1;

export class Ps2Keyboard implements Stateful {
  /** Bytes that found the queue full, and commands that no keyboard knows. */
  droppedBytes = 0;
  unknownCommands = 0;
  /** The user's keys have no scan code. */
  unknownKeysyms = 0;
  /** Called when the queue may have got a byte. */
  onOutput: () => void = () => {};
  #queue: number[] = [];
  #enabled = true;
  /** A command whose argument byte comes next, or 0. */
  #pendingCommand = 0;

  get hasOutput(): boolean {
    return this.#queue.length > 0;
  }

  /** Takes the oldest byte of the queue. */
  take(): number | undefined {
    return this.#queue.shift();
  }

  #push(bytes: readonly number[]): void {
    // All or nothing: half a scan code would turn into another key.
    if (this.#queue.length + bytes.length > QUEUE_BYTES) {
      this.droppedBytes += bytes.length;
      return;
    }
    this.#queue.push(...bytes);
    this.onOutput();
  }

  /** A byte from the host. */
  command(byte: number): void {
    if (this.#pendingCommand !== 0) {
      this.#pendingCommand = 0;
      this.#push([REPLY_ACK]);
      return;
    }
    switch (byte) {
      case COMMAND_RESET:
        this.reset();
        this.#push([REPLY_ACK, REPLY_SELF_TEST_PASSED]);
        break;
      case COMMAND_DISABLE:
        this.#enabled = false;
        this.#push([REPLY_ACK]);
        break;
      case COMMAND_ENABLE:
        this.#enabled = true;
        this.#queue = [];
        this.#push([REPLY_ACK]);
        break;
      case COMMAND_SET_TYPEMATIC:
      case COMMAND_SCAN_CODE_SET:
      case COMMAND_SET_LEDS:
        this.#pendingCommand = byte;
        this.#push([REPLY_ACK]);
        break;
      case COMMAND_READ_ID:
        this.#push([REPLY_ACK, ...REPLY_ID]);
        break;
      case COMMAND_ECHO:
        this.#push([COMMAND_ECHO]);
        break;
      case COMMAND_SET_DEFAULTS:
      case COMMAND_NOP:
        this.#push([REPLY_ACK]);
        break;
      default:
        this.unknownCommands++;
    }
  }

  /** A key of the user, by X11 keysym. Unknown ones are counted. */
  key(keysym: number, down: boolean): void {
    const code = scanCodeOfKeysym(keysym);
    if (code === undefined) this.unknownKeysyms++;
    else this.scanCode(code & 0xff, code > 0xff, down);
  }

  /** A key by its set 2 code; `extended` ones get the E0 prefix. */
  scanCode(code: number, extended: boolean, down: boolean): void {
    if (!this.#enabled) return;
    const bytes: number[] = extended ? [EXTENDED_PREFIX] : [];
    if (!down) bytes.push(BREAK_PREFIX);
    bytes.push(code & 0xff);
    this.#push(bytes);
  }

  reset(): void {
    this.#queue = [];
    this.#enabled = true;
    this.#pendingCommand = 0;
  }

  save(): DeviceState {
    return {
      kind: STATE_KIND,
      version: STATE_VERSION,
      fields: { queue: [...this.#queue], enabled: this.#enabled, pendingCommand: this.#pendingCommand },
    };
  }

  restore(state: DeviceState): void {
    this.prepareRestore(state)();
  }

  prepareRestore(state: DeviceState): () => void {
    const fields = StateFields.open(state, STATE_KIND, STATE_VERSION);
    const queue = fields.integers('queue', QUEUE_BYTES, 0xff);
    const enabled = fields.flag('enabled');
    const pendingCommand = fields.integer('pendingCommand', 0xff);
    return () => {
      this.#queue = queue;
      this.#enabled = enabled;
      this.#pendingCommand = pendingCommand;
    };
  }
}
