/** Raw samples to and from pipes, files and programs: 16 bits, two channels, 48 kHz. */
import { spawn, type ChildProcess } from 'node:child_process';
import { createReadStream, createWriteStream } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import { frameBytes, type AudioBackend, type PcmFormat } from '../../devices/backends/audio.ts';
import { PcmConverter } from '../../devices/audio/pcm-converter.ts';

/** What the far end plays and records. */
export const RAW_FORMAT: PcmFormat = { sampleRateHz: 48_000, channels: 2 };
/** Half a second: beyond that the guest waits for the far end. */
const MAX_UNSENT_BYTES = (RAW_FORMAT.sampleRateHz * frameBytes(RAW_FORMAT)) / 2;
const STOP_PATIENCE_MS = 1_000;

/** Plays into a stream. One that has ended swallows what comes. */
export class PcmPlayer implements AudioBackend {
  /** The far end is gone. */
  ended = false;
  #converter: PcmConverter | undefined;

  constructor(
    private readonly stream: Writable,
    private readonly stop: () => Promise<void> = () => Promise.resolve(),
  ) {
    stream.on('error', () => (this.ended = true));
    stream.on('close', () => (this.ended = true));
  }

  begin(format: PcmFormat): void {
    this.#converter = new PcmConverter(format, RAW_FORMAT);
  }

  play(samples: Uint8Array): boolean {
    if (this.ended || !this.#converter) return true;
    if (this.stream.writableLength > MAX_UNSENT_BYTES) return false;
    this.stream.write(this.#converter.convert(samples));
    return true;
  }

  record(into: Uint8Array): boolean {
    into.fill(0);
    return true;
  }

  end(): void {}

  async close(): Promise<void> {
    if (!this.ended) {
      await new Promise<void>((resolve) => {
        // A pipe that nobody reads never takes the rest.
        setTimeout(resolve, STOP_PATIENCE_MS).unref();
        this.stream.end(resolve);
      });
    }
    this.stream.destroy();
    await this.stop();
  }
}

/** Records from a stream; when that has ended, silence. */
export class PcmRecorder implements AudioBackend {
  ended = false;
  #converter: PcmConverter | undefined;
  /** Converted samples that the guest has not taken. */
  #waiting = Buffer.alloc(0);

  constructor(
    private readonly stream: Readable,
    private readonly from: PcmFormat = RAW_FORMAT,
    private readonly stop: () => Promise<void> = () => Promise.resolve(),
  ) {
    const finish = (): void => {
      this.ended = true;
    };
    stream.on('end', finish);
    stream.on('close', finish);
    stream.on('error', finish);
    // Paused mode: the stream's own buffer bounds what is read ahead.
    stream.on('readable', () => undefined);
  }

  begin(format: PcmFormat): void {
    this.#converter = new PcmConverter(this.from, format);
    this.#waiting = Buffer.alloc(0);
  }

  play(): boolean {
    return true;
  }

  record(into: Uint8Array): boolean {
    while (this.#waiting.length < into.length) {
      const piece = this.#read();
      if (!piece) break;
      this.#waiting = Buffer.concat([this.#waiting, this.#converter?.convert(piece) ?? piece]);
    }
    if (this.#waiting.length < into.length && !this.ended) return false;
    const count = Math.min(into.length, this.#waiting.length);
    into.set(this.#waiting.subarray(0, count));
    into.fill(0, count);
    this.#waiting = this.#waiting.subarray(count);
    return true;
  }

  /** Whole frames of the source. */
  #read(): Buffer | undefined {
    const whole = frameBytes(this.from);
    const count = Math.floor(this.stream.readableLength / whole) * whole;
    return count > 0 ? ((this.stream.read(count) as Buffer | null) ?? undefined) : undefined;
  }

  end(): void {
    this.#waiting = Buffer.alloc(0);
  }

  async close(): Promise<void> {
    this.stream.destroy();
    await this.stop();
  }
}

function stopper(child: ChildProcess): () => Promise<void> {
  return async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    const timer = setTimeout(() => child.kill(), STOP_PATIENCE_MS);
    await gone;
    clearTimeout(timer);
  };
}

/** A program of the host at the other end; rejects when it cannot be started. */
export async function openProgram(command: string, direction: 'play' | 'record'): Promise<AudioBackend> {
  const child = spawn(command, {
    shell: true,
    stdio: direction === 'play' ? ['pipe', 'ignore', 'inherit'] : ['ignore', 'pipe', 'inherit'],
  });
  await new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('spawn', resolve);
  });
  child.on('error', () => undefined);
  const stop = stopper(child);
  if (child.stdin) return new PcmPlayer(child.stdin, stop);
  if (!child.stdout) throw new Error(`${command} has no output`);
  // A recorder is not waited for: it has no end of its own.
  return new PcmRecorder(child.stdout, RAW_FORMAT, () => {
    child.kill();
    return stop();
  });
}

/** A named pipe, or a file of raw samples. */
export function openPath(path: string, direction: 'play' | 'record'): AudioBackend {
  return direction === 'play' ? new PcmPlayer(createWriteStream(path)) : new PcmRecorder(createReadStream(path));
}
