/** Puts fragmented packets together (RFC 791, 3.2; RFC 8200, 4.5), within bounds of memory and time. */
import { addressKey } from '../addresses.ts';
import type { IpPacket } from './ip.ts';

const MAX_PACKET_BYTES = 65_535;
const MAX_PACKETS = 32;
const MAX_PIECES = 64;
/** RFC 8200, 4.5: 60 seconds; nothing on this short link comes so late. */
const LIFETIME_MS = 15_000;

interface Partial {
  readonly first: IpPacket;
  readonly pieces: { readonly offsetBytes: number; readonly bytes: Uint8Array }[];
  readonly expiresMs: number;
  /** Known from the last piece. */
  totalBytes: number | undefined;
  receivedBytes: number;
}

export class Reassembly {
  /** Packets given up: too many, too old, or pieces that overlap or do not fit together. */
  dropped = 0;
  readonly #partials = new Map<string, Partial>();

  /** Takes a piece; the whole packet when it was the last that was missing. */
  add(packet: IpPacket, nowMs: number): IpPacket | undefined {
    const { fragment } = packet;
    if (!fragment) return packet;
    this.#expire(nowMs);
    const key = `${addressKey(packet.source)}${addressKey(packet.destination)}${packet.protocol},${fragment.identification}`;
    let partial = this.#partials.get(key);
    if (!partial) {
      if (this.#partials.size >= MAX_PACKETS) this.#dropOldest();
      partial = { first: packet, pieces: [], expiresMs: nowMs + LIFETIME_MS, totalBytes: undefined, receivedBytes: 0 };
      this.#partials.set(key, partial);
    }
    if (!this.#insert(partial, fragment.offsetBytes, fragment.more, packet.payload)) {
      this.#partials.delete(key);
      this.dropped++;
      return undefined;
    }
    if (partial.totalBytes === undefined || partial.receivedBytes < partial.totalBytes) return undefined;
    this.#partials.delete(key);
    const payload = new Uint8Array(partial.totalBytes);
    for (const piece of partial.pieces) payload.set(piece.bytes, piece.offsetBytes);
    // A checksum that was left to us covers one frame only, never pieces.
    return { ...partial.first, payload, checksumDone: false, fragment: undefined };
  }

  /** False when the packet has to be given up. Overlaps are refused, not merged (RFC 5722). */
  #insert(partial: Partial, offsetBytes: number, more: boolean, bytes: Uint8Array): boolean {
    const end = offsetBytes + bytes.length;
    if (bytes.length === 0 || end > MAX_PACKET_BYTES || partial.pieces.length >= MAX_PIECES) return false;
    if (more && bytes.length % 8 !== 0) return false;
    for (const piece of partial.pieces) {
      const overlaps = piece.offsetBytes < end && offsetBytes < piece.offsetBytes + piece.bytes.length;
      // The same piece again, after a loss further on.
      if (overlaps) return piece.offsetBytes === offsetBytes && piece.bytes.length === bytes.length;
    }
    if (!more) {
      if (partial.totalBytes !== undefined && partial.totalBytes !== end) return false;
      partial.totalBytes = end;
    }
    if (partial.totalBytes !== undefined) {
      const { totalBytes } = partial;
      if (end > totalBytes) return false;
      if (partial.pieces.some((piece) => piece.offsetBytes + piece.bytes.length > totalBytes)) return false;
    }
    partial.pieces.push({ offsetBytes, bytes });
    partial.receivedBytes += bytes.length;
    return true;
  }

  #expire(nowMs: number): void {
    for (const [key, partial] of this.#partials) {
      if (partial.expiresMs > nowMs) break;
      this.#partials.delete(key);
      this.dropped++;
    }
  }

  #dropOldest(): void {
    const [oldest] = this.#partials.keys();
    if (oldest !== undefined) this.#partials.delete(oldest);
    this.dropped++;
  }
}
