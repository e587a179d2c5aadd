/** Samples on their way from a guest to the audio thread: handed out in frames of floating-point numbers, with silence where none are there. */

/** Frames that are there before playing begins, so that the next ones come in time: 40 ms at 48 kHz. */
const PREFILL_FRAMES = 1920;
/** What is shorter than that plays all the same when nothing follows for so many frames: the end of a sound. */
const PATIENCE_FRAMES = 9600;
const FULL_SCALE = 32_768;
const CHANNELS = 2;

export class PlayQueue {
  #pieces: Int16Array[] = [];
  /** Samples of the first piece that were handed out. */
  #offset = 0;
  #waitingFrames = 0;
  #playing = false;
  #patience = 0;

  /** Interleaved samples of two channels. */
  push(samples: Int16Array): void {
    this.#pieces.push(samples);
    this.#waitingFrames += samples.length / CHANNELS;
    this.#patience = PATIENCE_FRAMES;
  }

  /** Fills both channels; returns how many frames were the guest's, the others are silence. */
  take(left: Float32Array, right: Float32Array): number {
    if (!this.#playing) {
      this.#patience -= left.length;
      this.#playing = this.#waitingFrames >= PREFILL_FRAMES || (this.#waitingFrames > 0 && this.#patience <= 0);
    }
    let frame = 0;
    while (this.#playing && frame < left.length) {
      const piece = this.#pieces[0];
      if (!piece) {
        this.#playing = false;
        break;
      }
      left[frame] = (piece[this.#offset] ?? 0) / FULL_SCALE;
      right[frame] = (piece[this.#offset + 1] ?? 0) / FULL_SCALE;
      frame++;
      this.#offset += CHANNELS;
      if (this.#offset < piece.length) continue;
      this.#pieces.shift();
      this.#offset = 0;
    }
    left.fill(0, frame);
    right.fill(0, frame);
    this.#waitingFrames -= frame;
    return frame;
  }
}
