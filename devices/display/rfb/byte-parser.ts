/** Cuts a byte stream into the fields that a protocol asks for one after the other. It never holds more than one field. */

/** Longest field that can be asked for. */
const MAX_FIELD_BYTES = 64;

export class ByteParser {
  readonly #field = new Uint8Array(MAX_FIELD_BYTES);
  #filled = 0;
  #wanted = 0;
  /** Bytes to throw away before the next field. */
  #skipped = 0;
  #then: ((field: DataView) => void) | undefined;

  /** Asks for the next `lengthBytes` bytes (1 to 64). The view given to `then` is valid during the call. */
  field(lengthBytes: number, then: (field: DataView) => void): void {
    if (lengthBytes < 1 || lengthBytes > MAX_FIELD_BYTES) throw new RangeError(`a field of ${lengthBytes} bytes`);
    this.#wanted = lengthBytes;
    this.#then = then;
  }

  /** Throws away so many bytes before the next field. */
  skip(lengthBytes: number): void {
    this.#skipped += lengthBytes;
  }

  /** Bytes of the stream. Stops early when a handler asks for no further field; those bytes are lost. */
  receive(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length) {
      if (this.#skipped > 0) {
        const count = Math.min(this.#skipped, bytes.length - at);
        this.#skipped -= count;
        at += count;
        continue;
      }
      const then = this.#then;
      if (!then) return;
      const count = Math.min(this.#wanted - this.#filled, bytes.length - at);
      this.#field.set(bytes.subarray(at, at + count), this.#filled);
      this.#filled += count;
      at += count;
      if (this.#filled < this.#wanted) return;
      this.#filled = 0;
      this.#then = undefined;
      then(new DataView(this.#field.buffer, 0, this.#wanted));
    }
  }
}
