/** Samples from one format into another: channels joined or doubled, rates by linear interpolation. The same format passes unchanged. */
import { frameBytes, type PcmFormat } from '../backends/audio.ts';

export class PcmConverter {
  readonly #same: boolean;
  /** The last frame of the samples before, from which the next ones go on. */
  #previous: number[];
  /** Place of the next output frame, in input frames from {@link #previous}. */
  #position = 1;

  constructor(
    private readonly from: PcmFormat,
    private readonly to: PcmFormat,
  ) {
    this.#same = from.sampleRateHz === to.sampleRateHz && from.channels === to.channels;
    this.#previous = Array.from({ length: to.channels }, () => 0);
  }

  /** Converts whole frames. */
  convert(samples: Uint8Array): Uint8Array {
    if (this.#same) return samples.slice();
    const input = new DataView(samples.buffer, samples.byteOffset, samples.byteLength);
    const frames = Math.floor(samples.length / frameBytes(this.from));
    const step = this.from.sampleRateHz / this.to.sampleRateHz;
    const out = new DataView(new ArrayBuffer((Math.ceil((frames + 1) / step) + 1) * frameBytes(this.to)));
    let at = 0;
    for (; this.#position <= frames && frames > 0; this.#position += step) {
      const index = Math.floor(this.#position);
      const share = this.#position - index;
      for (let channel = 0; channel < this.to.channels; channel++) {
        const before = this.#sample(input, index, channel);
        const after = share === 0 ? before : this.#sample(input, Math.min(index + 1, frames), channel);
        out.setInt16(at, Math.round(before + (after - before) * share), true);
        at += 2;
      }
    }
    this.#position -= frames;
    if (frames > 0) this.#previous = this.#previous.map((_, channel) => this.#sample(input, frames, channel));
    return new Uint8Array(out.buffer, 0, at);
  }

  /** Sample of frame `index` for an output channel; 0 is the frame before the first. */
  #sample(input: DataView, index: number, channel: number): number {
    if (index === 0) return this.#previous[channel] ?? 0;
    const { channels } = this.from;
    const frame = (index - 1) * channels;
    if (this.to.channels >= channels) return input.getInt16(2 * (frame + Math.min(channel, channels - 1)), true);
    let sum = 0;
    for (let i = 0; i < channels; i++) sum += input.getInt16(2 * (frame + i), true);
    return Math.round(sum / channels);
  }
}
