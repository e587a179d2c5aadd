/**
 * The flash chip in which a boot ROM keeps its variables (bhyve(8): -l bootrom,ROM,VARS): just as much of CFI's basic command set as
 * convinces EDK II that its variable store is writable and lasting.
 *
 * Where bhyve sees accesses of up to eight bytes as one, wider accesses than four bytes are two here; firmware writes bytes.
 */
import type { AccessSize } from '../bus/port-bus.ts';
import type { MmioBus, MmioHandler } from '../bus/mmio-bus.ts';
import { allOnes } from '../bus/port-bus.ts';
import { StateFields } from '../platform/state-fields.ts';
import { PassiveDevice } from '../device.ts';
import type { DeviceState } from '../snapshot.ts';

/** What keeps the variables when the machine is gone. */
export interface FlashStore {
  readonly lengthBytes: number;
  /** All of it. */
  read(): Promise<Uint8Array>;
  /** Changes bytes. When it returns they outlive this process, however that ends. */
  write(offset: number, bytes: Uint8Array): void;
  close(): Promise<void>;
}

/** Commands (JEDEC JEP137, basic command set), as far as they are told apart. */
const CMD_PROGRAM = 0x10;
const CMD_CLEAR_STATUS = 0x50;
const CMD_READ_STATUS = 0x70;
const CMD_READ_ARRAY = 0xff;

const STATE_KIND = 'variable-flash';
const STATE_VERSION = 1;

export class VariableFlash extends PassiveDevice implements MmioHandler {
  /** The command under way: the low byte of the last write that was not data. */
  #command = CMD_READ_ARRAY;

  /** Puts a chip with the store's contents at [endGpa - length, endGpa). Throws when something else is there. */
  constructor(
    mmio: MmioBus,
    private readonly store: FlashStore,
    private readonly contents: Uint8Array,
    endGpa: number,
  ) {
    super();
    mmio.claim('boot ROM variables', endGpa - contents.length, contents.length, this);
  }

  #inside(offset: number, size: AccessSize): boolean {
    return offset + size <= this.contents.length;
  }

  readMmio(offset: number, size: AccessSize): number {
    if (!this.#inside(offset, size)) return allOnes(size);
    if (this.#command === CMD_CLEAR_STATUS || this.#command === CMD_READ_STATUS) {
      // No error and nothing under way is a status of zeros here, which is what EDK II takes for "cleared".
      this.#command = CMD_READ_ARRAY;
      return 0;
    }
    let value = 0;
    for (let i = 0; i < size; i++) value |= (this.contents[offset + i] ?? 0) << (8 * i);
    return value >>> 0;
  }

  writeMmio(offset: number, size: AccessSize, value: number): void {
    if (!this.#inside(offset, size)) return;
    if (this.#command !== CMD_PROGRAM) {
      this.#command = value & 0xff;
      return;
    }
    this.#command = CMD_READ_ARRAY;
    // Bits can be set as well as cleared: there is no erasing.
    const bytes = Uint8Array.from({ length: size }, (_, i) => value >>> (8 * i));
    this.contents.set(bytes, offset);
    this.store.write(offset, bytes);
  }

  /** The command alone: like a disk, the store is no part of a snapshot. */
  save(): DeviceState {
    return { kind: STATE_KIND, version: STATE_VERSION, fields: { command: this.#command } };
  }

  restore(state: DeviceState): void {
    this.#command = StateFields.open(state, STATE_KIND, STATE_VERSION).integer('command', 0xff);
  }

  reset(): void {
    this.#command = CMD_READ_ARRAY;
  }

  override close(): Promise<void> {
    return this.store.close();
  }
}
