/**
 * Memory for O_DIRECT, which asks for buffers that are aligned to the disk's blocks. Guest memory is, when the guest's buffer is; JavaScript has no
 * aligned allocation, but WebAssembly memories begin on a page of the host.
 */

const WASM_PAGE_BYTES = 65536;

/** An aligned buffer of at least so many bytes. */
export function alignedBuffer(lengthBytes: number): Uint8Array {
  const memory = new WebAssembly.Memory({ initial: Math.max(1, Math.ceil(lengthBytes / WASM_PAGE_BYTES)) });
  return new Uint8Array(memory.buffer, 0, lengthBytes);
}
