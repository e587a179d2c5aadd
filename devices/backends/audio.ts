/** Where the sound of a guest goes, and where what it records comes from. */

/** Samples are signed 16-bit little-endian, interleaved. */
export interface PcmFormat {
  readonly sampleRateHz: number;
  readonly channels: number;
}

export interface AudioSettings {
  readonly direction: 'play' | 'record';
  /** As `play=` and `rec=` of hda have it. */
  readonly path: string;
}

export interface AudioBackend {
  /** A stream begins, or goes on in another format. */
  begin(format: PcmFormat): void;
  /** Samples of the guest, copied before this returns. False: there is no room now, and none was taken. */
  play(samples: Uint8Array): boolean;
  /** Fills with recorded samples. False: they are not there yet, and nothing was filled. A source that has ended gives silence. */
  record(into: Uint8Array): boolean;
  /** The stream has stopped. */
  end(): void;
  close(): Promise<void>;
}

/** Bytes of one sample of every channel. */
export function frameBytes(format: PcmFormat): number {
  return 2 * format.channels;
}
