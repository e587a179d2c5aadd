/** WAV files (RIFF WAVE, PCM): written while a guest plays, read while it records. */
import { open, type FileHandle } from 'node:fs/promises';
import { frameBytes, type AudioBackend, type PcmFormat } from '../../devices/backends/audio.ts';
import { PcmConverter } from '../../devices/audio/pcm-converter.ts';

const HEADER_BYTES = 44;
const PCM = 1;
const BITS = 16;
/** Samples on their way to the file; the guest waits when the disk is that far behind. */
const MAX_PENDING_BYTES = 4 * 1024 * 1024;
/** A WAV file's length field has 32 bits. */
const MAX_DATA_BYTES = 0xffff_ffff - HEADER_BYTES;

function header(format: PcmFormat, dataBytes: number): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES);
  bytes.write('RIFF', 0, 'latin1');
  bytes.writeUInt32LE(HEADER_BYTES - 8 + dataBytes, 4);
  bytes.write('WAVEfmt ', 8, 'latin1');
  bytes.writeUInt32LE(16, 16);
  bytes.writeUInt16LE(PCM, 20);
  bytes.writeUInt16LE(format.channels, 22);
  bytes.writeUInt32LE(format.sampleRateHz, 24);
  bytes.writeUInt32LE(format.sampleRateHz * frameBytes(format), 28);
  bytes.writeUInt16LE(frameBytes(format), 32);
  bytes.writeUInt16LE(BITS, 34);
  bytes.write('data', 36, 'latin1');
  bytes.writeUInt32LE(dataBytes, 40);
  return bytes;
}

/** Plays into a file. It has the format of the first stream; later ones are converted to that. */
export class WavWriter implements AudioBackend {
  /** Samples that the file did not take. */
  lostBytes = 0;
  #format: PcmFormat | undefined;
  #converter: PcmConverter | undefined;
  #dataBytes = 0;
  #pendingBytes = 0;
  #writes: Promise<void> = Promise.resolve();

  private constructor(private readonly file: FileHandle) {}

  static async create(path: string): Promise<WavWriter> {
    return new WavWriter(await open(path, 'w'));
  }

  begin(format: PcmFormat): void {
    this.#format ??= format;
    this.#converter = new PcmConverter(format, this.#format);
  }

  play(samples: Uint8Array): boolean {
    if (!this.#converter) return true;
    if (this.#pendingBytes > MAX_PENDING_BYTES) return false;
    const bytes = this.#converter.convert(samples);
    if (this.#dataBytes + bytes.length > MAX_DATA_BYTES) {
      this.lostBytes += bytes.length;
      return true;
    }
    const at = HEADER_BYTES + this.#dataBytes;
    this.#dataBytes += bytes.length;
    this.#pendingBytes += bytes.length;
    this.#queue(async () => {
      await this.file.write(bytes, 0, bytes.length, at);
      this.#pendingBytes -= bytes.length;
    });
    return true;
  }

  #queue(write: () => Promise<void>): void {
    this.#writes = this.#writes.then(write).catch(() => {
      this.lostBytes += this.#pendingBytes;
      this.#pendingBytes = 0;
    });
  }

  record(into: Uint8Array): boolean {
    into.fill(0);
    return true;
  }

  /** The header tells what has been played so far. */
  end(): void {
    const format = this.#format;
    if (!format) return;
    const bytes = header(format, this.#dataBytes);
    this.#queue(async () => {
      await this.file.write(bytes, 0, bytes.length, 0);
    });
  }

  async close(): Promise<void> {
    this.end();
    await this.#writes;
    await this.file.close();
  }
}

/** A WAV file's samples. Throws with a message for the user when it is none that can be played. */
export function parseWav(file: Buffer): { readonly format: PcmFormat; readonly samples: Buffer } {
  if (file.length < 12 || file.toString('latin1', 0, 4) !== 'RIFF' || file.toString('latin1', 8, 12) !== 'WAVE') {
    throw new Error('not a WAV file');
  }
  let format: PcmFormat | undefined;
  for (let at = 12; at + 8 <= file.length;) {
    const name = file.toString('latin1', at, at + 4);
    const length = file.readUInt32LE(at + 4);
    const body = file.subarray(at + 8, at + 8 + length);
    if (name === 'fmt ' && body.length >= 16) {
      if (body.readUInt16LE(0) !== PCM || body.readUInt16LE(14) !== BITS) throw new Error('samples are not 16-bit PCM');
      format = { channels: body.readUInt16LE(2), sampleRateHz: body.readUInt32LE(4) };
    } else if (name === 'data') {
      if (!format || format.channels < 1 || format.sampleRateHz < 1) throw new Error('no format before the samples');
      return { format, samples: body };
    }
    at += 8 + length + (length & 1);
  }
  throw new Error('no samples');
}
