/** The host's end of the rings between an in-core 16550 and the host (core-as/layout.ts: UART_RINGS). */
import {
  UART,
  UART_CONNECTED,
  UART_RINGS,
  UART_RING_SIZE,
  UART_RX_HEAD,
  UART_RX_TAIL,
  UART_STRIDE,
  UART_TX_HEAD,
  UART_TX_NOTIFY,
  UART_TX_TAIL,
} from '../../core-as/layout.ts';

/** Shared-memory words as the rings need them. */
export interface RingMemory {
  readonly i32: Int32Array;
  readonly u8: Uint8Array;
}

export class UartRings {
  readonly #block: number;
  readonly #txRing: number;
  readonly #rxRing: number;

  constructor(
    private readonly memory: RingMemory,
    readonly uart: number,
    /** The core's uartHostEvent: the UART re-evaluates its line and interrupt. */
    private readonly changed: (uart: number) => void,
  ) {
    this.#block = UART + uart * UART_STRIDE;
    this.#txRing = UART_RINGS + uart * 2 * UART_RING_SIZE;
    this.#rxRing = this.#txRing + UART_RING_SIZE;
  }

  #load(offset: number): number {
    return Atomics.load(this.memory.i32, (this.#block + offset) >> 2) >>> 0;
  }

  #store(offset: number, value: number): void {
    Atomics.store(this.memory.i32, (this.#block + offset) >> 2, value | 0);
  }

  /** With nothing attached the UART drops its output. */
  setConnected(connected: boolean): void {
    this.#store(UART_CONNECTED, connected ? 1 : 0);
  }

  /** How much output the guest's thread lets come together before it wakes the host. What is there already may not be announced. */
  notifyAt(bytes: number): void {
    this.#store(UART_TX_NOTIFY, bytes);
  }

  /** Takes everything that the guest has written since the last call. */
  takeOutput(): Uint8Array {
    const head = this.#load(UART_TX_HEAD);
    const tail = this.#load(UART_TX_TAIL);
    const bytes = this.#copyOut(this.#txRing, tail, Math.min((head - tail) >>> 0, UART_RING_SIZE));
    if (bytes.length > 0) {
      this.#store(UART_TX_TAIL, tail + bytes.length);
      this.changed(this.uart);
    }
    return bytes;
  }

  /** True when the guest wrote something that has not been taken yet. */
  get hasOutput(): boolean {
    return this.#load(UART_TX_HEAD) !== this.#load(UART_TX_TAIL);
  }

  #copyOut(ring: number, from: number, count: number): Uint8Array {
    const bytes = new Uint8Array(count);
    const first = from % UART_RING_SIZE;
    const straight = Math.min(count, UART_RING_SIZE - first);
    bytes.set(this.memory.u8.subarray(ring + first, ring + first + straight), 0);
    bytes.set(this.memory.u8.subarray(ring, ring + count - straight), straight);
    return bytes;
  }

  /** Input that the guest has not taken yet, in bytes. */
  get inputWaiting(): number {
    return (this.#load(UART_RX_HEAD) - this.#load(UART_RX_TAIL)) >>> 0;
  }

  /** Gives the guest as much of `bytes` as it has room for; returns how much that was. */
  putInput(bytes: Uint8Array): number {
    const head = this.#load(UART_RX_HEAD);
    const room = UART_RING_SIZE - this.inputWaiting;
    const count = Math.max(0, Math.min(bytes.length, room));
    if (count === 0) return 0;
    const first = head % UART_RING_SIZE;
    const straight = Math.min(count, UART_RING_SIZE - first);
    this.memory.u8.set(bytes.subarray(0, straight), this.#rxRing + first);
    this.memory.u8.set(bytes.subarray(straight, count), this.#rxRing);
    this.#store(UART_RX_HEAD, head + count);
    this.changed(this.uart);
    return count;
  }
}
