/**
 * MSI-X table and pending bits (PCI Local Bus 3.0, 6.8.2): the table at the start of a BAR, the pending-bit array on the
 * next 4 KiB page. bhyve loses a message whose vector is masked and its pending bits read zero; here it is kept and sent when the
 * mask goes, as the specification asks.
 */
import type { AccessSize } from '../bus/port-bus.ts';
import type { StateFields } from '../platform/state-fields.ts';
import type { StateValue } from '../snapshot.ts';
import { MSIX_ENTRY_BYTES } from './registers.ts';

const PAGE_BYTES = 4096;
const ENTRY_VECTOR_CONTROL = 12;
const VECTOR_MASKED = 1;

export class MsixTable {
  readonly vectorCount: number;
  /** Offset of the pending-bit array in the BAR. */
  readonly pbaOffset: number;
  /** Bytes that a BAR must have to hold table and pending bits. */
  readonly spanBytes: number;
  readonly #table: Uint8Array;
  readonly #view: DataView;
  readonly #pending: Uint8Array;
  readonly #send: (address: bigint, data: number) => void;
  #deliverable = false;

  constructor(vectorCount: number, send: (address: bigint, data: number) => void) {
    if (vectorCount < 1 || vectorCount > 2048) throw new RangeError(`MSI-X table of ${vectorCount} entries`);
    this.vectorCount = vectorCount;
    this.pbaOffset = Math.ceil((vectorCount * MSIX_ENTRY_BYTES) / PAGE_BYTES) * PAGE_BYTES;
    const pbaBytes = Math.ceil(vectorCount / 64) * 8;
    this.spanBytes = this.pbaOffset + pbaBytes;
    this.#table = new Uint8Array(vectorCount * MSIX_ENTRY_BYTES);
    this.#view = new DataView(this.#table.buffer);
    this.#pending = new Uint8Array(pbaBytes);
    this.#send = send;
    this.reset();
  }

  /** All entries masked, nothing pending. */
  reset(): void {
    this.#table.fill(0);
    this.#pending.fill(0);
    for (let entry = 0; entry < this.vectorCount; entry++) {
      this.#table[entry * MSIX_ENTRY_BYTES + ENTRY_VECTOR_CONTROL] = VECTOR_MASKED;
    }
    this.#deliverable = false;
  }

  /** True when the offset belongs to the table or to the pending bits. */
  claims(offset: number): boolean {
    return offset < this.#table.length || (offset >= this.pbaOffset && offset < this.spanBytes);
  }

  read(offset: number, size: AccessSize): number {
    const inTable = offset < this.#table.length;
    const bytes = inTable ? this.#table : this.#pending;
    const start = inTable ? offset : offset - this.pbaOffset;
    if (start < 0) return 0;
    let value = 0;
    for (let i = 0; i < size; i++) value |= (bytes[start + i] ?? 0) << (8 * i);
    return value >>> 0;
  }

  /** Aligned 4-byte writes reach the table (wider ones arrive as two); others, and writes to pending bits, do nothing. */
  write(offset: number, size: AccessSize, value: number): void {
    if (size !== 4 || offset & 3 || offset + 4 > this.#table.length) return;
    if (offset % MSIX_ENTRY_BYTES === ENTRY_VECTOR_CONTROL) value &= VECTOR_MASKED;
    this.#view.setUint32(offset, value, true);
    if (offset % MSIX_ENTRY_BYTES === ENTRY_VECTOR_CONTROL) this.#deliver(Math.floor(offset / MSIX_ENTRY_BYTES));
  }

  /** Follows the capability: messages go out only while MSI-X is enabled and not function-masked. */
  setDeliverable(deliverable: boolean): void {
    if (deliverable === this.#deliverable) return;
    this.#deliverable = deliverable;
    if (!deliverable) return;
    for (let vector = 0; vector < this.vectorCount; vector++) this.#deliver(vector);
  }

  /** Sends the message of a vector, or remembers it while it is masked. Vectors outside the table are ignored. */
  raise(vector: number): void {
    if (vector < 0 || vector >= this.vectorCount) return;
    this.#pending[vector >> 3] = (this.#pending[vector >> 3] ?? 0) | (1 << (vector & 7));
    this.#deliver(vector);
  }

  #deliver(vector: number): void {
    const bit = 1 << (vector & 7);
    const entry = vector * MSIX_ENTRY_BYTES;
    const pendingByte = this.#pending[vector >> 3] ?? 0;
    if (!this.#deliverable || !(pendingByte & bit)) return;
    if (this.#view.getUint32(entry + ENTRY_VECTOR_CONTROL, true) & VECTOR_MASKED) return;
    this.#pending[vector >> 3] = pendingByte & ~bit;
    this.#send(this.#view.getBigUint64(entry, true), this.#view.getUint32(entry + 8, true));
  }

  save(): { [field: string]: StateValue } {
    return { table: this.#table.slice(), pending: this.#pending.slice(), deliverable: this.#deliverable };
  }

  /** Checks the fields and returns what makes them the state. */
  prepareRestore(fields: StateFields): () => void {
    const table = fields.bytes('table', this.#table.length);
    const pending = fields.bytes('pending', this.#pending.length);
    const deliverable = fields.flag('deliverable');
    return () => {
      this.#table.set(table);
      this.#pending.set(pending);
      this.#deliverable = deliverable;
    };
  }
}
