/** Ethernet frames on a stream of bytes: each has its length in front, 4 bytes, most significant first (as QEMU's `-netdev stream`). */
import { MAX_FRAME_BYTES } from './ethernet.ts';
import { joined, readU32, writeU32 } from './wire.ts';

const LENGTH_BYTES = 4;

/** The stream is not one of frames. */
export class FrameStreamError extends Error {
  override readonly name = 'FrameStreamError';
}

/** A frame with its length in front, in one private piece. */
export function framedEthernet(parts: readonly Uint8Array[]): Uint8Array {
  const length = new Uint8Array(LENGTH_BYTES);
  const bytes = joined([length, ...parts]);
  writeU32(bytes, 0, bytes.length - LENGTH_BYTES);
  return bytes;
}

/** Cuts a stream into frames. */
export class FrameReader {
  #rest = new Uint8Array();

  /** Frames that are complete now. Throws {@link FrameStreamError} at a length that no frame has. */
  push(bytes: Uint8Array): Uint8Array[] {
    const all = this.#rest.length === 0 ? bytes : joined([this.#rest, bytes]);
    const frames: Uint8Array[] = [];
    let at = 0;
    while (at + LENGTH_BYTES <= all.length) {
      const length = readU32(all, at);
      if (length === 0 || length > MAX_FRAME_BYTES) throw new FrameStreamError(`a frame of ${length} bytes`);
      if (at + LENGTH_BYTES + length > all.length) break;
      frames.push(all.subarray(at + LENGTH_BYTES, at + LENGTH_BYTES + length));
      at += LENGTH_BYTES + length;
    }
    this.#rest = all.slice(at);
    return frames;
  }
}
