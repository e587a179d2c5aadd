/**
 * Framing of the GDB remote serial protocol (GDB manual, appendix E.1): `$data#cc`, where cc is the sum of data's bytes modulo 256 in
 * hexadecimal. Good packets are acknowledged with `+`, damaged ones with `-`; byte 3 alone asks a running target to stop.
 */

/** Longest packet taken; a debugger is told of it and breaks larger transfers up. */
export const MAX_PACKET_BYTES = 0x4096;

const DOLLAR = 0x24;
const HASH = 0x23;
const PLUS = 0x2b;
const MINUS = 0x2d;
const INTERRUPT = 0x03;

export type Received =
  | { readonly kind: 'packet'; readonly text: string }
  | { readonly kind: 'damaged' | 'interrupt' | 'acknowledged' | 'refused' };

/** Cuts a stream of bytes into packets. */
export class PacketReader {
  /** Bytes from `$` on; undefined between packets. */
  #packet: number[] | undefined;

  *push(bytes: Uint8Array): Generator<Received> {
    for (const byte of bytes) {
      const packet = this.#packet;
      if (!packet) {
        if (byte === DOLLAR) this.#packet = [];
        else if (byte === INTERRUPT) yield { kind: 'interrupt' };
        else if (byte === PLUS) yield { kind: 'acknowledged' };
        else if (byte === MINUS) yield { kind: 'refused' };
        continue;
      }
      if (byte === DOLLAR) {
        // The end of the one before was lost.
        packet.length = 0;
        continue;
      }
      packet.push(byte);
      if (packet.length > MAX_PACKET_BYTES + 3) {
        this.#packet = undefined;
        yield { kind: 'damaged' };
      } else if (packet[packet.length - 3] === HASH) {
        this.#packet = undefined;
        yield finished(packet);
      }
    }
  }

  reset(): void {
    this.#packet = undefined;
  }
}

function finished(packet: readonly number[]): Received {
  const text = String.fromCharCode(...packet);
  const data = text.slice(0, -3);
  return text.slice(-2).toLowerCase() === checksum(data) ? { kind: 'packet', text: data } : { kind: 'damaged' };
}

function checksum(data: string): string {
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += data.charCodeAt(i);
  return (sum & 0xff).toString(16).padStart(2, '0');
}

/** A packet around a text of characters below 256 that holds none of `$`, `#`, `}` and `*`. */
export function packetBytes(data: string): Uint8Array {
  return Uint8Array.from(`$${data}#${checksum(data)}`, (character) => character.charCodeAt(0));
}

/** Bytes as pairs of hexadecimal digits. */
export function hexOf(bytes: Iterable<number>): string {
  let text = '';
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0');
  return text;
}

/** The bytes that pairs of hexadecimal digits stand for; undefined when the text is something else. */
export function bytesOf(hex: string): Uint8Array | undefined {
  if (hex.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(hex)) return undefined;
  return Uint8Array.from({ length: hex.length / 2 }, (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16));
}

/** A register in the target's byte order. */
export function littleEndianHex(value: bigint, sizeBytes: number): string {
  return hexOf(Array.from({ length: sizeBytes }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn)));
}

export function littleEndianValue(bytes: Uint8Array): bigint {
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
}
