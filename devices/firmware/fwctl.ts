/**
 * bhyve's own firmware interface (lpc.fwcfg=bhyve): a request/response protocol at ports 0x510-0x511 by which a boot ROM
 * asks for named values. After an identification phase, which a 16-bit write of 0 begins, the guest writes requests of 32-bit words
 * [size in bytes, operation, transaction id, payload ...] and reads a response [size, operation, id, errno, data ...].
 */
import { allOnes, type AccessSize, type PortBus, type PortHandler } from '../bus/port-bus.ts';
import { StateFields } from '../platform/state-fields.ts';
import { PassiveDevice } from '../device.ts';
import type { DeviceState } from '../snapshot.ts';
import { ascii, ByteWriter } from './byte-writer.ts';

export const FWCTL_PORT = 0x510;
export const FWCTL_PORTS = 2;

const SIGNATURE = ascii('BHYV');
const REQUEST_HEADER_BYTES = 12;
const RESPONSE_HEADER_BYTES = 16;
/** Longest payload of GET and GET_LEN: a NUL-terminated name. */
const MAX_NAME_BYTES = 80;

const OP_GET = 3;
const OP_GET_LEN = 4;

// FreeBSD's error numbers.
const OK = 0;
const ENOENT = 2;
const E2BIG = 7;
const EMSGSIZE = 40;

const STATE_KIND = 'fwctl';
const STATE_VERSION = 1;
/** The longest response that a saved state may hold. */
const MAX_RESPONSE_BYTES = 0x10000;

/** Phases of the protocol, in its order. */
const Phase = { IdentifyWait: 0, IdentifySend: 1, Request: 2, Response: 3 } as const;

/** The value of `hw.ncpu`, the one name that bhyve serves. */
export function fwctlVariables(cpus: number): ReadonlyMap<string, Uint8Array> {
  return new Map([['hw.ncpu', new ByteWriter().u32(cpus).finish()]]);
}

export class Fwctl extends PassiveDevice implements PortHandler {
  /** Requests that were malformed or named something unknown, and accesses that fit no phase. */
  errors = 0;
  readonly #variables: ReadonlyMap<string, Uint8Array>;
  #phase: number = Phase.IdentifyWait;
  #identifyIndex = 0;
  /** Words of the current request so far; the header's first three are kept, payload only up to MAX_NAME_BYTES. */
  #wordCount = 0;
  #requestBytes = 0;
  #operation = 0;
  #transactionId = 0;
  #payload = new Uint8Array(MAX_NAME_BYTES);
  #response: Uint8Array = new Uint8Array(0);
  #responseOffset = 0;

  constructor(ports: PortBus, variables: ReadonlyMap<string, Uint8Array>) {
    super();
    this.#variables = variables;
    ports.claim('fwctl', FWCTL_PORT, FWCTL_PORTS, this);
  }

  readPort(_port: number, size: AccessSize): number {
    if (size === 1 && this.#phase === Phase.IdentifySend) {
      const byte = SIGNATURE[this.#identifyIndex++] ?? 0;
      if (this.#identifyIndex >= SIGNATURE.length) this.#startRequest();
      return byte;
    }
    if (size === 4 && this.#phase === Phase.Response) return this.#readResponse();
    this.errors++;
    return allOnes(size);
  }

  writePort(port: number, size: AccessSize, value: number): void {
    if (port === FWCTL_PORT && size === 2 && value === 0) {
      // At any time: a firmware that looks for QEMU's fw_cfg first writes the same, reads four bytes that are not the ones it wants, and only then
      // asks for this interface (edk2 2022.11). Requests are made of 32-bit words, so none is cut short by it.
      this.#phase = Phase.IdentifySend;
      this.#identifyIndex = 0;
    } else if (port === FWCTL_PORT && size === 4 && this.#phase === Phase.Request) {
      this.#writeRequest(value);
    } else {
      this.errors++;
    }
  }

  #startRequest(): void {
    this.#phase = Phase.Request;
    this.#wordCount = 0;
    this.#payload.fill(0);
  }

  #writeRequest(word: number): void {
    const index = this.#wordCount++;
    if (index === 0) this.#requestBytes = word;
    else if (index === 1) this.#operation = word;
    else if (index === 2) this.#transactionId = word;
    else {
      const offset = index * 4 - REQUEST_HEADER_BYTES;
      // Words past the longest name are counted and dropped, so that a request of any size comes to its end.
      if (offset < MAX_NAME_BYTES) new DataView(this.#payload.buffer).setUint32(offset, word, true);
    }
    if (index >= 2 && this.#wordCount * 4 >= this.#requestBytes) this.#finishRequest();
  }

  #finishRequest(): void {
    const [error, data] = this.#execute();
    if (error !== OK) this.errors++;
    const paddedBytes = Math.ceil(data.length / 4) * 4;
    this.#response = new ByteWriter()
      .u32(RESPONSE_HEADER_BYTES + paddedBytes)
      .u32(this.#operation)
      .u32(this.#transactionId)
      .u32(error)
      .bytes(data)
      .zeros(paddedBytes - data.length)
      .finish();
    this.#responseOffset = 0;
    this.#phase = Phase.Response;
  }

  #execute(): [number, Uint8Array] {
    const nothing = new Uint8Array(0);
    if (this.#requestBytes < REQUEST_HEADER_BYTES) return [EMSGSIZE, nothing];
    if (this.#operation !== OP_GET && this.#operation !== OP_GET_LEN) return [ENOENT, nothing];
    const payloadBytes = this.#requestBytes - REQUEST_HEADER_BYTES;
    if (payloadBytes > MAX_NAME_BYTES) return [E2BIG, nothing];
    const end = this.#payload.subarray(0, payloadBytes).indexOf(0);
    const name = String.fromCharCode(...this.#payload.subarray(0, end < 0 ? payloadBytes : end));
    const value = this.#variables.get(name);
    if (!value) return [ENOENT, nothing];
    const data = new ByteWriter().u64(value.length);
    if (this.#operation === OP_GET) data.bytes(value);
    return [OK, data.finish()];
  }

  #readResponse(): number {
    const word = new DataView(this.#response.buffer).getUint32(this.#responseOffset, true);
    this.#responseOffset += 4;
    if (this.#responseOffset >= this.#response.length) this.#startRequest();
    return word;
  }

  reset(): void {
    this.#phase = Phase.IdentifyWait;
    this.#identifyIndex = 0;
    this.#wordCount = 0;
    this.#response = new Uint8Array(0);
    this.#responseOffset = 0;
  }

  save(): DeviceState {
    return {
      kind: STATE_KIND,
      version: STATE_VERSION,
      fields: {
        phase: this.#phase,
        identifyIndex: this.#identifyIndex,
        wordCount: this.#wordCount,
        requestBytes: this.#requestBytes,
        operation: this.#operation,
        transactionId: this.#transactionId,
        payload: this.#payload.slice(),
        responseBytes: this.#response.length,
        response: this.#response.slice(),
        responseOffset: this.#responseOffset,
      },
    };
  }

  restore(state: DeviceState): void {
    const fields = StateFields.open(state, STATE_KIND, STATE_VERSION);
    const phase = fields.integer('phase', Phase.Response);
    const identifyIndex = fields.integer('identifyIndex', SIGNATURE.length);
    const wordCount = fields.integer('wordCount', 0x4000_0000);
    const requestBytes = fields.integer('requestBytes', 0xffffffff);
    const operation = fields.integer('operation', 0xffffffff);
    const transactionId = fields.integer('transactionId', 0xffffffff);
    const payload = fields.bytes('payload', MAX_NAME_BYTES);
    const responseBytes = fields.integer('responseBytes', MAX_RESPONSE_BYTES);
    const response = fields.bytes('response', responseBytes);
    // In the response phase a whole word must be left to read.
    const responseOffset = fields.integer(
      'responseOffset',
      phase === Phase.Response ? responseBytes - 4 : responseBytes,
    );
    this.#phase = phase;
    this.#identifyIndex = identifyIndex;
    this.#wordCount = wordCount;
    this.#requestBytes = requestBytes;
    this.#operation = operation;
    this.#transactionId = transactionId;
    this.#payload.set(payload);
    this.#response = response.slice();
    this.#responseOffset = responseOffset;
  }
}
