/** The page's side of a machine's sound: an audio context, its audio thread, and the microphone when the guest records. */
import { PAGE_CHANNELS, PAGE_SAMPLE_RATE_HZ, PLAYER, RECORDER } from './protocol.ts';

export interface PageSoundOptions {
  /** Address of audio-worklet.js. */
  readonly worklet: string;
  /** Something for the user to read. */
  readonly message: (text: string) => void;
  /** Where sound is played; by default a context of the machine's own, with the speakers. */
  readonly destination?: AudioNode | undefined;
}

export class PageSound {
  #context: AudioContext | undefined;
  #loaded: Promise<AudioContext> | undefined;
  #microphone: MediaStream | undefined;
  readonly #wake = (): void => void this.#context?.resume().catch(() => undefined);

  constructor(private readonly options: PageSoundOptions) {}

  /** Joins one end of a channel to the speakers or the microphone. Never rejects: without sound the machine goes on. */
  async connect(direction: 'play' | 'record', port: MessagePort): Promise<void> {
    try {
      const context = await (this.#loaded ??= this.#load());
      if (direction === 'play') {
        const node = new AudioWorkletNode(context, PLAYER, {
          numberOfInputs: 0,
          outputChannelCount: [PAGE_CHANNELS],
        });
        node.connect(this.options.destination ?? context.destination);
        node.port.postMessage({ port }, [port]);
      } else {
        this.#microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
        const node = new AudioWorkletNode(context, RECORDER, { numberOfOutputs: 0 });
        context.createMediaStreamSource(this.#microphone).connect(node);
        node.port.postMessage({ port }, [port]);
      }
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.options.message(`hda: the guest ${direction === 'play' ? 'plays' : 'records'} in silence: ${reason}`);
    }
  }

  async #load(): Promise<AudioContext> {
    const given = this.options.destination?.context;
    const context = given instanceof AudioContext ? given : new AudioContext({ sampleRate: PAGE_SAMPLE_RATE_HZ });
    this.#context = context;
    // Browsers are silent until the user has done something with the page.
    for (const type of ['pointerdown', 'keydown'] as const) globalThis.addEventListener(type, this.#wake, true);
    await context.audioWorklet.addModule(this.options.worklet);
    return context;
  }

  async close(): Promise<void> {
    for (const type of ['pointerdown', 'keydown'] as const) globalThis.removeEventListener(type, this.#wake, true);
    for (const track of this.#microphone?.getTracks() ?? []) track.stop();
    if (this.options.destination === undefined && this.#context?.state !== 'closed') await this.#context?.close();
  }
}
