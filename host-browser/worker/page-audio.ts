/** The audio backends of a page, in the machine's Worker: samples to and from the page's audio thread. */
import { PcmConverter } from '../../devices/audio/pcm-converter.ts';
import type { AudioBackend, AudioSettings, PcmFormat } from '../../devices/backends/audio.ts';
import { PAGE_CHANNELS, PAGE_SAMPLE_RATE_HZ, type PlayerTaken, type RecorderSamples } from '../audio/protocol.ts';

const PAGE_FORMAT: PcmFormat = { sampleRateHz: PAGE_SAMPLE_RATE_HZ, channels: PAGE_CHANNELS };
const FRAME_BYTES = 4;
/** Beyond a fifth of a second the guest waits for the audio thread. */
const MAX_AHEAD_FRAMES = PAGE_SAMPLE_RATE_HZ / 5;
/** An audio thread that takes nothing for so long is not running: a page makes no sound before its user has done something with it. */
const ASLEEP_MS = 1000;
const MAX_HEARD_BYTES = (PAGE_SAMPLE_RATE_HZ * FRAME_BYTES) / 2;
const OSS_DEVICE = /^\/dev\/dsp\d*(\.\d+)?$/;

/** Asks the page for the other end of a channel: its speakers, or its microphone. */
export type OpenPageAudio = (direction: AudioSettings['direction'], port: MessagePort) => void;

class PagePlayer implements AudioBackend {
  #port: MessagePort | undefined;
  #converter: PcmConverter | undefined;
  #aheadFrames = 0;
  #lastTakenMs = 0;

  constructor(private readonly open: OpenPageAudio) {}

  begin(format: PcmFormat): void {
    this.#converter = new PcmConverter(format, PAGE_FORMAT);
    this.#lastTakenMs = performance.now();
    if (this.#port) return;
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    port1.onmessage = ({ data }: MessageEvent<PlayerTaken>) => {
      this.#aheadFrames = Math.max(0, this.#aheadFrames - data.frames);
      this.#lastTakenMs = performance.now();
    };
    this.open('play', port2);
  }

  play(samples: Uint8Array): boolean {
    if (!this.#port || !this.#converter) return true;
    // Nobody listens: the sound is lost, and the guest goes on.
    if (this.#aheadFrames >= MAX_AHEAD_FRAMES) return performance.now() - this.#lastTakenMs > ASLEEP_MS;
    const bytes = this.#converter.convert(samples);
    const copy = new Int16Array(bytes.slice().buffer);
    this.#aheadFrames += copy.length / PAGE_CHANNELS;
    this.#port.postMessage({ samples: copy }, [copy.buffer]);
    return true;
  }

  record(into: Uint8Array): boolean {
    into.fill(0);
    return true;
  }

  end(): void {}

  close(): Promise<void> {
    this.#port?.close();
    this.#port = undefined;
    return Promise.resolve();
  }
}

class PageRecorder implements AudioBackend {
  #port: MessagePort | undefined;
  #converter: PcmConverter | undefined;
  #heard: Uint8Array[] = [];
  #heardBytes = 0;
  #lastHeardMs = 0;

  constructor(private readonly open: OpenPageAudio) {}

  begin(format: PcmFormat): void {
    this.#converter = new PcmConverter(PAGE_FORMAT, format);
    this.#forget();
    this.#lastHeardMs = performance.now();
    if (this.#port) return;
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    port1.onmessage = ({ data }: MessageEvent<RecorderSamples>) => this.#hear(data.samples);
    this.open('record', port2);
  }

  #hear(samples: Int16Array): void {
    this.#lastHeardMs = performance.now();
    if (!this.#converter) return;
    // A microphone does not wait: what the guest has not taken after half a second is gone.
    if (this.#heardBytes > MAX_HEARD_BYTES) this.#forget();
    const bytes = this.#converter.convert(new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength));
    this.#heard.push(bytes);
    this.#heardBytes += bytes.length;
  }

  #forget(): void {
    this.#heard = [];
    this.#heardBytes = 0;
  }

  play(): boolean {
    return true;
  }

  record(into: Uint8Array): boolean {
    if (this.#heardBytes < into.length) {
      // Refused, or not asked for yet: silence.
      if (performance.now() - this.#lastHeardMs <= ASLEEP_MS) return false;
      into.fill(0);
      return true;
    }
    for (let at = 0; at < into.length;) {
      const piece = this.#heard[0];
      if (!piece) break;
      const part = piece.subarray(0, into.length - at);
      into.set(part, at);
      at += part.length;
      this.#heardBytes -= part.length;
      if (part.length === piece.length) this.#heard.shift();
      else this.#heard[0] = piece.subarray(part.length);
    }
    return true;
  }

  end(): void {
    this.#forget();
  }

  close(): Promise<void> {
    this.#port?.close();
    this.#port = undefined;
    return Promise.resolve();
  }
}

/** Opens `play=/dev/dsp` and `rec=/dev/dsp`: the page's speakers and microphone. Rejects with a message for the user. */
export function openPageAudio({ direction, path }: AudioSettings, open: OpenPageAudio): Promise<AudioBackend> {
  if (!OSS_DEVICE.test(path)) {
    return Promise.reject(new Error(`hda: ${path}: in a page sound goes to and comes from /dev/dsp`));
  }
  return Promise.resolve(direction === 'play' ? new PagePlayer(open) : new PageRecorder(open));
}
