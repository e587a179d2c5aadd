/**
 * What the machine's Worker and the audio thread of a page say to each other over a MessagePort. Samples are signed 16 bits, two channels, at
 * {@link PAGE_SAMPLE_RATE_HZ}.
 */

export const PAGE_SAMPLE_RATE_HZ = 48_000;
export const PAGE_CHANNELS = 2;

/** Names of the processors in the audio thread. */
export const PLAYER = 'webhyve-player';
export const RECORDER = 'webhyve-recorder';

/** From the Worker to the player: samples, interleaved. */
export interface PlayerSamples {
  readonly samples: Int16Array;
}

/** From the player: so many frames were played. */
export interface PlayerTaken {
  readonly frames: number;
}

/** From the recorder: samples, interleaved. */
export interface RecorderSamples {
  readonly samples: Int16Array;
}

/** To a processor, over its node's own port: the port to the Worker. */
export interface ProcessorStart {
  readonly port: MessagePort;
}
