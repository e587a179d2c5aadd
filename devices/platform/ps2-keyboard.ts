/** A PS/2 keyboard (IBM PS/2 Hardware Interface Technical Reference, Keyboards): command set and its output queue, scan code set 2. */
import { StateFields } from './state-fields.ts';
import type { DeviceState, Stateful } from '../snapshot.ts';
import type { KeyboardSink } from '../input/input-router.ts';
import { set2OfXtCode } from '../input/xt-codes.ts';

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
/** Presses and releases that wait for room in the queue, so that pasted text arrives whole. */
const MAX_WAITING_KEYS = 4096;
const MAX_KEYS_DOWN = 128;
/** XT code of Pause, which sends this and has no release. */
const PAUSE = 0xc6;
const PAUSE_SEQUENCE = [0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77] as const;
/** A key that goes up, in {@link Ps2Keyboard}'s list of waiting keys. */
const RELEASE = 0x100;
/** A byte of the queue that a key has sent, not an answer to a command. */
const OF_KEY = 0x100;
const BREAK_PREFIX = 0xf0;
const EXTENDED_PREFIX = 0xe0;

const STATE_KIND = 'ps2-keyboard';
const STATE_VERSION = 2;

export class Ps2Keyboard implements Stateful, KeyboardSink {
  /** Bytes that found no room, and commands that no keyboard knows. */
  droppedBytes = 0;
  unknownCommands = 0;
  /** Keys of the user that a PS/2 keyboard does not have. */
  unknownKeys = 0;
  /** Called when the queue may have got a byte. */
  onOutput: () => void = () => {};
  /** Bytes; those of keys with {@link OF_KEY}. */
  #queue: number[] = [];
  #enabled = true;
  /** A command whose argument byte comes next, or 0. */
  #pendingCommand = 0;
  /** XT codes, + {@link RELEASE}. */
  #waiting: number[] = [];
  /** XT codes of keys that the guest was told are down. */
  readonly #down = new Set<number>();
  /** Those that were down in a snapshot: whoever held them then does not now. They go up before the next key. */
  #stale: readonly number[] = [];

  /** The next byte is one of a key, which keyboards send at their own pace. */
  get nextIsOfKey(): boolean {
    this.#fill();
    return ((this.#queue[0] ?? 0) & OF_KEY) !== 0;
  }

  /** Takes the oldest byte of the queue. */
  take(): number | undefined {
    this.#fill();
    const byte = this.#queue.shift();
    return byte === undefined ? undefined : byte & 0xff;
  }

  /** Moves waiting keys into the queue, a whole sequence at a time. */
  #fill(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const bytes = this.#sequence(next);
      if (this.#queue.length + bytes.length > QUEUE_BYTES) return;
      this.#queue.push(...bytes.map((byte) => byte | OF_KEY));
      this.#waiting.shift();
      if (next & RELEASE) this.#down.delete(next & ~RELEASE);
      else if (this.#down.size < MAX_KEYS_DOWN) this.#down.add(next);
    }
  }

  #sequence(key: number): readonly number[] {
    const released = (key & RELEASE) !== 0;
    if ((key & ~RELEASE) === PAUSE) return released ? [] : PAUSE_SEQUENCE;
    const set2 = set2OfXtCode(key & ~RELEASE);
    if (!set2) return [];
    return [...(set2.extended ? [EXTENDED_PREFIX] : []), ...(released ? [BREAK_PREFIX] : []), set2.code];
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
        this.#waiting = [];
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

  /** A key of the user, by its XT code. */
  key(code: number, down: boolean): void {
    if (code !== PAUSE && !set2OfXtCode(code)) {
      this.unknownKeys++;
      return;
    }
    if (!this.#enabled) return;
    if (this.#waiting.length >= MAX_WAITING_KEYS) {
      this.droppedBytes++;
      return;
    }
    this.#waiting.push(...this.#stale.map((stale) => stale | RELEASE), down ? code : code | RELEASE);
    this.#stale = [];
    this.#fill();
    this.onOutput();
  }

  reset(): void {
    this.#queue = [];
    this.#waiting = [];
    this.#down.clear();
    this.#stale = [];
    this.#enabled = true;
    this.#pendingCommand = 0;
  }

  save(): DeviceState {
    return {
      kind: STATE_KIND,
      version: STATE_VERSION,
      fields: {
        queue: [...this.#queue],
        waiting: [...this.#waiting],
        down: [...this.#down],
        enabled: this.#enabled,
        pendingCommand: this.#pendingCommand,
      },
    };
  }

  restore(state: DeviceState): void {
    this.prepareRestore(state)();
  }

  prepareRestore(state: DeviceState): () => void {
    const fields = StateFields.open(state, STATE_KIND, STATE_VERSION);
    const queue = fields.integers('queue', QUEUE_BYTES, OF_KEY | 0xff);
    const waiting = fields.integers('waiting', MAX_WAITING_KEYS + MAX_KEYS_DOWN, RELEASE | 0xff);
    const down = fields.integers('down', MAX_KEYS_DOWN, 0xff);
    const enabled = fields.flag('enabled');
    const pendingCommand = fields.integer('pendingCommand', 0xff);
    return () => {
      this.#queue = queue;
      this.#waiting = waiting;
      this.#stale = down.filter((code) => !waiting.includes(code | RELEASE));
      this.#down.clear();
      for (const code of down) this.#down.add(code);
      this.#enabled = enabled;
      this.#pendingCommand = pendingCommand;
    };
  }
}
