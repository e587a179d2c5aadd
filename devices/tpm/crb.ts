/**
 * A TPM 2.0 with the command-response buffer interface (TCG PC Client Platform TPM Profile for TPM 2.0, 1.05, 6.5), locality 0 only, as in bhyve
 * 14. The guest writes a command into the buffer, sets Start, and finds the answer in the same buffer when Start reads as zero.
 */
import type { TpmBackend } from '../backends/tpm.ts';
import type { MmioBus } from '../bus/mmio-bus.ts';
import type { AccessSize } from '../bus/port-bus.ts';
import { RegisterMap, wideRegister, type Register } from '../bus/register-map.ts';
import type { Counters, Device } from '../device.ts';
import { TPM_BYTES, TPM_GPA } from '../firmware/layout.ts';
import { StateFields } from '../platform/state-fields.ts';
import { RequestTracker } from '../request-tracker.ts';
import type { DeviceState } from '../snapshot.ts';

const LOC_STATE = 0x00;
const LOC_CTRL = 0x08;
const LOC_STS = 0x0c;
const INTF_ID = 0x30;
const CTRL_EXT = 0x38;
const CTRL_REQ = 0x40;
const CTRL_STS = 0x44;
const CTRL_CANCEL = 0x48;
const CTRL_START = 0x4c;
const INT_ENABLE = 0x50;
const INT_STS = 0x54;
const CTRL_CMD_SIZE = 0x58;
const CTRL_CMD_ADDR = 0x5c;
const CTRL_RSP_SIZE = 0x64;
const CTRL_RSP_ADDR = 0x68;
const DATA_BUFFER = 0x80;

const LOC_STATE_ASSIGNED = 1 << 1;
const LOC_STATE_VALID = 1 << 7;
const LOC_CTRL_REQUEST = 1 << 0;
const LOC_CTRL_RELINQUISH = 1 << 1;
const LOC_STS_GRANTED = 1 << 0;
const REQ_CMD_READY = 1 << 0;
const REQ_GO_IDLE = 1 << 1;
const STS_ERROR = 1 << 0;
const STS_IDLE = 1 << 1;
const START = 1 << 0;

/** CRB is what there is and what is selected, version 1, transfers of 64 bytes. The vendor is IBM, as in bhyve. */
const INTF_ID_LOW = 1 | (1 << 4) | (3 << 11) | (1 << 14) | (1 << 17);
const INTF_ID_HIGH = 0x1014;

/** The rest of the locality's page. */
export const BUFFER_BYTES = 0x1000 - DATA_BUFFER;
/** tag[2] size[4] code[4], big-endian (TPM 2.0 Library, part 1, 18). */
export const TPM_HEADER_BYTES = 10;

const STATE_KIND = 'tpm-crb';
const STATE_VERSION = 1;

export class TpmCrb implements Device {
  badAccesses = 0;
  /** Commands that the backend failed. */
  backendErrors = 0;
  /** Commands that make no sense: they end with the error bit. */
  badCommands = 0;
  commands = 0;
  readonly #requests: RequestTracker;
  readonly #registers: RegisterMap;
  readonly #buffer = new Uint8Array(BUFFER_BYTES);
  #locality = false;
  #idle = true;
  #failed = false;
  #running = false;

  /** `bug` hears of exceptions that nobody expects. */
  constructor(
    mmio: MmioBus,
    private readonly backend: TpmBackend,
    bug: (error: unknown) => void,
  ) {
    this.#requests = new RequestTracker(bug);
    this.#registers = new RegisterMap(this.#describe(), () => {
      this.badAccesses++;
    });
    mmio.claim('tpm', TPM_GPA, TPM_BYTES, {
      readMmio: (offset, size) => this.#read(offset, size),
      writeMmio: (offset, size, value) => this.#write(offset, size, value),
    });
  }

  #describe(): Register[] {
    const address = TPM_GPA + DATA_BUFFER;
    const word = (name: string, offset: number, read: () => number, write?: (value: number) => void): Register => ({
      name,
      offset,
      bytes: 4,
      read,
      write,
    });
    const nothing = (): void => undefined;
    return [
      word('locState', LOC_STATE, () => LOC_STATE_VALID | (this.#locality ? LOC_STATE_ASSIGNED : 0)),
      word(
        'locCtrl',
        LOC_CTRL,
        () => 0,
        (value) => this.#locate(value),
      ),
      word('locSts', LOC_STS, () => (this.#locality ? LOC_STS_GRANTED : 0)),
      ...wideRegister('intfId', INTF_ID, () => [INTF_ID_LOW, INTF_ID_HIGH], nothing),
      ...wideRegister('ctrlExt', CTRL_EXT, () => [0, 0]),
      word(
        'ctrlReq',
        CTRL_REQ,
        () => 0,
        (value) => this.#ask(value),
      ),
      word('ctrlSts', CTRL_STS, () => (this.#failed ? STS_ERROR : 0) | (this.#idle ? STS_IDLE : 0)),
      // A command that was sent is answered: swtpm takes no cancellation on its data channel.
      word('ctrlCancel', CTRL_CANCEL, () => 0, nothing),
      word(
        'ctrlStart',
        CTRL_START,
        () => (this.#running ? START : 0),
        (value) => this.#start(value),
      ),
      word('intEnable', INT_ENABLE, () => 0, nothing),
      word('intSts', INT_STS, () => 0, nothing),
      word('ctrlCmdSize', CTRL_CMD_SIZE, () => BUFFER_BYTES),
      ...wideRegister('ctrlCmdAddr', CTRL_CMD_ADDR, () => [address, 0]),
      word('ctrlRspSize', CTRL_RSP_SIZE, () => BUFFER_BYTES),
      ...wideRegister('ctrlRspAddr', CTRL_RSP_ADDR, () => [address, 0]),
    ];
  }

  #read(offset: number, size: AccessSize): number {
    if (offset < DATA_BUFFER) return this.#registers.read(offset, size);
    let value = 0;
    // Other localities are not there and read as ones.
    for (let i = 0; i < size; i++) value += (this.#buffer[offset - DATA_BUFFER + i] ?? 0xff) * 2 ** (8 * i);
    return value;
  }

  #write(offset: number, size: AccessSize, value: number): void {
    if (offset < DATA_BUFFER) {
      this.#registers.write(offset, size, value);
      return;
    }
    // While a command runs the buffer is the TPM's. Writes past the end of the array do nothing.
    if (this.#running) this.badAccesses++;
    else for (let i = 0; i < size; i++) this.#buffer[offset - DATA_BUFFER + i] = value >>> (8 * i);
  }

  #locate(value: number): void {
    if (value & LOC_CTRL_REQUEST) this.#locality = true;
    else if (value & LOC_CTRL_RELINQUISH) this.#locality = false;
  }

  /** To the ready state and back; both count as done at once. */
  #ask(value: number): void {
    if (!this.#locality || this.#running) return;
    if (value & REQ_CMD_READY) {
      this.#idle = false;
      this.#failed = false;
    } else if (value & REQ_GO_IDLE) {
      this.#idle = true;
    }
  }

  #start(value: number): void {
    if (!(value & START) || !this.#locality || this.#idle || this.#running) return;
    const size = new DataView(this.#buffer.buffer).getUint32(2);
    if (size < TPM_HEADER_BYTES || size > BUFFER_BYTES) {
      this.badCommands++;
      this.#failed = true;
      return;
    }
    this.commands++;
    this.#running = true;
    this.#requests.begin(
      this.backend.execute(this.#buffer.slice(0, size)),
      (answer) => {
        this.#running = false;
        if (answer.length > BUFFER_BYTES) this.#failed = true;
        else this.#buffer.set(answer);
      },
      () => {
        this.backendErrors++;
        this.#running = false;
        this.#failed = true;
      },
    );
  }

  start(): void {}

  pause(): Promise<void> {
    return this.#requests.drain();
  }

  resume(): void {}

  async reset(): Promise<void> {
    const drained = this.#requests.abandon();
    this.#locality = false;
    this.#idle = true;
    this.#failed = false;
    this.#running = false;
    this.#buffer.fill(0);
    await drained;
  }

  async close(): Promise<void> {
    await this.backend.close();
  }

  counters(): Counters {
    return {
      commands: this.commands,
      'bad accesses': this.badAccesses,
      'bad commands': this.badCommands,
      'backend errors': this.backendErrors,
    };
  }

  /** The interface's state. What the TPM itself holds is in the backend, as a disk's sectors are. */
  save(): DeviceState {
    return {
      kind: STATE_KIND,
      version: STATE_VERSION,
      fields: { locality: this.#locality, idle: this.#idle, failed: this.#failed, buffer: this.#buffer.slice() },
    };
  }

  restore(state: DeviceState): void {
    const fields = StateFields.open(state, STATE_KIND, STATE_VERSION);
    const locality = fields.flag('locality');
    const idle = fields.flag('idle');
    const failed = fields.flag('failed');
    const buffer = fields.bytes('buffer', BUFFER_BYTES);
    this.#locality = locality;
    this.#idle = idle;
    this.#failed = failed;
    this.#running = false;
    this.#buffer.set(buffer);
  }
}
