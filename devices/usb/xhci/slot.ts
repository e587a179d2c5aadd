/** A device slot: the contexts that driver and controller exchange, and the slot's endpoints (xHCI 1.2, 4.5 and 6.2). */
import type { GuestMemory } from '../../bus/guest-memory.ts';
import type { StateFields } from '../../platform/state-fields.ts';
import type { StateValue } from '../../snapshot.ts';
import { Endpoint, type TransferEvent } from './endpoint.ts';
import * as R from './registers.ts';
import { address } from './trb.ts';

/** Words of a context. */
const WORDS = R.CONTEXT_BYTES / 4;
const CONTEXT_ENTRIES_SHIFT = 27;
const SLOT_STATE_SHIFT = 27;

/** An input context as it was when the command was read: every word once. */
export class InputContext {
  readonly #words: DataView;

  /** Throws GuestAddressError. */
  constructor(memory: GuestMemory, gpa: number) {
    const bytes = new Uint8Array((1 + R.ENDPOINTS) * R.CONTEXT_BYTES);
    memory.read(gpa, bytes);
    this.#words = new DataView(bytes.buffer);
  }

  get drop(): number {
    return this.#words.getUint32(0, true);
  }

  get add(): number {
    return this.#words.getUint32(4, true);
  }

  /** The words of context `index`: 0 the slot's, 1-31 the endpoints'. */
  context(index: number): Uint32Array {
    const at = (1 + index) * R.CONTEXT_BYTES;
    return Uint32Array.from({ length: WORDS }, (_, word) => this.#words.getUint32(at + 4 * word, true));
  }
}

export class Slot {
  state = R.SLOT_DISABLED;
  /** Root hub port, 1 to {@link R.MAX_PORTS}; 0 before the device was addressed. */
  port = 0;
  /** The output device context in guest memory. */
  context = 0;
  /** By device context index; 0 is no endpoint. */
  readonly endpoints: (Endpoint | undefined)[] = Array.from({ length: R.ENDPOINTS }, () => undefined);

  constructor(
    readonly id: number,
    private readonly memory: GuestMemory,
    private readonly report: (slot: number, endpoint: number, event: TransferEvent) => void,
  ) {}

  enable(): void {
    this.state = R.SLOT_DEFAULT;
    this.port = 0;
    this.context = 0;
    this.endpoints.fill(undefined);
  }

  disable(): void {
    this.writeSlotState(R.SLOT_DISABLED);
    this.state = R.SLOT_DISABLED;
    this.port = 0;
    this.context = 0;
    this.endpoints.fill(undefined);
  }

  /** An endpoint out of its input context; undefined when that describes none that this controller has. */
  addEndpoint(index: number, words: Uint32Array): Endpoint | undefined {
    const type = ((words[1] ?? 0) >>> 3) & 7;
    const streams = ((words[0] ?? 0) >>> 10) & 0x1f;
    if (type === 0 || streams !== 0) return undefined;
    // Even indices lead to the device, odd ones to the host; endpoint 0 is both (4.8.1).
    const wanted =
      index === 1 ? type === R.EP_TYPE_CONTROL : type === R.EP_TYPE_CONTROL || type >= 5 === (index % 2 === 1);
    if (!wanted) return undefined;
    const place = { dequeue: address(((words[2] ?? 0) & ~0xf) >>> 0, words[3] ?? 0), cycle: (words[2] ?? 0) & 1 };
    const endpoint = this.#endpoint(index, (report) => new Endpoint(type, place, this.memory, report));
    this.endpoints[index] = endpoint;
    this.writeContext(index, words);
    this.writeEndpoint(index);
    return endpoint;
  }

  #endpoint(index: number, make: (report: (event: TransferEvent) => void) => Endpoint): Endpoint {
    return make((event) => this.report(this.id, index, event));
  }

  removeEndpoint(index: number): void {
    if (!this.endpoints[index]) return;
    this.endpoints[index] = undefined;
    this.#writeWord(index, 0, (word) => word & ~7);
  }

  /** Writes a context as the driver gave it. Throws GuestAddressError. */
  writeContext(index: number, words: Uint32Array): void {
    const bytes = new Uint8Array(R.CONTEXT_BYTES);
    const view = new DataView(bytes.buffer);
    for (const [word, value] of words.entries()) view.setUint32(4 * word, value, true);
    this.memory.write(this.context + index * R.CONTEXT_BYTES, bytes);
  }

  /** Brings an endpoint's output context up to date: its state, and where its ring goes on. */
  writeEndpoint(index: number): void {
    const endpoint = this.endpoints[index];
    if (!endpoint) return;
    this.#writeWord(index, 0, (word) => (word & ~7) | endpoint.state);
    this.#writeWord(index, 2, () => (endpoint.dequeue % 2 ** 32) | endpoint.cycle);
    this.#writeWord(index, 3, () => Math.floor(endpoint.dequeue / 2 ** 32));
  }

  /** Slot state, and with a state that has one the device address, which is the slot's number. */
  writeSlotState(state: number): void {
    const usbAddress = state >= R.SLOT_ADDRESSED ? this.id : 0;
    this.#writeWord(0, 3, () => (state << SLOT_STATE_SHIFT) | usbAddress);
  }

  /** Number of the last valid context. */
  writeContextEntries(entries: number): void {
    this.#writeWord(0, 0, (word) => (word & 0x07ffffff) | (entries << CONTEXT_ENTRIES_SHIFT));
  }

  /** Changes a word of the output context; one that is not in RAM is the driver's loss. */
  #writeWord(index: number, word: number, change: (old: number) => number): void {
    const gpa = this.context + index * R.CONTEXT_BYTES + 4 * word;
    if (this.context === 0 || !this.memory.contains(gpa, 4)) return;
    this.memory.writeU32(gpa, change(this.memory.readU32(gpa)) >>> 0);
  }

  save(): { readonly [field: string]: StateValue } {
    return {
      state: this.state,
      port: this.port,
      context: this.context,
      endpoints: this.endpoints.map((endpoint) => endpoint?.save() ?? {}),
    };
  }

  prepareRestore(fields: StateFields): () => void {
    const state = fields.integer('state', R.SLOT_CONFIGURED);
    const port = fields.integer('port', R.MAX_PORTS);
    const context = fields.integer('context', Number.MAX_SAFE_INTEGER);
    const endpoints = fields
      .groups('endpoints', R.ENDPOINTS)
      .map((group, index) =>
        index === 0 || group.names().length === 0
          ? undefined
          : this.#endpoint(index, (report) => Endpoint.restore(group, this.memory, report)),
      );
    return () => {
      this.state = state;
      this.port = port;
      this.context = context;
      for (const [index, endpoint] of endpoints.entries()) this.endpoints[index] = endpoint;
    };
  }
}
