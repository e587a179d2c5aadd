/**
 * The 8042 keyboard controller at ports 0x60 and 0x64 (Intel UPI-41; IBM PS/2 Technical Reference, Keyboard and Auxiliary Device
 * Controller) with a keyboard on IRQ 1 and a mouse on IRQ 12. Interrupts are edges.
 */
import { allOnes, type AccessSize, type PortBus, type PortHandler } from '../bus/port-bus.ts';
import type { Clock } from '../bus/clock.ts';
import type { Interrupts } from '../bus/interrupts.ts';
import { PassiveDevice, type Counters } from '../device.ts';
import type { DeviceState } from '../snapshot.ts';
import { Ps2Keyboard } from './ps2-keyboard.ts';
import { Ps2Mouse } from './ps2-mouse.ts';
import { translateToSet1 } from './scancodes.ts';
import { StateFields, asStateValue } from './state-fields.ts';
import type { Suspend } from './suspend.ts';

export const KBC_DATA_PORT = 0x60;
export const KBC_STATUS_PORT = 0x64;
export const KEYBOARD_IRQ = 1;
export const MOUSE_IRQ = 12;

/** Status register. */
export const STATUS_OUTPUT_FULL = 0x01;
export const STATUS_SYSTEM = 0x04;
export const STATUS_COMMAND = 0x08;
/** The key lock is open. bhyve leaves the bit clear, at which Linux warns of an active lock at every boot. */
export const STATUS_UNLOCKED = 0x10;
export const STATUS_AUX_FULL = 0x20;

/** Command byte: controller RAM byte 0. */
const COMMAND_BYTE_KEYBOARD_IRQ = 0x01;
const COMMAND_BYTE_AUX_IRQ = 0x02;
const COMMAND_BYTE_SYSTEM = 0x04;
const COMMAND_BYTE_KEYBOARD_OFF = 0x10;
const COMMAND_BYTE_AUX_OFF = 0x20;
const COMMAND_BYTE_TRANSLATE = 0x40;

/** Controller commands. */
const READ_RAM = 0x20;
const WRITE_RAM = 0x60;
const AUX_DISABLE = 0xa7;
const AUX_ENABLE = 0xa8;
const AUX_TEST = 0xa9;
const SELF_TEST = 0xaa;
const KEYBOARD_TEST = 0xab;
const KEYBOARD_DISABLE = 0xad;
const KEYBOARD_ENABLE = 0xae;
const READ_INPUT_PORT = 0xc0;
const READ_OUTPUT_PORT = 0xd0;
const WRITE_OUTPUT_PORT = 0xd1;
const WRITE_KEYBOARD_OUTPUT = 0xd2;
const WRITE_AUX_OUTPUT = 0xd3;
const WRITE_AUX = 0xd4;
const PULSE_RESET = 0xfe;

const SELF_TEST_PASSED = 0x55;
/** Bits of the output port that follow the interrupts. */
const OUTPUT_PORT_KEYBOARD_FULL = 0x10;
const OUTPUT_PORT_AUX_FULL = 0x20;

const RAM_BYTES = 32;
/**
 * A keyboard's next byte comes so long after the last one was read: the line carries some 1000 in a second. EDK2's driver takes all that is there
 * every 20 ms, has room for 32 bytes and forgets the oldest.
 */
const KEY_BYTE_NS = 1_000_000;
const BREAK_PREFIX = 0xf0;

const STATE_KIND = 'keyboard-controller';
const STATE_VERSION = 1;

export class KeyboardController extends PassiveDevice implements PortHandler {
  readonly keyboard = new Ps2Keyboard();
  readonly mouse = new Ps2Mouse();
  badAccesses = 0;
  unknownCommands = 0;
  readonly #interrupts: Interrupts;
  readonly #clock: Clock;
  readonly #suspend: Suspend;
  readonly #ram = new Uint8Array(RAM_BYTES);
  #outputPort = 0;
  /** Command whose data byte comes next at 0x60, or 0. */
  #pendingCommand = 0;
  #commandWritten = false;
  /** The controller's own answer; goes before anything of the devices. -1: none. */
  #reply = -1;
  /** The reply counts as the mouse's (command D3). */
  #replyFromAux = false;
  /** Keyboard byte after translation, waiting to be read. -1: none. */
  #keyboardByte = -1;
  /** Translation has seen F0: the next code is a release. */
  #breakSeen = false;
  /** Machine time from which on a key may send again, and the timer that waits for it. */
  #nextKeyNs = 0;
  #cancelTimer: (() => void) | undefined;

  constructor(ports: PortBus, interrupts: Interrupts, clock: Clock, suspend: Suspend) {
    super();
    this.#interrupts = interrupts;
    this.#clock = clock;
    this.#suspend = suspend;
    this.keyboard.onOutput = () => this.#pollKeyboard();
    this.mouse.onOutput = () => this.#pollMouse();
    ports.claim('keyboard controller', KBC_DATA_PORT, 1, this);
    ports.claim('keyboard controller', KBC_STATUS_PORT, 1, this);
  }

  get #commandByte(): number {
    return this.#ram[0] ?? 0;
  }

  #keyboardIrq(): void {
    this.#outputPort |= OUTPUT_PORT_KEYBOARD_FULL;
    if (this.#commandByte & COMMAND_BYTE_KEYBOARD_IRQ) this.#interrupts.pulseIsaIrq(KEYBOARD_IRQ);
  }

  /** Fetches a byte from the keyboard when the last one was read and the port is on. */
  #pollKeyboard(): void {
    if (this.#keyboardByte !== -1 || this.#commandByte & COMMAND_BYTE_KEYBOARD_OFF) return;
    if (this.keyboard.nextIsOfKey && this.#clock.nowNs() < this.#nextKeyNs) {
      this.#cancelTimer ??= this.#clock.at(this.#nextKeyNs, () => {
        this.#cancelTimer = undefined;
        this.#pollKeyboard();
      });
      return;
    }
    for (let byte = this.keyboard.take(); byte !== undefined; byte = this.keyboard.take()) {
      if (this.#commandByte & COMMAND_BYTE_TRANSLATE) {
        if (byte === BREAK_PREFIX) {
          this.#breakSeen = true;
          continue;
        }
        byte = translateToSet1(byte) | (this.#breakSeen && byte !== 0xe0 ? 0x80 : 0);
        if (byte !== 0xe0) this.#breakSeen = false;
      }
      this.#keyboardByte = byte;
      this.#keyboardIrq();
      return;
    }
  }

  #pollMouse(): void {
    if (!this.mouse.hasOutput || this.#commandByte & COMMAND_BYTE_AUX_OFF) return;
    this.#mouseIrq();
  }

  #mouseIrq(): void {
    this.#outputPort |= OUTPUT_PORT_AUX_FULL;
    if (this.#commandByte & COMMAND_BYTE_AUX_IRQ) this.#interrupts.pulseIsaIrq(MOUSE_IRQ);
  }

  get #mouseReadable(): boolean {
    return this.mouse.hasOutput && !(this.#commandByte & COMMAND_BYTE_AUX_OFF);
  }

  readPort(port: number, size: AccessSize): number {
    if (size !== 1) {
      this.badAccesses++;
      return allOnes(size);
    }
    return port === KBC_STATUS_PORT ? this.#status() : this.#readData();
  }

  #status(): number {
    let status = STATUS_UNLOCKED | (this.#commandWritten ? STATUS_COMMAND : 0);
    if (this.#commandByte & COMMAND_BYTE_SYSTEM) status |= STATUS_SYSTEM;
    if (this.#reply !== -1) status |= STATUS_OUTPUT_FULL | (this.#replyFromAux ? STATUS_AUX_FULL : 0);
    else if (this.#mouseReadable) status |= STATUS_OUTPUT_FULL | STATUS_AUX_FULL;
    else if (this.#keyboardByte !== -1) status |= STATUS_OUTPUT_FULL;
    return status;
  }

  #readData(): number {
    this.#commandWritten = false;
    if (this.#reply !== -1) {
      const reply = this.#reply;
      this.#reply = -1;
      this.#outputPort &= ~(this.#replyFromAux ? OUTPUT_PORT_AUX_FULL : OUTPUT_PORT_KEYBOARD_FULL);
      // A keyboard byte that waited behind the reply is announced again.
      if (this.#keyboardByte !== -1) this.#keyboardIrq();
      else this.#pollKeyboard();
      return reply;
    }
    if (this.#mouseReadable) {
      const byte = this.mouse.take() ?? 0;
      this.#outputPort &= ~OUTPUT_PORT_AUX_FULL;
      this.#pollMouse();
      return byte;
    }
    if (this.#keyboardByte !== -1) {
      const byte = this.#keyboardByte;
      this.#keyboardByte = -1;
      this.#nextKeyNs = this.#clock.nowNs() + KEY_BYTE_NS;
      this.#outputPort &= ~OUTPUT_PORT_KEYBOARD_FULL;
      this.#pollKeyboard();
      return byte;
    }
    return 0;
  }

  writePort(port: number, size: AccessSize, value: number): void {
    if (size !== 1) {
      this.badAccesses++;
      return;
    }
    if (port === KBC_STATUS_PORT) this.#command(value);
    else this.#writeData(value);
  }

  #writeData(value: number): void {
    const command = this.#pendingCommand;
    this.#pendingCommand = 0;
    this.#commandWritten = false;
    if (command >= WRITE_RAM && command < WRITE_RAM + RAM_BYTES) {
      this.#ram[command - WRITE_RAM] = value;
      if (command === WRITE_RAM) {
        this.#pollKeyboard();
        this.#pollMouse();
      }
      return;
    }
    switch (command) {
      case WRITE_OUTPUT_PORT:
        this.#outputPort = value;
        break;
      case WRITE_KEYBOARD_OUTPUT:
        this.#answer(value);
        break;
      case WRITE_AUX_OUTPUT:
        this.#answerAsAux(value);
        break;
      case WRITE_AUX:
        this.mouse.command(value);
        break;
      default:
        this.keyboard.command(value);
    }
  }

  #command(value: number): void {
    this.#commandWritten = true;
    this.#pendingCommand = 0;
    if (value >= READ_RAM && value < READ_RAM + RAM_BYTES) {
      this.#answer(this.#ram[value - READ_RAM] ?? 0);
      return;
    }
    if (value >= WRITE_RAM && value < WRITE_RAM + RAM_BYTES) {
      this.#pendingCommand = value;
      return;
    }
    switch (value) {
      case WRITE_OUTPUT_PORT:
      case WRITE_KEYBOARD_OUTPUT:
      case WRITE_AUX_OUTPUT:
      case WRITE_AUX:
        this.#pendingCommand = value;
        break;
      case AUX_DISABLE:
        this.#ram[0] = this.#commandByte | COMMAND_BYTE_AUX_OFF;
        this.mouse.setPortEnabled(false);
        break;
      case AUX_ENABLE:
        this.#ram[0] = this.#commandByte & ~COMMAND_BYTE_AUX_OFF;
        this.mouse.setPortEnabled(true);
        this.#pollMouse();
        break;
      case AUX_TEST:
      case KEYBOARD_TEST:
      case READ_INPUT_PORT:
        this.#answer(0);
        break;
      case SELF_TEST:
        this.#answer(SELF_TEST_PASSED);
        break;
      case KEYBOARD_DISABLE:
        this.#ram[0] = this.#commandByte | COMMAND_BYTE_KEYBOARD_OFF;
        break;
      case KEYBOARD_ENABLE:
        this.#ram[0] = this.#commandByte & ~COMMAND_BYTE_KEYBOARD_OFF;
        this.#pollKeyboard();
        break;
      case READ_OUTPUT_PORT:
        this.#answer(this.#outputPort);
        break;
      case PULSE_RESET:
        this.#suspend('reset');
        break;
      default:
        this.unknownCommands++;
    }
  }

  #answer(value: number): void {
    this.#reply = value;
    this.#replyFromAux = false;
    this.#keyboardIrq();
  }

  #answerAsAux(value: number): void {
    this.#reply = value;
    this.#replyFromAux = true;
    this.#mouseIrq();
  }

  override counters(): Counters {
    return { 'bad accesses': this.badAccesses, 'unknown commands': this.unknownCommands };
  }

  reset(): void {
    this.keyboard.reset();
    this.mouse.reset();
    this.#ram.fill(0);
    this.#outputPort = 0;
    this.#pendingCommand = 0;
    this.#commandWritten = false;
    this.#reply = -1;
    this.#replyFromAux = false;
    this.#keyboardByte = -1;
    this.#breakSeen = false;
    this.#startAnew();
  }

  /** No byte is on its way. */
  #startAnew(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#nextKeyNs = 0;
  }

  /** A byte was between keyboard and controller when the snapshot was made. */
  override resume(): void {
    this.#pollKeyboard();
  }

  override close(): void {
    this.#cancelTimer?.();
  }

  save(): DeviceState {
    return {
      kind: STATE_KIND,
      version: STATE_VERSION,
      fields: {
        keyboard: asStateValue(this.keyboard.save()),
        mouse: asStateValue(this.mouse.save()),
        ram: this.#ram.slice(),
        outputPort: this.#outputPort,
        pendingCommand: this.#pendingCommand,
        commandWritten: this.#commandWritten,
        reply: this.#reply,
        replyFromAux: this.#replyFromAux,
        keyboardByte: this.#keyboardByte,
        breakSeen: this.#breakSeen,
      },
    };
  }

  restore(state: DeviceState): void {
    const fields = StateFields.open(state, STATE_KIND, STATE_VERSION);
    const restoreKeyboard = this.keyboard.prepareRestore(fields.state('keyboard'));
    const restoreMouse = this.mouse.prepareRestore(fields.state('mouse'));
    const ram = fields.bytes('ram', RAM_BYTES);
    const outputPort = fields.integer('outputPort', 0xff);
    const pendingCommand = fields.integer('pendingCommand', 0xff);
    const commandWritten = fields.flag('commandWritten');
    const reply = fields.signed('reply', -1, 0xff);
    const replyFromAux = fields.flag('replyFromAux');
    const keyboardByte = fields.signed('keyboardByte', -1, 0xff);
    const breakSeen = fields.flag('breakSeen');
    this.#startAnew();
    restoreKeyboard();
    restoreMouse();
    this.#ram.set(ram);
    this.#outputPort = outputPort;
    this.#pendingCommand = pendingCommand;
    this.#commandWritten = commandWritten;
    this.#reply = reply;
    this.#replyFromAux = replyFromAux;
    this.#keyboardByte = keyboardByte;
    this.#breakSeen = breakSeen;
  }
}
