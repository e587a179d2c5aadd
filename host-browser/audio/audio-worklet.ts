/** What runs in a page's audio thread: plays what the machine's Worker sends, and sends what a microphone hears. */
import { PlayQueue } from './play-queue.ts';
import { PLAYER, RECORDER, type PlayerSamples, type ProcessorStart } from './protocol.ts';

/** The audio thread's global scope, which TypeScript does not know. */
interface ProcessorBase {
  readonly port: MessagePort;
}
declare const AudioWorkletProcessor: new () => ProcessorBase;
declare function registerProcessor(name: string, processor: new () => ProcessorBase): void;

/** Frames after which the Worker is told, or sent what was heard: 10 ms at 48 kHz. */
const REPORT_FRAMES = 480;
const HIGHEST = 32_767;

/** Resolves the port to the Worker, which comes over the node's own. */
function whenStarted(own: MessagePort, started: (port: MessagePort) => void): void {
  own.onmessage = ({ data }: MessageEvent<ProcessorStart>) => started(data.port);
}

class Player extends AudioWorkletProcessor {
  readonly #queue = new PlayQueue();
  #worker: MessagePort | undefined;
  #played = 0;

  constructor() {
    super();
    whenStarted(this.port, (port) => {
      this.#worker = port;
      port.onmessage = ({ data }: MessageEvent<PlayerSamples>) => this.#queue.push(data.samples);
    });
  }

  process(_inputs: Float32Array[][], outputs: Float32Array[][]): boolean {
    const [left, right] = outputs[0] ?? [];
    if (!left || !right) return true;
    this.#played += this.#queue.take(left, right);
    if (this.#played >= REPORT_FRAMES) this.#report();
    return true;
  }

  #report(): void {
    this.#worker?.postMessage({ frames: this.#played });
    this.#played = 0;
  }
}

class Recorder extends AudioWorkletProcessor {
  #worker: MessagePort | undefined;
  #heard: number[] = [];

  constructor() {
    super();
    whenStarted(this.port, (port) => {
      this.#worker = port;
    });
  }

  process(inputs: Float32Array[][]): boolean {
    const [left, right = left] = inputs[0] ?? [];
    if (!left || !right) return true;
    for (let frame = 0; frame < left.length; frame++) {
      for (const sample of [left[frame] ?? 0, right[frame] ?? 0]) {
        this.#heard.push(Math.round(Math.max(-1, Math.min(1, sample)) * HIGHEST));
      }
    }
    if (this.#heard.length >= 2 * REPORT_FRAMES) {
      const samples = Int16Array.from(this.#heard);
      this.#heard = [];
      this.#worker?.postMessage({ samples }, [samples.buffer]);
    }
    return true;
  }
}

registerProcessor(PLAYER, Player);
registerProcessor(RECORDER, Recorder);
